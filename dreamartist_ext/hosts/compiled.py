"""The U-Net's training passes compiled by torch: minutes once, for less time in every step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def compiled(unet: nn.Module, mode: str = "default") -> Iterator[None]:
    """Inside, passes with a gradient are compiled, anew for every new shape; those without one stay as they are, since
    pictures are drawn in other sizes and batches. mode: torch.compile's."""
    own = vars(unet).get("forward")
    if hasattr(own, "is_compiled"):  # a session inside of another
        yield
        return
    plain = unet.forward
    fast = torch.compile(plain, mode=mode, dynamic=False)

    def forward(*arguments: Any, **named: Any) -> Any:
        return (fast if torch.is_grad_enabled() else plain)(*arguments, **named)

    forward.is_compiled = True  # type: ignore[attr-defined]
    try:
        unet.forward = forward
        yield
    finally:
        if own is not None:
            unet.forward = own
        else:
            del unet.forward
