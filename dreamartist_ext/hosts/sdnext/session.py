"""What a session changes in SD.Next, each as a context manager that puts it back on every way out.

SD.Next's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn

from ...engine.errors import ModelError
from ..put_back import attributes


@contextmanager
def on_device(pipeline: Any, modules: Sequence[nn.Module], name: str) -> Iterator[None]:
    """Inside, the whole model lies where it computes, and nothing moves it. Raises ModelError where it has no room."""
    from modules import devices, sd_models

    was_offloaded = getattr(pipeline, "has_accelerate", False)
    try:
        sd_models.disable_offload(pipeline)
        # Without force it leaves all where they are as soon as the text encoder, its first part, is there.
        sd_models.move_model(pipeline, devices.device, force=True)
        wanted = torch.device(devices.device).type
        if any(p.device.type != wanted for module in modules for p in module.parameters()):
            raise ModelError(
                f"SD.Next keeps a part of {name} outside of the GPU, and a training needs all of it there; choose the "
                'offload mode "balanced" in its settings, or a smaller checkpoint.'
            )
        yield
    finally:
        if was_offloaded:
            sd_models.set_diffuser_offload(pipeline, "model")


@contextmanager
def plain_attention(unet: Any) -> Iterator[None]:
    """Inside, attention is PyTorch's own: the ones that SD.Next puts in its place have a partial backward or none."""
    from modules import devices

    functions = torch.nn.functional
    own = devices.sdpa_original or functions.scaled_dot_product_attention
    before = dict(unet.attn_processors)
    with attributes([(functions, "scaled_dot_product_attention", own)]):
        try:
            unet.set_attn_processor(AttnProcessor2_0())
            yield
        finally:
            unet.set_attn_processor(before)


@contextmanager
def without_free_u(unet: Any) -> Iterator[None]:
    """FreeU of the last picture stays on the U-Net's blocks, by four numbers on each."""
    names = ("s1", "s2", "b1", "b2")
    found = [(block, name) for block in unet.up_blocks for name in names if getattr(block, name, None) is not None]
    with attributes([(block, name, None) for block, name in found]):
        yield
