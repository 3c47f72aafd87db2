"""When a training is checked, and when it is over: after its steps, or when the checks find nothing better any more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import TrainConfig
    from .snapshot import Check

CHECK_SAMPLES = 8
MOST_SHARE = 0.05  # of a training's passes through the network
_PASSES = 2  # forward and backward; a check is forward only


def check_interval(config: TrainConfig) -> int:
    """Steps between two checks, 0 for one at the end only.

    Where the user has not said, every so many snapshots that the checks stay below MOST_SHARE of all passes.
    """
    if config.check_every or not config.save_every:
        return config.check_every
    passes_of_a_step = _PASSES * config.batch_size * config.accumulation
    enough = CHECK_SAMPLES / (MOST_SHARE * passes_of_a_step)
    return config.save_every * (math.floor(enough / config.save_every) + 1)


def is_check_due(config: TrainConfig, step: int) -> bool:
    """After this step; always after the last."""
    interval = check_interval(config)
    return step == config.steps or bool(interval and step % interval == 0)


def lacks_check(config: TrainConfig, step: int, checks: Sequence[Check]) -> bool:
    """Whether the check of the step that a training has come to is due and was not made."""
    return step > 0 and is_check_due(config, step) and all(check.step != step for check in checks)


def best_of(checks: Sequence[Check]) -> int | None:
    """Which of them has the least loss, the first of equals; those that are not finite do not count."""
    finite = [(check.loss, number) for number, check in enumerate(checks) if math.isfinite(check.loss)]
    return min(finite)[1] if finite else None


def has_run_out(config: TrainConfig, checks: Sequence[Check]) -> bool:
    """Whether the last `patience` checks found nothing better than the best before them; never with patience 0."""
    best = best_of(checks)
    since = len(checks) if best is None else len(checks) - 1 - best
    return bool(config.patience) and since >= config.patience


def is_over(config: TrainConfig, step: int, checks: Sequence[Check]) -> bool:
    """Whether a training at this step has nothing left to do."""
    return step >= config.steps or has_run_out(config, checks)
