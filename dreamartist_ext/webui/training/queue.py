"""Trainings that wait for their turn: one after the other, in an order that can be changed, until the process ends."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from html import escape

from ...engine.errors import SettingError
from .job import Job
from .kept_pictures import STAGED


class Queue:
    """Every training in it is checked and has its pictures beside it; the first is taken when the model is free."""

    def __init__(self) -> None:
        self.jobs: tuple[Job, ...] = ()
        self.is_paused = False
        self._lock = threading.Lock()

    def add(self, job: Job) -> None:
        """Raises SettingError for a name that waits already."""
        with self._lock:
            self._check_other(job.name)
            self.jobs = (*self.jobs, job)

    def check_other(self, name: str) -> None:
        with self._lock:
            self._check_other(name)

    def _check_other(self, name: str) -> None:
        if name.lower() in [each.name.lower() for each in self.jobs]:
            raise SettingError(f"the name {name} is in the queue already; choose another.")

    def take(self) -> Job | None:
        """The next one, which leaves the queue; None where there is none, or the queue is paused."""
        with self._lock:
            if self.is_paused or not self.jobs:
                return None
            first, *rest = self.jobs
            self.jobs = tuple(rest)
            return first

    def put_back(self, job: Job) -> None:
        with self._lock:
            self.jobs = (job, *self.jobs)

    def earlier(self, name: str) -> None:
        """Let it change places with the one before it."""
        with self._lock:
            names = [each.name for each in self.jobs]
            at = names.index(name) if name in names else 0
            if at:
                jobs = list(self.jobs)
                jobs[at - 1], jobs[at] = jobs[at], jobs[at - 1]
                self.jobs = tuple(jobs)

    def call_off(self, name: str) -> None:
        """Take it out, with the pictures that were put beside it."""
        with self._lock:
            gone = [each for each in self.jobs if each.name == name]
            self.jobs = tuple(each for each in self.jobs if each.name != name)
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
        return f'<div class="dreamartist-queue"><b>In the queue</b>{pause}<ol>{rows}</ol></div>'


def _row(job: Job, number: int) -> str:
    earlier = _button("Earlier", "queue_earlier", job.name) if number else ""
    off = _button("Call off", "queue_off", job.name)
    return f"<li><span>{escape(job.name)}, {job.config.steps} steps</span>{earlier}{off}</li>"


def _button(label: str, do: str, key: str) -> str:
    return (
        f'<button type="button" class="dreamartist-do" data-dreamartist-train="{do}" data-key="{escape(key)}">'
        f"{label}</button>"
    )
