"""How much a U-Net keeps for its backward pass, found without computing anything: on torch's meta device."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..engine.host import Kept
from .checkpointing import BLOCKS
from .conditioning import CHUNK_TOKENS

SIZE_NUMBERS = 6  # original, crop and target size, which SDXL is told
Empty = Callable[..., Tensor]  # makes a tensor of a shape, its first side the batch

# Of what CUDA's autocast casts (torch's autocast_mode.h) that which U-Nets are made of. A CPU's leaves norms in half
# precision.
MULTIPLIED = frozenset(["linear", "conv1d", "conv2d", "matmul", "__matmul__", "bmm", "baddbmm", "einsum"])
EXACT = frozenset(["group_norm", "layer_norm", "softmax", "interpolate"])

# With less memory a step on a GPU held so much more than its U-Net keeps: the text encoder's activations, and the
# gradients of the block that is gone back through. Measured, not computed: 548.0 MiB beside 452.7 (SD 1.5's shape, a
# pair, 512x512 pixels, bf16, H100; benchmarks/runs/sd15-gpu.json, "card"). Without less memory it is 1.08, which the
# share of free memory that is left alone has room for.
MEASURED_WITH_LESS = 1.21


@dataclass
class _Count:
    """Bytes of the tensors kept so far by the block that they belong to; None is outside of any."""

    seen: dict[int, Any]  # storages that count already, by their address; held, so that no later one gets it
    bytes_of: dict[nn.Module | None, int] = field(default_factory=dict)
    inputs: int = 0
    open_blocks: list[nn.Module | None] = field(default_factory=lambda: [None])

    def keep(self, tensor: Tensor) -> Tensor:
        """Of tensors that share their memory one counts."""
        storage = tensor.untyped_storage()
        if storage._cdata in self.seen:
            return tensor
        self.seen[storage._cdata] = storage
        owner = self.open_blocks[-1]
        self.bytes_of[owner] = self.bytes_of.get(owner, 0) + storage.nbytes()
        return tensor

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if type(module).__name__ in BLOCKS:
            self.open_blocks.append(module)
            self.inputs += sum(value.nbytes for value in inputs if isinstance(value, Tensor))

    def leave(self, module: nn.Module, _inputs: object, _output: object) -> None:
        if type(module).__name__ in BLOCKS:
            self.open_blocks.pop()


def diffusers_inputs(config: Mapping[str, Any], height: int, width: int, empty: Empty) -> dict[str, Any]:
    """For diffusers' U-Net, by its configuration; height and width in latents."""
    sizes = SIZE_NUMBERS * (config["addition_time_embed_dim"] or 0)
    pooled = (config["projection_class_embeddings_input_dim"] or sizes) - sizes
    return {
        "sample": empty(config["in_channels"], height, width),
        "timestep": empty(),
        "encoder_hidden_states": empty(CHUNK_TOKENS, config["cross_attention_dim"]).requires_grad_(),
        "added_cond_kwargs": {"time_ids": empty(SIZE_NUMBERS), "text_embeds": empty(pooled)},
    }


def ldm_inputs(unet: Any, context: int, height: int, width: int, empty: Empty) -> dict[str, Any]:
    """For the U-Net of ldm and sgm, whose text is `context` wide."""
    inputs = {
        "x": empty(unet.in_channels, height, width),
        "timesteps": empty(),
        "context": empty(CHUNK_TOKENS, context).requires_grad_(),
    }
    label = getattr(unet, "label_emb", None)
    return inputs | ({} if label is None else {"y": empty(label[0][0].in_features)})


