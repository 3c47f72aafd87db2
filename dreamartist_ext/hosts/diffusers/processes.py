"""The processes of one training on this machine, each on a GPU of its own or its share of the cores.

accelerate passes tensors and words between them: over NCCL between GPUs, over gloo between CPUs, and over gloo whatever
a step must read. This process is the first of them and starts the others, which end with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from ...engine.config import TrainConfig
from ...engine.divided import DividedTraining, check_divisible
from ...engine.errors import DreamArtistError, SettingError, TrainingError, first_line
from ...engine.snapshot import Snapshot
from ...engine.trainer import Training
from ...files.pictures import PictureView, open_pictures
from ...files.run import is_out_of_memory
from .host import DiffusersHost
from .model_files import choose_device, load_host, quiet_libraries

NEEDS_ACCELERATE = 'several processes need accelerate: pip install "dreamartist[accelerate]".'
HERE = "127.0.0.1"
LOOPBACKS = ("lo", "lo0")
PATIENCE = 60.0  # seconds to see by itself that another process is gone, and to put down what was learned


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


class Processes:
    """See `engine.divided.Group`."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count
        self.is_broken = False

    def total(self, tensor: Tensor) -> Tensor:
        from accelerate.utils import reduce

        with self._unbroken():
            return reduce(tensor, reduction="sum")

    def told(self, value: Any = None) -> Any:
        from accelerate.utils import broadcast_object_list

        with self._unbroken():
            return broadcast_object_list([value])[0]

    def all_said(self, value: Any) -> list[Any]:
        from accelerate.utils import gather_object

        with self._unbroken():
            return gather_object([value])

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # what torch raises when a connection is lost
            self.is_broken = True
            if is_out_of_memory(error):
                raise
            raise TrainingError(
                f"one of the {self.count} processes has ended; the same command with --resume goes on from the last "
                "snapshot."
            ) from error


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
        others = stack.enter_context(_started(job.located(), count, store.port))
        stack.enter_context(_share_of_threads(device, count))
        host = load_host(*job.loading)
        _wait_until_loaded(store, others)
        if device.type == "cuda":
            stack.enter_context(_end_with(others))
        with _end_with(others):
            group = stack.enter_context(_connected(store, 0, count, device))
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


@contextmanager
def _connected(store: distributed.TCPStore, rank: int, count: int, device: torch.device) -> Iterator[Processes]:
    """The group, as accelerate sees it; on the way out torch, accelerate and the environment are as before."""
    from accelerate import PartialState
    from accelerate.utils import patch_environment

    place = {"rank": rank, "local_rank": rank, "world_size": count, "local_world_size": count}
    place |= {"master_port": store.port}  # not used, and accelerate would set it for good
    threads = torch.get_num_threads()
    with patch_environment(**place, omp_num_threads=threads, **_loopback()):
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
        try:
            PartialState(cpu=device.type == "cpu")
            torch.set_num_threads(threads)  # some versions of accelerate choose others
            yield Processes(rank, count)
        finally:
            PartialState._reset_state()
            distributed.destroy_process_group()


def _loopback() -> dict[str, str]:
    """gloo would look for its network by the machine's name, which need not lead anywhere."""
    names = [name for _, name in socket.if_nameindex() if name in LOOPBACKS]
    return {"gloo_socket_ifname": names[0]} if names else {}


@contextmanager
def _share_of_threads(device: torch.device, count: int) -> Iterator[None]:
    """On CPUs all processes together use as many threads as one would."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, before // count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _started(job: Job, count: int, port: int) -> Iterator[list[BaseProcess]]:
    """All processes but this one; they are gone on the way out. Ctrl-C reaches this one only."""
    context = multiprocessing.get_context("spawn")
    others: list[BaseProcess] = [
        context.Process(target=_follow, args=(job, rank, count, port), daemon=True) for rank in range(1, count)
    ]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which they inherit
    try:
        for process in others:
            process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield others
    finally:
        for process in others:
            process.terminate()
            process.join()


def _wait_until_loaded(store: distributed.Store, others: Sequence[BaseProcess]) -> None:
    """Raises TrainingError when one of them ended meanwhile."""
    wanted = [f"loaded {rank + 1}" for rank in range(len(others))]
    while not store.check(wanted):
        if ended := wait([process.sentinel for process in others], timeout=0.1):
            raise TrainingError(_ended(others, ended))


def _ended(others: Sequence[BaseProcess], sentinels: Sequence[Any]) -> str:
    rank, process = next((n, p) for n, p in enumerate(others, start=2) if p.sentinel in sentinels)
    process.join()
    return f"process {rank} of {len(others) + 1} has ended, with exit status {process.exitcode}."


@contextmanager
def _end_with(others: Sequence[BaseProcess]) -> Iterator[None]:
    """Inside, this process ends when another one has ended and PATIENCE is over. Where it hears of the group it sees
    that by itself, at once; while it connects, or waits for a GPU that waits for another's, it never would."""
    is_left = threading.Event()

    def watch() -> None:
        ended = wait([process.sentinel for process in others])
        if not is_left.wait(PATIENCE):
            sys.stderr.write(f"\ndreamartist: {_ended(others, ended)}\n")
            sys.stderr.flush()
            os._exit(2)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_left.set()


def _dismiss(group: Processes) -> None:
    if not group.is_broken:
        try:
            group.told("end")
        except TrainingError:
            return  # it is gone already


def _follow(job: Job, rank: int, count: int, port: int) -> None:
    """What a process other than the first does."""
    warnings.simplefilter("ignore")
    _end_with_parent()
    quiet_libraries()
    store = distributed.TCPStore(HERE, port, None, is_master=False, wait_for_workers=False)
    device = choose_device(job.device)
    sentence, host = "", None
    with _share_of_threads(device, count):
        try:
            if device.type == "cuda":
                torch.cuda.set_device(rank)
            host = load_host(*job.loading)
        except (DreamArtistError, RuntimeError, MemoryError) as error:
            sentence = first_line(error)
        store.set(f"loaded {rank}", "")
        with _connected(store, rank, count, device) as group:
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


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "the first process starts this one"
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
