"""Seconds of pieces of work that take turns, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[], object]
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Seconds:
    """Of one piece of work: on the wall, and of this process's computing."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Spread:
    """The median and the middle half of several rounds."""

    median: float
    low: float
    high: float
    rounds: int


def seconds_of(work: Work, device: torch.device) -> Seconds:
    """One call of `work`; on a GPU, until it has come to its end there too."""
    wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wait(device)
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def taking_turns(
    works: Mapping[str, Work], rounds: int, device: torch.device, warm: int = 1, most_seconds: float = math.inf
) -> dict[str, list[Seconds]]:
    """Every work once per round, `warm` rounds before that uncounted; every other round the other way round.

    After most_seconds no round begins, but FEWEST_ROUNDS are made whatever they take.
    """
    taken: dict[str, list[Seconds]] = {name: [] for name in works}
    began = time.monotonic()
    for number in range(-warm, rounds):
        if number >= FEWEST_ROUNDS and time.monotonic() - began > most_seconds:
            break
        names = list(works) if number % 2 else list(reversed(works))
        for name in names:
            seconds = seconds_of(works[name], device)
            if number >= 0:
                taken[name].append(seconds)
    return taken


def spread_of(values: Sequence[float]) -> Spread:
    ordered = sorted(values)
    if len(ordered) < 2:
        return Spread(ordered[0], ordered[0], ordered[0], 1)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Spread(statistics.median(ordered), low, high, len(ordered))


def ratio(taken: Mapping[str, Sequence[Seconds]], what: str, against: str, device: torch.device) -> Spread:
    """Of two works that took turns, round by round: by computing time on a CPU, where a busy machine stretches the
    wall's, and by the wall's on a GPU."""
    kind = "wall" if device.type == "cuda" else "cpu"
    pairs = zip(taken[what], taken[against], strict=True)
    return spread_of([getattr(a, kind) / getattr(b, kind) for a, b in pairs])