def kept_for_backward(
    unet: nn.Module,
    kind: torch.dtype,
    batch: int,
    inputs: Callable[[Empty], dict[str, Any]],
    is_cast_by_cuda: bool = False,
) -> Kept:
    """What one pass over a batch keeps; `inputs` makes the U-Net's arguments by their names, from empty tensors of
    one sample.

    The U-Net itself is not touched: a copy on the meta device, which takes no memory, takes its place. Without
    autocast, the copy computes in `kind` throughout. With CUDA's autocast to `kind`, it keeps the types of the weights,
    and each operation has the type that autocast gives it. Attention is counted as torch's fused attention, which keeps
    no matrix of places by places.
    """

    def empty(*shape: int) -> Tensor:
        return torch.empty(1, *shape, dtype=kind, device="meta")

    hollow = _without_memory(unet)
    if not is_cast_by_cuda:
        nn.Module.to(hollow, kind)  # not diffusers' own, which has more to say
    weights = [tensor.untyped_storage() for tensor in (*hollow.parameters(), *hollow.buffers())]
    count = _Count(seen={storage._cdata: storage for storage in weights})
    for block in hollow.modules():
        block.register_forward_pre_hook(count.enter)
        block.register_forward_hook(count.leave)
    casts: AbstractContextManager[Any] = CastByCuda(kind) if is_cast_by_cuda else nullcontext()
    saved = torch.autograd.graph.saved_tensors_hooks(count.keep, lambda t: t)
    with _fused_attention(kind), torch.enable_grad(), casts, saved:
        hollow(**inputs(empty))
    outside = count.bytes_of.pop(None, 0)
    blocks = count.bytes_of.values()
    more = MEASURED_WITH_LESS if is_cast_by_cuda else 1
    less = int(more * (outside + count.inputs + max(blocks, default=0)))
    return Kept(batch * (outside + sum(blocks)), batch * less)


class CastByCuda(TorchFunctionMode):
    """The casts of CUDA's autocast on any device: it is off where there is no CUDA, and on torch's meta device."""

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self.kind = kind

    def __torch_function__(
        self, function: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, named = getattr(function, "__name__", ""), kwargs or {}
        if name in MULTIPLIED | EXACT:
            kind = self.kind if name in MULTIPLIED else torch.float32
            args = tuple(_cast(value, kind) for value in args)
            named = {key: _cast(value, kind) for key, value in named.items()}
        return function(*args, **named)


def _cast(value: Any, kind: torch.dtype) -> Any:
    return value.to(kind) if isinstance(value, Tensor) and value.is_floating_point() else value


def _without_memory(module: nn.Module) -> nn.Module:
    """A copy with the same shapes and types, frozen, whose hooks are gone."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in (*part._parameters.values(), *part._buffers.values(), *vars(part).values()):
            for tensor in value if isinstance(value, (tuple, list)) else (value,):
                if isinstance(tensor, Tensor):
                    memo[id(tensor)] = _hollow(tensor)
        memo |= {id(hooks): type(hooks)() for hooks in (part._forward_pre_hooks, part._forward_hooks)}
    return copy.deepcopy(module, memo)


def _hollow(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


class _Attention(torch.autograd.Function):
    """Keeps what the fused kernels keep: queries, keys, values and the result."""

    @staticmethod
    def forward(context: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        result = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        context.save_for_backward(queries, keys, values, result)
        return result


@contextmanager
def _fused_attention(kind: torch.dtype) -> Iterator[None]:
    before = nn.functional.scaled_dot_product_attention
    nn.functional.scaled_dot_product_attention = lambda q, k, v, *_, **__: _Attention.apply(
        *(tensor.to(kind) for tensor in (q, k, v))
    )
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = before


def free_memory(device: torch.device) -> int:
    """Bytes that a training could still take on this device; 0 where that is not known."""
    if device.type == "cuda":
        # older versions of torch take no device without a number here, and the WebUI's has none
        free, _ = torch.cuda.mem_get_info(torch.cuda.current_device() if device.index is None else device.index)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return max(0, _most_on_mps() - torch.mps.current_allocated_memory())
    if device.type != "cpu":
        return 0
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def _most_on_mps() -> int:
    """Bytes that Metal advises a program to stay under; where torch cannot ask it (before 2.5), two thirds of the
    machine's memory, which is about what it answers."""
    if hasattr(torch.mps, "recommended_max_memory"):
        return int(torch.mps.recommended_max_memory())
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 2 // 3
