"""One training in several processes of this machine, each on a GPU of its own or its share of the cores.

accelerate passes tensors and words between them: over NCCL between GPUs, over gloo between CPUs, and over gloo whatever
a step must read. This process is the first of them and starts the others, which end with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed

from ...engine.config import TrainConfig
from ...engine.divided import DividedTraining, check_divisible
from ...engine.errors import DreamArtistError, SettingError, TrainingError, first_line
from ...engine.snapshot import Snapshot
from ...engine.trainer import Training
from ...files.pictures import PictureView, open_pictures
from .host import DiffusersHost
from .model_files import choose_device, load_host, quiet_libraries
from .process_group import (
    HERE,
    Processes,
    connected,
    end_with,
    end_with_parent,
    share_of_threads,
    started,
    wait_until_loaded,
)

NEEDS_ACCELERATE = 'several processes need accelerate: pip install "dreamartist[accelerate]".'


@dataclass(frozen=True)
class Job:
    """What each process needs to open the same training."""

    config: TrainConfig
    pictures: tuple[Path, ...]
    loading: tuple[Path | None, str, str, int]  # what `load_host` takes
    scratch: Path  # where latents that do not fit into memory may lie

    @property
    def device(self) -> str:
        return self.loading[1]

    def located(self) -> Job:
        """The same for a process that may begin in another folder."""
        model, device, precision, clip_skip = self.loading
        loading = (model and model.absolute(), device, precision, clip_skip)
        return Job(self.config, tuple(path.absolute() for path in self.pictures), loading, self.scratch.absolute())

    def shown(self, host: DiffusersHost) -> list[PictureView]:
        return open_pictures(self.pictures, self.config, host.picture_size, host.size_unit)


@contextmanager
def opened(job: Job, count: int = 1, snapshot: Snapshot | None = None) -> Iterator[tuple[DiffusersHost, Training]]:
    """The model and the training, in this process alone or in others too: see `divided`."""
    if count > 1:
        with divided(job, count, snapshot) as both:
            yield both
        return
    host = load_host(*job.loading)
    alone = Training(host, job.config, job.shown(host))
    if snapshot is not None:
        alone.restore(snapshot)
    yield host, alone


@contextmanager
def divided(job: Job, count: int, snapshot: Snapshot | None = None) -> Iterator[tuple[DiffusersHost, DividedTraining]]:
    """The training of this process, the first of `count`, with the others following until the way out.

    Raises SettingError for what several processes cannot do here, and whatever keeps any of them from beginning.
    """
    device = check_possible(job, count)
    store = distributed.TCPStore(HERE, 0, None, is_master=True, wait_for_workers=False)
    with ExitStack() as stack:
        others = stack.enter_context(started(_follow, (job.located(), store.port), count))
        stack.enter_context(share_of_threads(device, count))
        host = load_host(*job.loading)
        wait_until_loaded(store, others)
        if device.type == "cuda":
            stack.enter_context(end_with(others))
        with end_with(others):
            group = stack.enter_context(connected(store, 0, count, device))
        group.told(snapshot)
        training = _begun(job, host, group, snapshot)
        for rank, sentence in enumerate(group.all_said("")):
            if sentence:
                raise TrainingError(f"process {rank + 1} of {count} cannot begin: {sentence}")
        try:
            yield host, training
        finally:
            _dismiss(group)


def _begun(job: Job, host: DiffusersHost, group: Processes, snapshot: Snapshot | None) -> DividedTraining:
    """One process's training at the snapshot's step, with its pictures encoded."""
    training = DividedTraining(host, job.config, job.shown(host), group)
    training.scratch = job.scratch
    with host.session():
        training.encoded()
    if snapshot is not None:
        training.restore(snapshot)
    return training


def check_possible(job: Job, count: int) -> torch.device:
    """The kind of device that they train on; raises SettingError."""
    try:
        import accelerate  # noqa: F401
    except ImportError as error:
        raise SettingError(NEEDS_ACCELERATE) from error
    check_divisible(job.config, count)
    device = choose_device(job.device)
    if not distributed.is_available():
        raise SettingError("several processes need a torch with torch.distributed, which this one is not.")
    if device.type not in ("cpu", "cuda"):
        raise SettingError(f"several processes train on CPUs or on NVIDIA's GPUs, not on {device.type}.")
    if device.type == "cuda" and count > torch.cuda.device_count():
        raise SettingError(f"{count} processes need a GPU each, and there are {torch.cuda.device_count()} here.")
    if device.type == "cuda" and not distributed.is_nccl_available():
        raise SettingError("several GPUs need a torch with NCCL, which this one is not.")
    return device


def _dismiss(group: Processes) -> None:
    if not group.is_broken:
        try:
            group.told("end")
        except TrainingError:
            return  # it is gone already


def _follow(rank: int, count: int, job: Job, port: int) -> None:
    """What a process other than the first does."""
    warnings.simplefilter("ignore")
    end_with_parent()
    quiet_libraries()
    store = distributed.TCPStore(HERE, port, None, is_master=False, wait_for_workers=False)
    device = choose_device(job.device)
    sentence, host = "", None
    with share_of_threads(device, count):
        try:
            if device.type == "cuda":
                torch.cuda.set_device(rank)
            host = load_host(*job.loading)
        except (DreamArtistError, RuntimeError, MemoryError) as error:
            sentence = first_line(error)
        store.set(f"loaded {rank}", "")
        with connected(store, rank, count, device) as group:
            _follow_in(group, job, host, sentence)


def _follow_in(group: Processes, job: Job, host: DiffusersHost | None, sentence: str) -> None:
    try:
        snapshot, training = group.told(), None
        try:
            training = None if host is None else _begun(job, host, group, snapshot)
        except (DreamArtistError, RuntimeError, MemoryError) as error:
            sentence = first_line(error)
        if not any(group.all_said(sentence)) and training is not None:
            training.follow()
    except TrainingError:
        if not group.is_broken:  # what ended it is said by the first process
            raise
