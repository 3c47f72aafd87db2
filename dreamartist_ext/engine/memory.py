"""When the U-Net's blocks are computed twice, so that a step keeps less in memory for its backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from .config import TrainConfig
from .host import DiffusionHost, Kept

SHARE = 0.8  # of the free memory; the rest is for what is computed on the way
MOST_PER_PLACE = 2_000_000  # bytes for one place of the latents: about three times what SDXL keeps in 32 bits


def kept_by(host: DiffusionHost, config: TrainConfig, size: tuple[int, int]) -> Kept:
    """What a step keeps for pictures of this size in latents: from the model's shapes, not measured."""
    return host.kept_for_backward(samples_in_a_pass(config), *size)


def samples_in_a_pass(config: TrainConfig) -> int:
    return config.batch_size * (2 if config.use_negative else 1)


def is_too_much(kept: int, free: int) -> bool:
    """Whether these bytes exceed what is free. Where that is unknown (0), they are taken to fit."""
    return bool(free) and kept > SHARE * free


def needs_less(host: DiffusionHost, config: TrainConfig, size: tuple[int, int]) -> bool:
    """Whether pictures of this size, in latents, would not fit otherwise; call it inside a session."""
    free = host.free_memory()
    most = MOST_PER_PLACE * samples_in_a_pass(config) * size[0] * size[1]
    return is_too_much(most, free) and is_too_much(kept_by(host, config, size).plain, free)


def is_less(host: DiffusionHost, config: TrainConfig, sizes: Sequence[tuple[int, int]]) -> bool:
    """What `less_memory` comes to for latents of these sizes; call it inside a session."""
    if config.less_memory != "auto":
        return config.less_memory == "on"
    return needs_less(host, config, max(sizes, key=lambda size: size[0] * size[1]))


def memory_saved(
    host: DiffusionHost, config: TrainConfig, sizes: Sequence[tuple[int, int]]
) -> AbstractContextManager[None]:
    """Inside, steps keep less where the settings say so or the pictures need it."""
    return host.less_memory() if is_less(host, config, sizes) else nullcontext()
