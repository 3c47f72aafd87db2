"""Does a training run to its end in every precision, what does it take, and does the model draw as before?"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dreamartist_ext.engine.errors import TrainingError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.run import RunFiles, run_to_files

from .card import at_most
from .clock import seconds_of, spread_of, wait
from .gpu import PRECISIONS, in_precision
from .memory import MEBI, peak
from .models import Bench
from .results import Answer, Figure, guarded
from .work import config, training

STEPS, TINY_STEPS = 50, 4
ROUND = 10  # steps
MOST_SECONDS = 75  # of one precision
DRAWING_STEPS = 2
SPARE = 32 * MEBI  # what a training that must run out of memory still gets


def trainings(bench: Bench) -> Answer:
    """Each precision: seconds a step, the peak, and whether vectors, steps and pictures are sound afterwards."""
    answer = Answer("trainings")
    for name in PRECISIONS:
        with guarded(answer, name, MOST_SECONDS), in_precision(bench, PRECISIONS[name]):
            answer.figures += in_one(bench, name)
    return answer


def in_one(bench: Bench, name: str) -> list[Figure]:
    before = drawn(bench)
    fresh(bench.device)
    held, steps = allocated(bench.device), TINY_STEPS if bench.is_tiny else STEPS
    size = min(ROUND, steps // 2)
    with training(bench, less_memory="auto") as (under_way, step):
        start = [vectors.detach().clone() for half in under_way.pair.named().values() for vectors in half.values()]
        rounds = [seconds_of(lambda: [step() for _ in range(size)], bench.device) for _ in range(steps // size)]
        highest = most_allocated(bench.device) or held + peak(step, bench.device)
        dropped, is_sound = int(under_way.guard.dropped), under_way.is_sound()
        end = [vectors.detach() for half in under_way.pair.named().values() for vectors in half.values()]
        unmoved = sum(torch.equal(a, b) for a, b in zip(start, end, strict=True))
    fresh(bench.device)
    return [
        Figure(f"a step, {name}", "", spread_of([seconds.wall / size for seconds in rounds]), "s"),
        Figure(f"peak of {steps} steps, {name}", "", spread_of([highest / MEBI]), "MiB"),
        nothing(f"steps that were left out, {name}", dropped),
        nothing(f"vectors that are not finite or did not move, {name}", unmoved + (not is_sound)),
        nothing(f"pixels that a picture has otherwise afterwards, {name}", differing(drawn(bench), before)),
        nothing(f"bytes left on the card, {name}", allocated(bench.device) - held),
    ]


def nothing(what: str, count: int) -> Figure:
    return Figure(what, "", spread_of([float(count)]), "", aim=0.0)


def refusal(bench: Bench) -> Answer:
    """A training that runs out of memory says so in one sentence that names what needs less; the model is as before."""
    answer = Answer("refusal")
    with guarded(answer, "out of memory", MOST_SECONDS):
        before = drawn(bench)
        said = said_without_memory(bench)
        answer.values["said"] = said
        answer.figures += [
            nothing("out of memory: sentences that do not say what needs less", int(not is_advice(said))),
            nothing("pixels that a picture has otherwise after that", differing(drawn(bench), before)),
        ]
    return answer


def said_without_memory(bench: Bench) -> str:
    """What a training says that gets none; nothing where it runs to its end all the same."""
    made = Training(bench.host, config(), bench.pictures())
    files = RunFiles(bench.work / "embeddings", made.config.name)
    try:
        with without_memory(bench):
            next(run_to_files(made, files))
    except TrainingError as error:
        return str(error)
    finally:
        fresh(bench.device)
    return ""


def is_advice(said: str) -> bool:
    return bool(re.fullmatch(r"out of memory at step 1; [^\n]*less_memory[^\n]*\.", said))


@contextmanager
def without_memory(bench: Bench) -> Iterator[None]:
    """Inside, the card is nearly full; where there is none, the network says what a full card does."""
    if bench.device.type == "cuda":
        fresh(bench.device)
        free, whole = torch.cuda.mem_get_info()
        with at_most(whole - free + SPARE, bench.device):
            yield
        return

    def predict(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 32.00 MiB.")

    bench.host.predict = predict
    try:
        yield
    finally:
        del bench.host.predict


def drawn(bench: Bench) -> bytes:
    side = bench.side
    (picture,) = bench.host.generate(["a cat"], [""], [0], DRAWING_STEPS, width=side, height=side)
    return picture.tobytes()


def differing(one: bytes, other: bytes) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def fresh(device: torch.device) -> None:
    """Nothing that is over lies in memory, and peaks count from now."""
    gc.collect()
    wait(device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def allocated(device: torch.device) -> int:
    """Bytes on the card; 0 where there is none."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def most_allocated(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
