"""Does a step wait for the GPU, and is the GPU at work all the time?"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from dreamartist_ext.engine.step_guard import READ_EVERY

from .clock import Work, seconds_of, spread_of, wait
from .gpu import NO_GPU
from .models import Bench
from .results import Answer, Figure, guarded
from .work import training

ROUNDS, MOST_NAMES, NAME = 5, 15, 90


def busy(bench: Bench) -> Answer:
    """Waits in nine steps, and the share of a step in which the GPU computes."""
    if bench.device.type != "cuda":
        return Answer("busy", left_out=[NO_GPU])
    answer = Answer("busy")
    for settings in ({}, {"reconstruction": 1.0}, {"batch_size": 2, "accumulation": 2}):
        name = ", ".join(settings) or "the pair"
        with guarded(answer, f"waits, {name}"), training(bench, **settings) as (_, step):
            found = waits(step)
            answer.values[f"waits, {name}"] = dict(found)
            what = f"waits for the GPU in {READ_EVERY - 2} steps, {name}"
            answer.figures.append(Figure(what, "", spread_of([float(found.total())]), "", aim=0.0))
    for batch in (1, 4):
        with guarded(answer, f"profile, batch {batch}"):
            share, values = profiled(bench, batch)
            answer.figures.append(Figure(f"time in which the GPU computes, batch {batch}", "the step's", share))
            answer.values[f"profile, batch {batch}"] = values
    return answer


def waits(step: Work) -> Counter[str]:
    """Where the steps between two that read the loss wait for the GPU; the first step is made already."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for _ in range(READ_EVERY - 2):
                step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waiting = [warning for warning in seen if "synchronizing" in str(warning.message)]
    return Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in waiting)


def profiled(bench: Bench, batch: int) -> tuple[Any, dict[str, Any]]:
    """The share of the GPU's time, by a step's wall time without the profiler; and what it computes for longest."""
    with training(bench, batch_size=batch) as (_, step):
        for _ in range(2):
            step()
        walls = [seconds_of(step, bench.device).wall for _ in range(ROUNDS)]
        kernels = kernels_of(step, bench.device)
    computing = sum(end - start for start, end in merged([(start, end) for _, start, end in kernels]))
    names: Counter[str] = Counter()
    for name, start, end in kernels:
        names[name[:NAME]] += end - start
    values = {
        "milliseconds of a step": 1000 * spread_of(walls).median,
        "milliseconds computing": computing / 1000,
        "kernels": len(kernels),
        "longest, milliseconds": {name: time / 1000 for name, time in names.most_common(MOST_NAMES)},
        "how often": Counter(name[:NAME] for name, _, _ in kernels).most_common(MOST_NAMES),
    }
    return spread_of([computing / 1e6 / wall for wall in walls]), values


def kernels_of(work: Work, device: torch.device) -> list[tuple[str, float, float]]:
    """Name, start and end in microseconds of everything that the device does in `work`."""
    is_gpu = device.type == "cuda"
    wait(device)
    with profile(activities=[ProfilerActivity.CUDA if is_gpu else ProfilerActivity.CPU]) as profiler:
        work()
        wait(device)
    kind = DeviceType.CUDA if is_gpu else DeviceType.CPU
    found = [event for event in profiler.events() or [] if event.device_type == kind]
    events = [event for event in found if not getattr(event, "is_user_annotation", False)]  # spans of many kernels
    return [(event.name, event.time_range.start, event.time_range.end) for event in events]


def merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same times, none of them twice."""
    whole: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], end))
        else:
            whole.append((start, end))
    return whole
