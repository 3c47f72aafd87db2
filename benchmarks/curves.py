"""How does the cost grow with the work? A curve steeper than its reason is a defect."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.latents import EncodedPictures
from dreamartist_ext.files.concepts.index import FactsCache, concepts_in
from dreamartist_ext.files.storage import save_pair

from .clock import seconds_of, spread_of, wait
from .models import TINY_SIZES, Bench
from .results import Answer, Curve, guarded
from .work import config, free_folder, training

IN_MEMORY = 64 * 1024  # bytes of latents, so that most of many pictures lie on disk


@dataclass(frozen=True)
class Points:
    """Where the curves of one size are measured; without pairs there is no curve of them."""

    vectors: tuple[int, ...] = (1, 10, 25, 50, 75)
    batches: tuple[int, ...] = (1, 2, 4, 8)
    sides: tuple[int, ...] = (256, 512, 768, 1024)
    pictures: tuple[int, ...] = (1, 10, 100)
    pairs: tuple[int, ...] = ()
    repeats: int = 3
    less: bool = False  # the sides with the setting "less memory"


_ON_A_CPU = Points((1, 25, 75), (1, 2, 4), (256, 512, 1024), (1, 4), repeats=1, less=True)  # of SD 1.5's shape
POINTS = {
    "embedded": Points(sides=(64, 128, 192, 256), pictures=(1, 10, 100, 1000), pairs=(1, 100, 500, 1000, 2000)),
    "sd15": _ON_A_CPU,
    "sd15-512": _ON_A_CPU,
    "sd15-gpu": Points(),
    "sdxl-gpu": Points((1, 75), (1, 2, 4), (512, 1024), (1, 10)),
    **dict.fromkeys(TINY_SIZES, Points((1, 75), (1, 2), (64, 128), (1, 4), (1, 4))),
}


def curves(bench: Bench) -> Answer:
    """One curve for each way in which work can grow."""
    points, answer = POINTS[bench.name], Answer("curves")
    step = partial(curve_of_steps, bench)
    with guarded(answer, "vectors"):
        answer.curves.append(step("vectors", points.vectors, "one chunk whatever they are", vectors_of))
    with guarded(answer, "batch size"):
        answer.curves.append(step("batch size", points.batches, "proportional", lambda n: {"batch_size": n}))
    with guarded(answer, "side"):
        what, less = ("side in pixels, less memory on", "on") if points.less else ("side in pixels", "off")
        settings = partial(square_of, less=less)
        answer.curves.append(step(what, points.sides, "as side squared; attention as side to the 4th", settings))
    with guarded(answer, "pictures"):
        answer.curves += pictures(bench, points.pictures)
    if points.pairs:
        answer.curves.append(embeddings(bench, points.pairs))
    return answer


def square_of(side: int, less: str) -> dict[str, Any]:
    return {"width": side, "height": side, "less_memory": less}


def vectors_of(count: int) -> dict[str, int]:
    return {"vectors": count, "negative_vectors": count}


def curve_of_steps(
    bench: Bench, what: str, values: Iterable[int], reason: str, settings: Callable[[int], dict[str, Any]]
) -> Curve:
    """Seconds of a step for each value, each by its own training."""
    points = []
    for value in values:
        own = settings(value)
        with training(bench, bench.pictures(side=own.get("width", 0)), **own) as (_, step):
            for _ in range(bench.size.warm):
                step()
            points.append((float(value), seconds(bench, step)))
    return Curve(f"a step, by {what}", what, "s", points, reason)


def seconds(bench: Bench, work: Callable[[], object]) -> float:
    """The median of a few; computing time on a CPU."""
    repeats = POINTS[bench.name].repeats
    kind = "wall" if bench.device.type == "cuda" else "cpu"
    return spread_of([getattr(seconds_of(work, bench.device), kind) for _ in range(repeats)]).median


def now(bench: Bench) -> float:
    """Seconds: of computing on a CPU, and on the wall on a GPU, once it has nothing more to do."""
    wait(bench.device)
    return time.perf_counter() if bench.device.type == "cuda" else time.process_time()


def pictures(bench: Bench, counts: Iterable[int]) -> list[Curve]:
    """A step among many pictures whose latents lie on disk, and making those latents."""
    steps, encoding = [], []
    settings = config()
    for count in counts:
        shown = bench.pictures(count)
        with bench.host.session():
            began = now(bench)
            encoded = EncodedPictures(bench.host, settings, shown, free_folder(bench, "latents"), IN_MEMORY)
            encoding.append((float(count), (now(bench) - began) / count))
        with training(bench, shown, encoded) as (_, step):
            step()
            steps.append((float(count), seconds(bench, step)))
    return [
        Curve("a step, by pictures", "pictures, latents past 64 KiB on disk", "s", steps, "flat"),
        Curve("encoding, by pictures", "pictures", "s each", encoding, "flat"),
    ]


def embeddings(bench: Bench, counts: Iterable[int]) -> Curve:
    """Listing a folder of pairs, and finding which are ours, when nothing is remembered."""
    folder = free_folder(bench, "embeddings")
    halves = [{"clip": torch.full((count, 4), 0.1)} for count in (3, 6)]
    first = save_pair(EmbeddingPair("pair0", *halves, provenance={"settings": "{}"}), folder)
    points, there = [], 1
    for count in counts:
        for number in range(there, count):
            for file in first:
                shutil.copyfile(file, folder / file.name.replace("pair0", f"pair{number}"))
        there = count
        points.append((float(count), seconds(bench, partial(list_all, folder))))
    return Curve("listing the embeddings folder", "pairs", "s", points, "proportional")


def list_all(folder: Path) -> int:
    cache = FactsCache()
    return sum(cache.is_ours(concept.files[0]) for concept in concepts_in(folder))
