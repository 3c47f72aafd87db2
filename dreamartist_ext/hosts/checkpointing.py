"""Activation checkpointing of a U-Net's blocks: memory for time, put back on the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

# The blocks of diffusers, and of ldm and sgm: each is computed again as one piece.
BLOCKS = frozenset(["ResnetBlock2D", "BasicTransformerBlock", "ResBlock"])


@contextmanager
def checkpointed(unet: nn.Module) -> Iterator[None]:
    """Inside, only the inputs of the U-Net's blocks are kept for the backward pass (arXiv 1604.06174).

    The blocks must not draw random numbers, as in evaluation mode.
    """
    blocks = [module for module in unet.modules() if type(module).__name__ in BLOCKS]
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            block.forward = _again(block.forward)
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            if own is not None:
                block.forward = own
            elif "forward" in vars(block):
                del block.forward


def _again(forward: Callable) -> Callable:
    """torch's non-reentrant kind, which takes frozen parameters and keyword arguments."""

    def twice(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        return checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=False, **named)

    return twice
