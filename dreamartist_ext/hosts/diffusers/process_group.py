"""Processes that belong together on this machine: started, connected through accelerate, and ended with each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import Tensor, distributed

from ...engine.errors import TrainingError
from ...files.run import is_out_of_memory

HERE = "127.0.0.1"


LOOPBACKS = ("lo", "lo0")


PATIENCE = 60.0  # seconds to see by itself that another process is gone, and to put down what was learned


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
                f"one of the {self.count} processes has ended; the training can go on from its last snapshot.",
                "going on",
            ) from error


@contextmanager
def connected(store: distributed.TCPStore, rank: int, count: int, device: torch.device) -> Iterator[Processes]:
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
def share_of_threads(device: torch.device, count: int) -> Iterator[None]:
    """On CPUs all processes together use as many threads as one would."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(max(1, before // count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def started(follow: Callable[..., None], arguments: Sequence[Any], count: int) -> Iterator[list[BaseProcess]]:
    """All processes but this one, each in `follow(rank, count, *arguments)`; they are gone on the way out.

    Ctrl-C reaches this one only.
    """
    context = multiprocessing.get_context("spawn")
    others: list[BaseProcess] = [
        context.Process(target=follow, args=(rank, count, *arguments), daemon=True) for rank in range(1, count)
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


def wait_until_loaded(store: distributed.Store, others: Sequence[BaseProcess]) -> None:
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
def end_with(others: Sequence[BaseProcess]) -> Iterator[None]:
    """Inside, this process ends when another one has ended and PATIENCE is over. Where it hears of the group it sees
    that by itself, at once; while it connects, or waits for a GPU that waits for another's, it never would."""
    is_left = threading.Event()

    def watch() -> None:
        ended = wait([process.sentinel for process in others])
        if not is_left.wait(PATIENCE):
            sys.stderr.write(f"\ndreamartist: {_ended(others, ended)}\n")
            sys.stderr.flush()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_left.set()


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "the first process starts this one"
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
