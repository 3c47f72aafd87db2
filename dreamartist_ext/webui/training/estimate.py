"""What a training will take, from a few steps of it on this very machine."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...engine.check_loss import CheckLoss
from ...engine.config import TrainConfig
from ...engine.errors import TrainingError
from ...engine.memory import is_less, kept_by, samples_in_a_pass
from ...engine.pictures import TrainingPicture
from ...engine.stopping import check_interval
from ...engine.trainer import StepReport, Training
from ...files.run import LESS_MEMORY, is_out_of_memory
from ..workplace import TrainingHost
from .previews import draw_row

MEASURED_STEPS = 3


@dataclass(frozen=True)
class Estimate:
    """What a training will take: seconds in all, and bytes of GPU memory (0 where there is no GPU).

    Of the seconds, `encoding` come before the first step: that many `views` of the pictures are encoded. `kept` is what
    a pass holds for its backward pass, computed from the model's shapes; `plain` would be it without "less memory".
    `step` are the seconds of one; `reconstruction` is the share of them that the reconstruction term takes.
    """

    steps: int
    seconds: float
    memory: int
    views: int
    encoding: float
    kept: int
    plain: int
    reconstruction: float
    step: float
    width: int = 0
    height: int = 0


def pace_key(host: TrainingHost, config: TrainConfig) -> tuple[Any, ...]:
    """What the seconds of a step depend on."""
    size = config.width or host.picture_size, config.height or host.picture_size
    return host.name, *size, samples_in_a_pass(config), config.accumulation, config.reconstruction > 0


def estimated(
    host: TrainingHost, config: TrainConfig, pictures: int, check: Callable[[], None] = lambda: None
) -> Estimate:
    """Run a few steps on an empty picture, in the model's turn; raises TrainingError where they do not fit.

    `check` is called between them, and may raise to end it.
    """
    size = host.picture_size
    blank = torch.zeros(3, config.height or size, config.width or size)
    mask = torch.full(blank.shape[1:], 128.0) if config.spread_mask else None
    training = Training(host, config, [TrainingPicture(blank, mask, "", "blank")])
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        began = time.perf_counter()
        with host.session():
            sizes = training.encoded().sizes
            encoding = time.perf_counter() - began
            kept, less = kept_by(host, config, sizes[0]), is_less(host, config, sizes)
        check()
        step, snapshot = measured(training, check)
        check()
        without = replace(config, reconstruction=0.0)
        plain = measured_step(Training(host, without, training.pictures)) if config.reconstruction else step
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = blank.shape[1:]
        raise TrainingError(
            f"{width}x{height} in batches of {config.batch_size} does not fit into memory; " + LESS_MEMORY
        ) from error
    memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    interval = check_interval(config)
    snapshots = math.ceil(config.steps / interval) if interval else 1
    views = pictures * config.views_of_each
    seconds = config.steps * step + snapshots * snapshot + views * encoding
    held, share = kept.less if less else kept.plain, max(0.0, 1 - plain / step)
    shown = blank.shape[2], blank.shape[1]
    return Estimate(config.steps, seconds, memory, views, views * encoding, held, kept.plain, share, step, *shown)


def measured(training: Training, check: Callable[[], None] = lambda: None) -> tuple[float, float]:
    """Seconds of a step, and of the check and the previews at a snapshot."""
    with closing(training.run()) as reports:
        step = _shortest(reports, check)
        began = time.perf_counter()
        CheckLoss(training)()
        check()
        draw_row(training)
        return step, time.perf_counter() - began


def measured_step(training: Training) -> float:
    """Seconds of a step."""
    with closing(training.run()) as reports:
        return _shortest(reports)


def _shortest(reports: Iterator[StepReport], check: Callable[[], None] = lambda: None) -> float:
    seconds = []
    began = time.perf_counter()
    for report in itertools.islice(reports, MEASURED_STEPS):
        float(report.loss)  # waits for the GPU
        seconds.append(time.perf_counter() - began)
        check()
        began = time.perf_counter()
    return min(seconds)
