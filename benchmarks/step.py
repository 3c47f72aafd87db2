"""What does a step cost beyond the forward and backward pass that nobody can do without?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .clock import Seconds, ratio, spread_of, taking_turns
from .models import Bench
from .results import Answer, Figure
from .work import floor, floor_with_text, repeated, training, with_less_memory

FLOOR = "bare forward and backward"
MOST_SECONDS = 25  # on a GPU, whose time may be lent: on the first one eight rounds took 40


def step(bench: Bench) -> Answer:
    """The pair, plain inversion, the reconstruction term and less memory, in turns with their floors."""
    with (
        bench.host.session(),
        training(bench) as (under_way, next_of_pair),
        training(bench, use_negative=False) as (_, next_of_plain),
        training(bench, reconstruction=1.0) as (_, next_decoding),
    ):
        works = {
            "floor 2": floor(bench, 2),
            "pair": repeated(next_of_pair, bench),
            "floor 1": floor(bench, 1),
            "plain": repeated(next_of_plain, bench),
            "floor with text": floor_with_text(bench, under_way),
            "less": with_less_memory(repeated(next_of_pair, bench), bench),
            "floor decoding": floor(bench, 2, decoder=True),
            "decoding": repeated(next_decoding, bench),
        }
        most = MOST_SECONDS if bench.device.type == "cuda" else math.inf
        taken = taking_turns(works, bench.size.rounds, bench.device, bench.size.warm, most)
    return Answer("step", figures(taken, bench), values=seconds_per_step(taken, bench.size.steps))


def figures(taken: Mapping[str, Sequence[Seconds]], bench: Bench) -> list[Figure]:
    def figure(what: str, against: str, name: str, base: str, aim: float | None = None) -> Figure:
        return Figure(what, against, ratio(taken, name, base, bench.device), aim=aim)

    return [
        figure("a step of the pair", f"{FLOOR}, batch 2", "pair", "floor 2", 1.10),
        figure("a step of the pair", f"{FLOOR}, batch 2, with the text encoder", "pair", "floor with text"),
        figure("a step of plain inversion", f"{FLOOR}, batch 1", "plain", "floor 1", 1.05),
        figure("a step with reconstruction", f"{FLOOR}, batch 2, with a decoder", "decoding", "floor decoding", 1.15),
        figure("a step with reconstruction", "a step without", "decoding", "pair"),
        figure("a step with less memory", "a step without", "less", "pair", 1.35),
    ]


def seconds_per_step(taken: Mapping[str, Sequence[Seconds]], steps: int) -> dict[str, dict[str, float]]:
    """The medians, on the wall and of computing."""
    return {
        name: {kind: spread_of([getattr(s, kind) / steps for s in seconds]).median for kind in ("wall", "cpu")}
        for name, seconds in taken.items()
    }
