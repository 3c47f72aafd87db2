"""What the hosts of WebUIs take off a loaded model for the time of a training, and put back on every way out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

EIGHT_BITS = {getattr(torch, kind) for kind in ("float8_e4m3fn", "float8_e5m2") if hasattr(torch, kind)}


@contextmanager
def random_state() -> Iterator[None]:
    """Whatever draws a random number inside does not change what comes after."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def own_forwards(*parts: nn.Module) -> Iterator[None]:
    """HyperTile and tiled VAEs put a forward of their own on single modules and leave it there: not in a training."""
    modules = [module for part in parts for module in part.modules() if "forward" in vars(module)]
    others = [vars(module).pop("forward") for module in modules]
    try:
        yield
    finally:
        for module, forward in zip(modules, others, strict=True):
            vars(module)["forward"] = forward


@contextmanager
def attributes(changes: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Each (place, name, value) is set inside; what was there before comes back."""
    before = [getattr(place, name) for place, name, _ in changes]
    try:
        for place, name, instead in changes:
            setattr(place, name, instead)
        yield
    finally:
        for (place, name, _), value in zip(changes, before, strict=True):
            setattr(place, name, value)


@contextmanager
def full_precision(module: nn.Module) -> Iterator[None]:
    """The module's weights in 32 bits; halves come back to the bit."""
    before = next(module.parameters()).dtype
    module.to(torch.float32)
    try:
        yield
    finally:
        module.to(before)
