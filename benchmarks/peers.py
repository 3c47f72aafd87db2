"""Against what could be used instead: the original extension and the WebUI's own training, in one real WebUI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .clock import Spread, spread_of
from .models import Bench
from .results import Answer, Figure
from .shapes import NARROW
from .webui import NO_ORIGINAL, NO_WEBUI, ORIGINAL, ask, data_folder, has_original, has_webui, webui

STEPS = 6  # of a training, the first two of which do not count
ROUNDS = 3
SIDE = 256
MODEL = "SD 1's layers a fifth as wide, random weights, 256x256 pixels, in the WebUI"

Taken = dict[str, list[dict[str, Any]]]


def peers(bench: Bench) -> Answer:
    """Trainings of the same picture in turns; each its own few steps, by the clock of `webui_probe.py`."""
    left_out: list[str] = []
    if bench.is_tiny or not has_webui():
        return Answer("peers", left_out=[NO_WEBUI])
    trainings: dict[str, dict[str, Any]] = {"pair": {"plain": False}, "plain": {"plain": True}, "webui": {}}
    if has_original():
        trainings["original"] = {"checkout": str(ORIGINAL)}
    else:
        left_out.append(NO_ORIGINAL)
    taken: Taken = {name: [] for name in trainings}
    functions = {"pair": "ours", "plain": "ours", "webui": "webuis", "original": "originals"}
    folder = data_folder(bench.work / "peers", shape=NARROW)
    with webui(folder) as started:
        common = {"picture": str(folder / "picture" / "teapot.png"), "steps": STEPS, "side": SIDE}
        for _ in range(ROUNDS):
            for name, own in trainings.items():
                taken[name].append(ask(started, functions[name], **common, **own))
    return Answer("peers", figures(taken), left_out=left_out, values=summary(taken))


def figures(taken: Taken) -> list[Figure]:
    found = []
    if "original" in taken:
        found.append(
            Figure(
                "the original extension's step",
                "ours of a pair",
                faster(taken, "original", "pair"),
                "x",
                2.0,
                True,
                MODEL,
            )
        )
        found.append(Figure("our peak memory, a pair", "the original's", peak(taken, "pair", "original"), aim=0.5))
        left = spread_of([float(run["gradients"]) for run in taken["original"]])
        found.append(Figure("gradients that the original leaves", "", left, "bytes"))
    found.append(
        Figure("the WebUI's own step", "ours of a word", faster(taken, "webui", "plain"), "x", 1.5, True, MODEL)
    )
    return found


def faster(taken: Taken, theirs: str, ours: str) -> Spread:
    """Their seconds over ours, median step against median step, round by round."""
    rounds = zip(taken[theirs], taken[ours], strict=True)
    return spread_of([median(a["seconds"]) / median(b["seconds"]) for a, b in rounds])


def peak(taken: Taken, ours: str, theirs: str) -> Spread:
    """Of the first round, in which ours is the very first training.

    It takes from the system what the others find freed, so that the ratio is rather too large than too small.
    """
    return spread_of([taken[ours][0]["peak"] / max(taken[theirs][0]["peak"], 1)])


def median(values: Sequence[float]) -> float:
    return spread_of(values).median


def summary(taken: Taken) -> dict[str, Any]:
    return {
        name: {
            "seconds a step": [round(median(run["seconds"]), 4) for run in runs],
            "peak MiB": [round(run["peak"] / 2**20, 1) for run in runs],
            "gradients": [run["gradients"] for run in runs],
        }
        for name, runs in taken.items()
    }
