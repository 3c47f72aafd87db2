"""The one place for progress, and for Ctrl-C."""

from __future__ import annotations

import math
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def progress(reports: Iterator[Any], label: str, steps: int, done: int = 0) -> Iterator[Any]:
    """Pass the reports on under a bar with the time left, the seconds per step and the mean loss."""
    from tqdm import tqdm

    mean = None
    with tqdm(total=steps, initial=done, desc=label, unit="step", dynamic_ncols=True) as bar:
        for report in reports:
            if report.step % 5 == 0 or mean is None:  # reading a loss waits for the GPU
                loss = float(report.loss)
                if math.isfinite(loss):
                    mean = loss if mean is None else 0.9 * mean + 0.1 * loss
            if mean is not None:
                bar.set_postfix_str(f"loss {mean:.3f}", refresh=False)
            bar.update()
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
