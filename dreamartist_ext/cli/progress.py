"""The one place for progress, and for Ctrl-C: a bar where a terminal is, else a plain line every few seconds."""

from __future__ import annotations

import math
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from .output import harmless, is_quiet, note

SECONDS_BETWEEN_LINES = 5.0


class Lines:
    """What is used of tqdm's bar, as plain lines: to a file, a pipe or a log; or as nothing at all."""

    def __init__(self, label: str, total: int | None, unit: str, done: int, is_silent: bool = False) -> None:
        self.label, self.total, self.unit, self.n = label, total, unit, done
        self.is_silent = is_silent
        self._first, self._postfix = done, ""
        self._started = time.monotonic()
        self._said_at, self._said_n = -math.inf, done

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if self.n != self._said_n:
            self._say()

    def set_description(self, text: str, refresh: bool = True) -> None:
        self.label = text

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        self._postfix = text

    def update(self, count: float = 1) -> None:
        self.n += int(count)
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._say()

    def _say(self) -> None:
        self._said_at, self._said_n = time.monotonic(), self.n
        if not self.is_silent:
            note(": ".join(filter(None, (self.label, ", ".join(filter(None, self._parts()))))))

    def _parts(self) -> tuple[str, ...]:
        if not self.total:
            return (f"{self.unit} {self.n}", self._postfix)
        where = f"{self.unit} {self.n} of {self.total} ({100 * self.n // self.total} %)"
        return (where, self._postfix, self._left())

    def _left(self) -> str:
        made, seconds = self.n - self._first, time.monotonic() - self._started
        if made <= 0 or not self.total or self.n >= self.total:
            return ""
        left = round(seconds / made * (self.total - self.n))
        hours, minutes = divmod(left // 60, 60)
        return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{left % 60:02d} left"


def bar(label: str, total: int | None = None, done: int = 0, unit: str = "step") -> AbstractContextManager[Any]:
    """tqdm's bar with the time left, where somebody looks at it."""
    if is_quiet() or not sys.stderr.isatty():
        return Lines(label, total, unit, done, is_quiet())
    from tqdm import tqdm

    return tqdm(total=total, initial=done, desc=label, unit=unit, dynamic_ncols=True)


def beside_bar(text: str) -> None:
    """A line of its own above a bar, if there is one."""
    if not sys.stderr.isatty():
        return note(text)
    from tqdm import tqdm

    return tqdm.write(harmless(text), file=sys.stderr)


def progress(reports: Iterator[Any], label: str, steps: int, done: int = 0) -> Iterator[Any]:
    """Pass the reports on under a bar with the time left, the seconds per step and the mean loss."""
    mean = None
    with bar(label, steps, done) as shown:
        for report in reports:
            if report.step % 5 == 0 or mean is None:  # reading a loss waits for the GPU
                loss = float(report.loss)
                if math.isfinite(loss):
                    mean = loss if mean is None else 0.9 * mean + 0.1 * loss
            if mean is not None:
                shown.set_postfix_str(f"loss {mean:.3f}", refresh=False)
            shown.update()
            yield report


@contextmanager
def stop_on_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C only asks to stop, so that neither a step nor a snapshot is ever cut in two."""
    asked = False

    def ask(_signal: int, _frame: types.FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
