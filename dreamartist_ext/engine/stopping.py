"""When a training is checked, and when it ends: after its steps, or when checks stop improving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .config import TrainConfig

CHECK_SAMPLES = 8
ENOUGH_SAMPLES = 4  # fewer say too little, and are taken only where even a single check of so many would cost too much
LEAST_SAMPLES = 2
WANTED_CHECKS = 3  # a curve; rather this many of fewer samples than fewer of CHECK_SAMPLES
MOST_SHARE = 0.05  # of a training's passes through the network: all checks, the last one's and the baseline as well
_PASSES = 2  # forward and backward; a check is forward only


@dataclass(frozen=True)
class Check:
    """The mean noise loss on fixed noises: of the pair at a step, and of the empty prompt, which it should beat.

    `training_loss` is the mean of the steps since the check before, `samples` how many noises were fixed.
    """

    step: int
    loss: float
    baseline: float
    training_loss: float | None = None
    samples: int = CHECK_SAMPLES


def check_samples(config: TrainConfig) -> int:
    """Samples of each check: CHECK_SAMPLES, or fewer in a short training, to stay below MOST_SHARE of its passes.

    Below 50 passes of one sample even LEAST_SAMPLES cost more. Where the user sets `check_every`, nothing is limited.
    """
    if config.check_every:
        return CHECK_SAMPLES
    wanted = min(WANTED_CHECKS, math.ceil(config.steps / config.save_every)) if config.save_every else 1
    affordable = [_affordable_samples(config, checks) for checks in range(wanted, 0, -1)]
    enough = next((samples for samples in affordable if samples >= ENOUGH_SAMPLES), affordable[-1])
    return max(LEAST_SAMPLES, min(enough, CHECK_SAMPLES))


def check_interval(config: TrainConfig) -> int:
    """Steps between two checks; 0: one at the end only.

    By itself it checks at every n-th snapshot, so that checks stay below MOST_SHARE of all passes.
    """
    if config.check_every or not config.save_every:
        return config.check_every
    baselines = _budget(config) / check_samples(config)
    checks = max(1, math.ceil((baselines - 1) / _branches(config)) - 1)  # strictly less than the budget
    return config.save_every * math.ceil(math.ceil(config.steps / checks) / config.save_every)


def _affordable_samples(config: TrainConfig, checks: int) -> int:
    """The most samples of which so many checks and the baseline stay below the budget."""
    return math.ceil(_budget(config) / (1 + _branches(config) * checks)) - 1


def _budget(config: TrainConfig) -> float:
    """What the checks may cost in all, in forward passes of one sample of one branch."""
    samples = config.steps * config.batch_size * config.accumulation
    return MOST_SHARE * _PASSES * _branches(config) * samples


def _branches(config: TrainConfig) -> int:
    return 2 if config.use_negative else 1


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
