"""How much longer does the WebUI take to start with the extension?"""

from __future__ import annotations

import os
import time
from pathlib import Path

from testbed.webui import IS_UP, START_SECONDS, start_process

from .clock import spread_of
from .models import Bench
from .results import Answer, Figure
from .webui import NO_WEBUI, data_folder, has_webui

ROUNDS = 3
POLL = 0.02  # seconds


def start(bench: Bench) -> Answer:
    """Starts in turns, without a checkpoint (`--ui-debug-mode`), up to the line in the log that says how long it took.

    The first of each, which compiles the extension's files, does not count.
    """
    if bench.is_tiny or not has_webui():
        return Answer("start", left_out=[NO_WEBUI])
    folders = {name: data_folder(bench.work / f"start-{name}", name == "with") for name in ("with", "without")}
    taken: dict[str, list[float]] = {name: [] for name in folders}
    for number in range(-1, ROUNDS):
        for name in list(folders) if number % 2 else list(reversed(folders)):
            seconds = computing_of_a_start(folders[name])
            if number >= 0:
                taken[name].append(seconds)
    longer = spread_of([a - b for a, b in zip(taken["with"], taken["without"], strict=True)])
    figure = Figure("start of the WebUI with the extension", "without, computing time", longer, "s", aim=0.2)
    return Answer("start", [figure], values={"seconds": taken})


def computing_of_a_start(folder: Path) -> float:
    """Seconds that the WebUI's process and those that it waited for have computed when it is up."""
    running = start_process(folder, "--ui-debug-mode", PYTHONDONTWRITEBYTECODE="", OMP_NUM_THREADS="1")
    deadline = time.monotonic() + START_SECONDS
    try:
        while IS_UP not in running.log.read_text(errors="replace"):
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(running.log.read_text(errors="replace")[-1000:])
            time.sleep(POLL)
        return computed(running.process.pid)
    finally:
        running.process.terminate()
        running.process.wait(30)


def computed(process: int) -> float:
    """From /proc: user and system time, its own and its children's."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(fields[i]) for i in range(11, 15)) / os.sysconf("SC_CLK_TCK")
