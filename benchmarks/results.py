"""What was measured, as JSON: figures with their spread and aim, curves, and the machine that they come from."""

from __future__ import annotations

import gc
import json
import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dreamartist_ext.files.storage import write_atomically

from .clock import Spread

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "Pillow")


@dataclass(frozen=True)
class Figure:
    """One line of the table. `unit` is "x" for a ratio, "" for a number; `aim` is the most it may be, or the least
    where `at_least`."""

    what: str
    against: str
    spread: Spread
    unit: str = "x"
    aim: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """None where there is no aim."""
        if self.aim is None:
            return None
        return self.spread.median >= self.aim if self.at_least else self.spread.median <= self.aim


@dataclass(frozen=True)
class Curve:
    """How a cost grows: `points` are (x, y); `reason` says how it may grow."""

    title: str
    x: str
    y: str
    points: list[tuple[float, float]]
    reason: str


@dataclass
class Answer:
    """What one question gave; `left_out` is why something could not be measured."""

    question: str
    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)  # whatever else may be looked up later
    run: str = ""  # the size and when it began
    seconds: float = 0.0
    machine: dict[str, Any] = field(default_factory=dict)


_told: list[Callable[[Answer], None]] = []  # who is told of parts, the innermost last


@contextmanager
def told_of_parts(tell: Callable[[Answer], None]) -> Iterator[None]:
    """Inside, `tell` gets the answer so far after each of its guarded parts: what is cut off later is not lost."""
    _told.append(tell)
    try:
        yield
    finally:
        _told.pop()


@contextmanager
def guarded(answer: Answer, what: str, seconds: int = 0) -> Iterator[None]:
    """What fails inside, or takes longer than so many seconds (0: as long as it likes), becomes a sentence of the
    answer, and whatever comes after goes on. Either way the part is finished, see `told_of_parts`."""
    try:
        with _at_most(seconds):
            yield
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:300]
        answer.left_out.append(f"{what}: {type(error).__name__}: {first}")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    for tell in _told[-1:]:
        tell(answer)


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raises TimeoutError inside when the time is up."""

    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"more than {seconds} seconds")

    if not seconds:
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def machine(device: torch.device, precision: torch.dtype) -> dict[str, Any]:
    """Where a run was made, without names of hosts or users."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "precision": str(precision).removeprefix("torch."),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def keep(answer: Answer, path: Path) -> None:
    """Put an answer into a file of them, in the place of an earlier one to the same question."""
    answers = {kept.question: kept for kept in read(path)} | {answer.question: answer}
    content = {"answers": [asdict(kept) for kept in answers.values()]}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read(path: Path) -> list[Answer]:
    """The answers in a file; none where there is no such file."""
    if not path.exists():
        return []
    return [_answer(content) for content in json.loads(path.read_text(encoding="utf-8"))["answers"]]


def _answer(content: dict[str, Any]) -> Answer:
    figures = [Figure(**{**f, "spread": Spread(**f["spread"])}) for f in content["figures"]]
    curves = [Curve(**{**c, "points": [tuple(point) for point in c["points"]]}) for c in content["curves"]]
    return Answer(**{**content, "figures": figures, "curves": curves})
