"""What does a concept's step cost when several concepts share a pass?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.many.together import Member, SharedTraining, train_together

from .clock import Spread, Work, seconds_of, spread_of, wait
from .models import Bench
from .results import Answer, Curve, Figure, guarded
from .work import config, free_folder, training

WARM, ROUNDS = 2, 5
AIMED_AT = 8  # concepts in a pass
AIM = 0.5  # of the time alone, on a GPU, which one concept leaves waiting; on a CPU it is only said


def sharing(bench: Bench) -> Answer:
    """Seconds of a step per concept, alone and by concepts in a pass, for pictures of full and of half the side."""
    on_gpu = bench.device.type == "cuda"
    counts = [1, 2] if bench.is_tiny else [1, 2, 4, 8, 16] if on_gpu else [1, 2, 4]
    answer = Answer("sharing")
    for side in [bench.side, bench.side // 2] if on_gpu else [bench.side]:
        with guarded(answer, f"{side} pixels"):
            one_side(bench, side, counts, answer)
    return answer


def one_side(bench: Bench, side: int, counts: list[int], answer: Answer) -> None:
    with training(bench, bench.pictures(side=side)) as (_, step):
        alone = rounds_of(step, bench)
    answer.values[f"alone, {side} pixels"] = spread_of(alone).median
    reason = "falls, until the device is busy"
    curve = Curve(f"a concept's step, {side} px", "concepts in a pass", "s each", [], reason)
    for count in counts:
        with guarded(answer, f"{count} concepts in a pass, {side} pixels"):
            with together(bench, side, count) as step:
                each = [seconds / count for seconds in rounds_of(step, bench)]
            curve.points.append((float(count), spread_of(each).median))
            if curve not in answer.curves:
                answer.curves.append(curve)
            if count == min(AIMED_AT, counts[-1]):
                aim = AIM if bench.device.type == "cuda" else None
                answer.figures.append(compared(each, alone, count, side, aim))


def compared(each: list[float], alone: list[float], count: int, side: int, aim: float | None) -> Figure:
    ratio: Spread = spread_of([a / b for a, b in zip(each, alone, strict=True)])
    return Figure(f"a concept's step among {count} in a pass, {side} pixels", "alone", ratio, aim=aim)


def rounds_of(step: Work, bench: Bench) -> list[float]:
    """Of a step: on the wall on a GPU, and of computing on a CPU."""
    for _ in range(WARM):
        step()
    kind = "wall" if bench.device.type == "cuda" else "cpu"
    return [getattr(seconds_of(step, bench.device), kind) for _ in range(ROUNDS)]


@contextmanager
def together(bench: Bench, side: int, count: int) -> Iterator[Work]:
    """What makes one step of each of `count` concepts, in one pass."""
    out = free_folder(bench, "sharing") / "pairs"
    members = []
    settings = config(save_every=0)
    for number, picture in enumerate(bench.pictures(count, side)):
        own = replace(settings, name=f"{settings.name}{'abcdefghijklmnop'[number]}cat", seed=number)
        members.append(Member(SharedTraining(bench.host, own, [picture]), RunFiles(out, own.name)))
    with closing(train_together(bench.host, members)) as reports:
        yield lambda: next(reports)
        wait(bench.device)
