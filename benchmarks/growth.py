"""Does anything grow while a training goes on?"""

from __future__ import annotations

from pathlib import Path

from .clock import seconds_of, spread_of
from .memory import MEBI, held
from .models import Bench
from .results import Answer, Curve, Figure
from .work import training

SMALLEST = 64  # pixels of a side, by the settings
MOST_PARTS = 20  # of the training, each measured on its own


def growth(bench: Bench) -> Answer:
    """Memory and time of the steps of one long training: the last quarter against the second.

    At half the side, since what would be left behind by a step does not depend on it.
    """
    side = max(bench.side // 2, SMALLEST)
    kept, resident, seconds = [], [], []
    parts = max(4, min(MOST_PARTS, bench.size.growth // 4) // 4 * 4)  # whole quarters
    each = bench.size.growth // parts
    with training(bench, bench.pictures(side=side), width=side, height=side) as (_, step):
        for _ in range(parts):
            taken = seconds_of(lambda: [step() for _ in range(each)], bench.device)
            kept.append(float(held()))
            resident.append(float(resident_bytes()))
            seconds.append((taken.wall if bench.device.type == "cuda" else taken.cpu) / each)
    steps = [float(each * (part + 1)) for part in range(parts)]
    middle, last = slice(parts // 4, parts // 2), slice(-(parts // 4), None)
    final = spread_of([a - b for a, b in zip(kept[last], kept[middle], strict=True)])
    slower = spread_of([a / b for a, b in zip(seconds[last], seconds[middle], strict=True)])
    process = spread_of([(a - b) / MEBI for a, b in zip(resident[last], resident[middle], strict=True)])
    return Answer(
        "growth",
        [
            Figure(f"tensors held at the end of {each * parts} steps", "after a quarter", final, "bytes", aim=0.0),
            Figure("a step at the end", "after a quarter", slower, aim=1.10),
            Figure("the process's memory at the end", "after a quarter", process, "MiB", aim=16.0),
        ],
        [
            Curve(
                "memory over steps", "steps", "MiB", [*zip(steps, [r / MEBI for r in resident], strict=True)], "flat"
            ),
            Curve("time over steps", "steps", "s a step", [*zip(steps, seconds, strict=True)], "flat"),
        ],
    )


def resident_bytes() -> int:
    """Of this process, as the operating system counts them; 0 where it does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    except (OSError, StopIteration):
        return 0
