"""Weights that Forge and its forks move between devices: brought to one, and as ordinary tensors over the same memory.

Their modules are imported by whoever calls, so that this file can be imported without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...engine.errors import ModelError
from ..put_back import EIGHT_BITS

ROOM = 2 * 2**30  # bytes that the fork is asked to leave free on the GPU beside the weights
NO_ROOM = (
    '{webui} keeps a part of {name} outside of the GPU, and a training needs all of it there; raise "GPU Weights" at '
    "the top of the page, start {webui} without its flags for low memory, or choose a smaller checkpoint."
)


def load_on_device(memory: Any, patchers: Sequence[Any], name: str, webui: str) -> None:
    """Bring the model's parts to where they compute, without the LoRAs of the last picture: the next one brings them
    back. `memory` is the fork's module that moves them. Raises ModelError where it leaves weights elsewhere, and would
    move them at every pass."""
    with torch.inference_mode():
        memory.load_models_gpu(list(patchers), memory_required=ROOM)
    for patcher in patchers:
        if any(p.device.type != patcher.load_device.type for p in patcher.model.parameters()):
            raise ModelError(NO_ROOM.format(webui=webui, name=name))


@contextmanager
def ordinary_tensors(modules: Sequence[nn.Module], computed_in: torch.dtype) -> Iterator[None]:
    """Inside, every parameter and buffer is an ordinary tensor over the same memory.

    Those that were made or moved in inference mode are not: autograd saves none for a backward pass. Weights in 8 bits,
    which have no gradient either, are copies in the precision that the fork computes in.
    """
    parts = [part for module in modules for part in module.modules()]
    stores: list[dict[str, Any]] = [store for part in parts for store in (part._parameters, part._buffers)]
    before = [(store, key, tensor) for store in stores for key, tensor in store.items() if tensor is not None]
    made: dict[int, Tensor] = {}  # by the tensor that it stands for: some belong to two modules
    try:
        for store, key, tensor in before:
            if id(tensor) not in made:
                made[id(tensor)] = _ordinary(tensor, computed_in)
            store[key] = made[id(tensor)]
        yield
    finally:
        for store, key, tensor in before:
            store[key] = tensor


def _ordinary(tensor: Tensor, computed_in: torch.dtype) -> Tensor:
    if tensor.dtype in EIGHT_BITS:
        plain = tensor.detach().to(computed_in)
    elif tensor.is_inference():
        plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    else:
        return tensor
    return nn.Parameter(plain, requires_grad=False) if isinstance(tensor, nn.Parameter) else plain
