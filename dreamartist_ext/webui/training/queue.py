"""Trainings that wait for their turn: one after the other, in an order that can be changed. They lie on disk."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from ...engine.config import TrainConfig
from ...engine.errors import DreamArtistError, FileError, SettingError
from ...files.atomic import make_folder, write_atomically
from ...files.bounded import read_at_most
from ...files.run import RunFiles
from .job import Job
from .kept_pictures import STAGED
from .preview_plan import PreviewPlan

logger = logging.getLogger(__name__)

QUEUE = "_queue.json"  # beside the trainings; no name of a concept begins so
MOST_BYTES = 5_000_000


class Queue:
    """Every training in it is checked and has its pictures beside it; the first is taken when the model is free.

    The file also holds the one that was taken last, until it is over: where the process ends before its first step, it
    waits again in the next one.
    """

    def __init__(self, file: Callable[[], Path]) -> None:
        self.jobs: tuple[Job, ...] = ()
        self.is_paused = False
        self._file = file
        self._taken: tuple[Job, ...] = ()
        self._lock = threading.Lock()

    @property
    def goes_on(self) -> bool:
        """Whether one of it follows when the model is free."""
        return bool(self.jobs) and not self.is_paused

    def load(self, files: Callable[[str], RunFiles]) -> None:
        """What waited when the last process ended waits again, until somebody lets it go on."""
        found = [job for entry in self._read() if (job := _job_of(entry, files)) is not None]
        with self._lock:
            known = {each.name.lower() for each in self.jobs}
            self.jobs = (*self.jobs, *(job for job in found if job.name.lower() not in known))
            self.is_paused = bool(self.jobs)
            self._save()

    def _read(self) -> list[Any]:
        try:
            entries = json.loads(read_at_most(self._file(), MOST_BYTES) or b"[]")
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("the queue could not be read: %s", error)
            return []
        return entries if isinstance(entries, list) else []

    def _save(self) -> None:
        """A queue that cannot be written still goes on while the process does."""
        entries = [_entry_of(job) for job in (*self._taken, *self.jobs)]
        try:
            if entries:
                make_folder(self._file().parent)
                write_atomically(self._file(), json.dumps(entries).encode())
            else:
                self._file().unlink(missing_ok=True)
        except (OSError, FileError) as error:
            logger.warning("the queue could not be written: %s", error)

    def forget(self, job: Job) -> None:
        """It is over, one way or the other."""
        with self._lock:
            if job in self._taken:
                self._taken = ()
                self._save()

    def add(self, job: Job) -> None:
        """Raises SettingError for a name that waits already."""
        with self._lock:
            self._check_other(job.name)
            self.jobs = (*self.jobs, job)
            self._save()

    def check_other(self, name: str) -> None:
        with self._lock:
            self._check_other(name)

    def _check_other(self, name: str) -> None:
        if name.lower() in [each.name.lower() for each in self.jobs]:
            raise SettingError(f"the name {name} is in the queue already; choose another.")

    def take(self, adopt: Callable[[Job], object]) -> Job | None:
        """The next one, which `adopt` has taken over when it leaves the queue; None where there is none, or the queue
        is paused. Raises what `adopt` does, and the queue is as it was."""
        with self._lock:
            if not self.goes_on:
                return None
            first, *rest = self.jobs
            adopt(first)
            self.jobs, self._taken = tuple(rest), (first,)
            self._save()
            return first

    def earlier(self, name: str) -> None:
        """Let it change places with the one before it."""
        with self._lock:
            names = [each.name for each in self.jobs]
            at = names.index(name) if name in names else 0
            if at:
                jobs = list(self.jobs)
                jobs[at - 1], jobs[at] = jobs[at], jobs[at - 1]
                self.jobs = tuple(jobs)
                self._save()

    def call_off(self, name: str) -> None:
        """Take it out, with the pictures that were put beside it."""
        with self._lock:
            gone = [each for each in self.jobs if each.name == name]
            self.jobs = tuple(each for each in self.jobs if each.name != name)
            self._save()
        for job in gone:
            shutil.rmtree(job.files.folder / STAGED, ignore_errors=True)
            with suppress(OSError):  # of an earlier training there is more in it
                job.files.folder.rmdir()

    def html(self) -> str:
        """What waits, in order, with what can be done about each."""
        if not self.jobs:
            return ""
        rows = "".join(_row(job, number) for number, job in enumerate(self.jobs))
        pause = _button("Go on with the queue" if self.is_paused else "Pause the queue", "queue_pause", "*")
        head = "In the queue, which is paused" if self.is_paused else "In the queue"
        return f'<div class="dreamartist-queue"><b>{head}</b>{pause}<ol>{rows}</ol></div>'


def _entry_of(job: Job) -> dict[str, Any]:
    return {"settings": job.config.to_mapping(), "previews": job.previews_wanted, **job.plan.to_mapping()}


def _job_of(entry: Any, files: Callable[[str], RunFiles]) -> Job | None:
    """None for what is no training, or whose pictures have gone or been learned from since."""
    try:
        config = TrainConfig.from_mapping(entry["settings"])
        plan = PreviewPlan.from_mapping(entry)
        is_wanted = entry.get("previews") is not False
    except (KeyError, TypeError, AttributeError, DreamArtistError) as error:
        logger.warning("a training in the queue could not be read: %s", error)
        return None
    job = Job(config, files(config.name), previews_wanted=is_wanted, plan=plan)
    return job if (job.files.folder / STAGED).is_dir() else None


def _row(job: Job, number: int) -> str:
    earlier = _button("Earlier", "queue_earlier", job.name) if number else ""
    off = _button("Call off", "queue_off", job.name)
    return f"<li><span>{escape(job.name)}, {job.config.steps} steps</span>{earlier}{off}</li>"


def _button(label: str, do: str, key: str) -> str:
    return (
        f'<button type="button" class="dreamartist-do" data-dreamartist-train="{do}" data-key="{escape(key)}">'
        f"{label}</button>"
    )
