"""One task: the concepts that share their passes are trained to the end, or from where they were stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..engine.config import TrainConfig
from ..engine.errors import DreamArtistError, FileError, SettingError
from ..engine.snapshot import Snapshot
from ..engine.stopping import lacks_check
from ..files.only_one import only_one
from ..files.pictures import open_pictures
from ..files.provenance import about_model
from ..files.run import RunFiles
from ..files.storage import find_embedding
from ..hosts.diffusers.host import DiffusersHost
from ..hosts.diffusers.model_files import load_host, quiet_libraries
from .concepts import Concept, Outcome
from .together import Member, SharedTraining, train_together

# Told how many steps were made, and how many need not be made; says whether to stop.
Tell = Callable[[int, int], bool]


@dataclass(frozen=True)
class Job:
    """What every task of a run needs; all paths must be the same ones wherever a task may run."""

    settings: dict[str, Any]  # of TrainConfig, without a name
    out: Path
    loading: tuple[Path | None, str, str, int]  # what `load_host` takes
    overwrite: bool = False  # whether a concept of other settings is begun again
    threads: int = 1  # other counts add up in another order
    lock_seconds: float = 0  # to wait where another trains the same name

    def config(self, name: str) -> TrainConfig:
        return TrainConfig.from_mapping({**self.settings, "name": name})


@lru_cache(maxsize=1)
def _host(loading: tuple[Path | None, str, str, int]) -> DiffusersHost:
    """Loaded once in each process."""
    quiet_libraries()
    return load_host(*loading)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_group(job: Job, concepts: Sequence[Concept], tell: Tell) -> list[Outcome]:
    """What became of each; raises ModelError where nothing can be trained."""
    if tell(0, 0):
        return [Outcome(concept.name, "stopped") for concept in concepts]
    with ExitStack() as stack:
        stack.enter_context(_threads(job.threads))
        host = _host(job.loading)
        found = [_opened(host, job, concept, stack) for concept in concepts]
        members = [one for one in found if isinstance(one, Member)]
        outcomes = [one for one in found if isinstance(one, Outcome)]
        all_steps = len(concepts) * job.config(concepts[0].name).steps
        if not members:
            tell(0, all_steps)
            return outcomes
        return outcomes + _train(host, members, all_steps, tell)


def _opened(host: DiffusersHost, job: Job, concept: Concept, stack: ExitStack) -> Member | Outcome:
    """Locked until the stack ends; an Outcome where it cannot be trained."""
    try:
        config, files = job.config(concept.name), RunFiles(job.out, concept.name)
        pictures = open_pictures([concept.picture], config, host.picture_size, host.size_unit)
        stack.enter_context(only_one(files, job.lock_seconds))
        return open_member(SharedTraining(host, config, pictures), files, job.overwrite)
    except DreamArtistError as error:
        return Outcome(concept.name, "failed", str(error))


def open_member(training: SharedTraining, files: RunFiles, overwrite: bool) -> Member:
    """The training of a concept where it was left; raises DreamArtistError."""
    files.finish_interrupted()
    snapshot = last_snapshot(files, overwrite)
    if snapshot is not None:
        try:
            training.restore(snapshot)
        except SettingError:
            if not overwrite:
                raise
    made = training.is_over and not lacks_check(training.config, training.step, training.checks)
    words = training.pair.named()
    is_there = files.has_in_use(training.kept()) and all(find_embedding(files.out, word) for word in words)
    return Member(training, files, made and is_there)


def last_snapshot(files: RunFiles, overwrite: bool) -> Snapshot | None:
    """Raises SettingError for a name that is taken by something that cannot go on."""
    try:
        return files.last_snapshot()
    except FileError:
        if not overwrite:
            files.check_free()
        return None


def _train(host: DiffusersHost, members: list[Member], all_steps: int, tell: Tell) -> list[Outcome]:
    already = {member.files.name for member in members if member.is_done}
    spared = all_steps - sum(member.training.config.steps - member.training.step for member in members)
    made = 0
    failure = None
    try:
        with closing(train_together(host, members, about_model(host, __version__))) as reports:
            for count in reports:
                made += count
                if tell(made, spared) and any(member.is_unfinished for member in members):
                    break
    except DreamArtistError as error:
        failure = error
    if failure is not None or not any(member.is_unfinished for member in members):
        tell(made, all_steps - made)
    return [_outcome(member, already, failure) for member in members]


def _outcome(member: Member, already: set[str], failure: DreamArtistError | None) -> Outcome:
    name, error = member.files.name, member.error
    if error is None and not member.is_done:
        error = failure
    if error is not None:
        return Outcome(name, "failed", str(error))
    if not member.is_done:
        return Outcome(name, "stopped")
    return Outcome(name, "already" if name in already else "trained", member.training.guard.notice())
