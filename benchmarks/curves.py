"""How does the cost grow with the work? A curve steeper than its reason is a defect."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.latents import EncodedPictures
from dreamartist_ext.engine.storage import save_pair
from dreamartist_ext.webui.concept_index import FactsCache, concepts_in

from .clock import seconds_of, spread_of, wait
from .models import Bench
from .results import Answer, Curve, guarded
from .work import config, free_folder, training

REPEATS = 3
IN_MEMORY = 64 * 1024  # bytes of latents, so that most of many pictures lie on disk


def curves(bench: Bench) -> Answer:
    """One curve for each way in which work can grow."""
    few, on_gpu = bench.is_tiny, bench.device.type == "cuda"
    step = partial(curve_of_steps, bench)
    sides = [64, 128] if few else [bench.side * share // 2 for share in (1, 2, 3, 4)]
    counts = [1, 4] if few else [1, 10, 100] if on_gpu else [1, 10, 100, 1000]
    answer = Answer("curves")
    with guarded(answer, "vectors"):
        values = [1, 75] if few else [1, 10, 25, 50, 75]
        answer.curves.append(step("vectors", values, "one chunk whatever they are", vectors_of))
    with guarded(answer, "batch size"):
        values = [1, 2] if few else [1, 2, 4, 8]
        answer.curves.append(step("batch size", values, "proportional", lambda n: {"batch_size": n}))
    with guarded(answer, "side"):
        reason = "its square; attention its fourth power"
        answer.curves.append(step("side in pixels", sides, reason, lambda n: {"width": n, "height": n}))
    with guarded(answer, "pictures"):
        answer.curves += pictures(bench, counts)
    if not on_gpu:
        answer.curves.append(embeddings(bench, [1, 4] if few else [1, 100, 500, 1000, 2000]))
    return answer


def vectors_of(count: int) -> dict[str, int]:
    return {"vectors": count, "negative_vectors": count}


def curve_of_steps(
    bench: Bench, what: str, values: Iterable[int], reason: str, settings: Callable[[int], dict[str, int]]
) -> Curve:
    """Seconds of a step for each value, each by its own training."""
    points = []
    for value in values:
        own = settings(value)
        with training(bench, bench.pictures(side=own.get("width", 0)), **own) as (_, step):
            step()
            points.append((float(value), seconds(bench, step)))
    return Curve(f"a step, by {what}", what, "s", points, reason)


def seconds(bench: Bench, work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The median of a few; computing time on a CPU."""
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
        points.append((float(count), seconds(bench, partial(list_all, folder), repeats=3)))
    return Curve("listing the embeddings folder", "pairs", "s", points, "proportional")


def list_all(folder: Path) -> int:
    cache = FactsCache()
    return sum(cache.is_ours(concept.files[0]) for concept in concepts_in(folder))
