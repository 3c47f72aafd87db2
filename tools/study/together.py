"""The study with trainings of an arm that share their passes: several processes share a GPU, or a CPU's cores."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import DreamArtistError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.evaluation.pictures import Batch
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair
from dreamartist_ext.hosts.diffusers.model_files import load_host, quiet_libraries
from dreamartist_ext.many.group import open_member
from dreamartist_ext.many.together import Member, SharedTraining, train_together

from .arms import Arm
from .run import Protocol, Study, batch_of, measured, pictures_of, saving_interval
from .table import Row
from .ways import WAYS

DRAWN_TOGETHER = 20  # pairs


@dataclass(frozen=True)
class Setup:
    """What every process needs to make rows."""

    model: Path | None
    device: str
    references: Path
    work: Path
    protocol: Protocol
    base: Mapping[str, Any]  # settings below every arm's own
    guidances: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """Trainings of one arm that share their passes: (concept, seed) each."""

    label: str
    arm: Arm
    tasks: tuple[tuple[str, int], ...]


def groups_of(arms: Mapping[str, Arm], concepts: Sequence[str], seeds: Sequence[int], most: int) -> list[Group]:
    """All trainings, an arm after the other, at most `most` in a group."""
    tasks = [(concept, seed) for seed in seeds for concept in concepts]
    return [
        Group(label, arm, tuple(tasks[first : first + most]))
        for label, arm in arms.items()
        for first in range(0, len(tasks), most)
    ]


def run_together(setup: Setup, groups: Sequence[Group], processes: int, seconds: float) -> Iterator[list[Row]]:
    """Rows of one group after the other, as they are done. After `seconds` no group is begun any more, and what was
    left out is said; a group that fails is said and leaves the others alone. A process that is killed ends
    all: what was trained to its end is found again by the same command."""
    study_of(setup).style_judge()  # kept in the work folder for all processes
    until = time.monotonic() + seconds
    waiting = list(groups)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        running: dict[Future, Group] = {}
        while waiting or running:
            while waiting and len(running) < processes and time.monotonic() < until:
                try:
                    running[pool.submit(rows_of, setup, waiting[0])] = waiting[0]
                except BrokenProcessPool:  # a process was killed, and with it all the others
                    until = 0.0
                    break
                del waiting[0]
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield _rows_or_word(future, running.pop(future))
    for group in waiting:
        print(f"not begun: {group.label} of {len(group.tasks)} trainings")


def _rows_or_word(future: Future, group: Group) -> list[Row]:
    try:
        rows, words = future.result()
    except Exception as error:  # whatever went wrong with one arm is that arm's end only
        rows, words = [], [f"{type(error).__name__}: {error}"]
    for word in words:
        print(f"{group.label}: {word}")
    return rows


def study_of(setup: Setup) -> Study:
    return _study(setup.model, setup.device, setup.references, setup.work, setup.protocol)


@lru_cache(maxsize=1)
def _study(model: Path | None, device: str, references: Path, work: Path, protocol: Protocol) -> Study:
    """Made once in each process."""
    quiet_libraries()
    torch.set_num_threads(1)
    host = load_host(model, device)
    if host.device.type == "cpu":
        host.parts.unet.set_attn_processor(AttnProcessor())  # trains faster there than the fused kind
    return Study(host, references, work, protocol)


def rows_of(setup: Setup, group: Group) -> tuple[list[Row], list[str]]:
    """The rows of a group, and a sentence about each training that came to no end."""
    study = study_of(setup)
    trained, words = [], []
    for (concept, seed), found in zip(group.tasks, pairs_together(study, group, setup.base), strict=True):
        if isinstance(found, DreamArtistError):
            words.append(f"{concept} {seed}: {found}")
        else:
            trained += [(concept, seed, pair, seconds) for pair, seconds in found]
    trained.sort(key=lambda one: one[2].step)  # different words come beside each other
    rows = []
    for guidance in setup.guidances:
        drawn = drawn_together(study, [pair for _, _, pair, _ in trained], guidance)
        for (concept, seed, pair, seconds), pictures in zip(trained, drawn, strict=True):
            row = measured(study, group.label, concept, pair, seed, guidance, pictures)
            rows.append({**row, "seconds_per_step": "" if math.isnan(seconds) else round(seconds, 4)})
    return rows, words


def drawn_together(study: Study, pairs: Sequence[EmbeddingPair], guidance: float) -> Iterator[list[Image.Image]]:
    """The pictures of each pair. Pairs of one training, which have one name, are never drawn in one batch."""
    waiting = list(pairs)
    while waiting:
        first: dict[str, EmbeddingPair] = {}
        for pair in waiting:
            if pair.name in first or len(first) == DRAWN_TOGETHER:
                break
            first[pair.name] = pair
        batches = [batch_of(study.protocol, pair, guidance) for pair in first.values()]
        pictures = iter(study.draw(together(batches)))
        for batch in batches:
            yield [next(pictures) for _ in batch.seeds]
        del waiting[: len(first)]


def together(batches: Sequence[Batch]) -> Batch:
    """Batches that differ in their prompts, seeds and embeddings as one."""
    return replace(
        batches[0],
        prompts=tuple(chain.from_iterable(batch.prompts for batch in batches)),
        negative_prompts=tuple(chain.from_iterable(batch.negative_prompts for batch in batches)),
        seeds=tuple(chain.from_iterable(batch.seeds for batch in batches)),
        embeddings={word: vectors for batch in batches for word, vectors in batch.embeddings.items()},
    )


def pairs_together(
    study: Study, group: Group, base: Mapping[str, Any]
) -> Iterator[list[tuple[EmbeddingPair, float]] | DreamArtistError]:
    """Of each training the pairs at the steps to be measured, with its share of the seconds per step; or why it ended
    early. What is in the work folder is not trained again."""
    members = _members(study, group, base)
    began = time.monotonic()
    with closing(train_together(study.host, members)) as reports:
        steps = sum(reports)
    seconds = (time.monotonic() - began) / steps if steps else float("nan")
    for member in members:
        yield member.error or [(pair, seconds) for pair in _pairs(member, group.arm)]


def _members(study: Study, group: Group, base: Mapping[str, Any]) -> list[Member]:
    settings = {**base, **group.arm.settings, "save_every": saving_interval(group.arm)}
    seen = [study.reference(concept).sum().item() for concept, _ in group.tasks]
    about = (
        f"{sorted(settings.items())} {group.tasks} {seen} {group.arm.way} {group.arm.masked} {study.host.identity()}"
    )
    folder = study.work / "together" / f"{group.label}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"
    kind = sharing(WAYS[group.arm.way])
    members = []
    for number, (concept, seed) in enumerate(group.tasks):
        # No word may hold another.
        config = TrainConfig.from_mapping({**settings, "name": f"thing{number:03d}x", "seed": seed})
        training = kind(study.host, config, pictures_of(study, group.arm, config, concept))
        members.append(open_member(training, RunFiles(folder / "embeddings", config.name), overwrite=False))
    return members


def sharing(way: Callable[..., Training]) -> Callable[..., SharedTraining]:
    """A way of training, with its passes shared."""
    if way is Training:
        return SharedTraining
    return type(f"Shared{way.__name__}", (way, SharedTraining), {})


def _pairs(member: Member, arm: Arm) -> list[EmbeddingPair]:
    files, name = member.files, member.training.config.name
    pairs = [load_pair(files.folder, files.step_stem(step)) for step in arm.at if step < member.training.config.steps]
    for pair in pairs:
        pair.name = name
    return [*pairs, load_pair(files.out, name)]
