"""Groups of concepts as tasks on Ray: on this machine's cores, or on a cluster. Ray starts, retries and places them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..engine.errors import SettingError
from .board import Board
from .concepts import Concept, Outcome
from .group import Job, train_group

TELL_EVERY = 1.0  # seconds
LOCK_SECONDS = 60.0  # a killed worker on another machine may live a little longer than the word that it is dead
NEEDS_RAY = 'this needs Ray: pip install "dreamartist[many]".'


def has_ray() -> bool:
    try:
        import ray  # noqa: F401
    except ImportError:
        return False
    return True


class Teller:
    """Tells the board of a task's progress now and then, without waiting for it but the first time."""

    def __init__(self, board: Any, group: int) -> None:
        self.board, self.group = board, group
        self._answer: Any = None
        self._told = 0.0
        self._is_stopped = False

    def __call__(self, made: int, spared: int) -> bool:
        import ray

        if self._answer is None:
            self._answer = self.board.tell.remote(self.group, made, spared)
            self._is_stopped = ray.get(self._answer)
        elif time.monotonic() - self._told >= TELL_EVERY:
            if ray.wait([self._answer], timeout=0)[0]:
                self._is_stopped = ray.get(self._answer)
                self._answer = self.board.tell.remote(self.group, made, spared)
            self._told = time.monotonic()
        return self._is_stopped


def train_on_ray(
    job: Job,
    groups: Sequence[Sequence[Concept]],
    workers: int,
    address: str | None,
    retries: int,
    show: Callable[[int, int], object],
    is_stopped: Callable[[], bool],
) -> Iterator[Outcome]:
    """The outcomes as they come; `show` is told the steps made and spared about once a second.

    workers: processes on this machine, where there is no address. A task whose worker or machine dies is tried again
    `retries` times, and goes on from its concepts' snapshots. Raises SettingError without Ray, or where no cluster
    answers.
    """
    if not has_ray():
        raise SettingError(NEEDS_RAY, "Ray")
    import ray

    _connect(workers * job.threads, address)
    job = replace(job, lock_seconds=LOCK_SECONDS)
    try:
        board = _board()
        task = ray.remote(num_cpus=job.threads, num_gpus=_gpus(job), max_retries=retries)(_train)
        pending = {task.remote(job, number, list(group), board): number for number, group in enumerate(groups)}
        is_asked = False
        while pending:
            done, _ = ray.wait(list(pending), timeout=1)
            for ref in done:
                yield from _outcomes(ref, groups[pending.pop(ref)])
            show(*ray.get(board.counts.remote()))
            if is_stopped():
                ray.get(board.stop.remote())  # said again and again: a board that was started anew does not know it
                if not is_asked:
                    is_asked = True
                    _cancel_those_not_begun(board, pending)
    finally:
        ray.shutdown()


def _train(job: Job, number: int, concepts: list[Concept], board: Any) -> list[Outcome]:
    return train_group(job, concepts, Teller(board, number))


def _connect(cpus: int, address: str | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    common: dict[str, Any] = {"include_dashboard": False} if address is None else {"address": address}
    if address is None:
        common["num_cpus"] = cpus
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", **common)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise SettingError(f"Ray did not start {where}: {str(error).splitlines()[0]}") from error


def _board() -> Any:
    """It lives where this command does, and is of no use without it; raises SettingError where workers cannot begin.

    Not "soft": Ray would put it on any machine then, whose death would end the command. Where its process is killed, it
    is started anew and calls wait for it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    calls_that_wait = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Board)
    board = calls_that_wait.options(scheduling_strategy=here).remote()
    try:
        ray.get(board.counts.remote())
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SettingError(f"Ray's workers cannot run DreamArtist; install it wherever they run ({reason}).") from error
    return board


def _gpus(job: Job) -> int:
    """One for each task, where tasks are to compute on one."""
    import ray

    device = job.loading[1]
    return int(device == "cuda" or (device == "auto" and ray.cluster_resources().get("GPU", 0) > 0))


def _cancel_those_not_begun(board: Any, pending: dict[Any, int]) -> None:
    """Those under way are not cancelled: they hear of the stop after their step, and keep it."""
    import ray

    begun = ray.get(board.begun.remote())
    for ref, number in pending.items():
        if number not in begun:
            ray.cancel(ref)


def _outcomes(ref: Any, concepts: Sequence[Concept]) -> list[Outcome]:
    import ray

    try:
        return ray.get(ref)
    except ray.exceptions.TaskCancelledError:
        return [Outcome(concept.name, "stopped") for concept in concepts]
    except ray.exceptions.RayTaskError as error:
        sentence = str(error.cause)
    except ray.exceptions.RayError:
        sentence = "its worker died too often; the same command goes on from its last snapshot."
    return [Outcome(concept.name, "failed", sentence) for concept in concepts]
