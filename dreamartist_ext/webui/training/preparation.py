"""What comes before a training: settings, pictures and name checked, and everything kept that it will need."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.config import TrainConfig
from ...engine.errors import DreamArtistError, FileError, SettingError
from ...engine.names import check_name, negative_name
from ...files.earlier import trainings_of
from ...files.presets import layered
from ...files.run import RunFiles
from ...files.start import with_start
from ...files.templates import with_template_files
from ..workplace import Workplace
from .job import Job, Status
from .kept_pictures import GivenPicture, given_pictures, keep_pictures
from .name_check import taken
from .preview_plan import USUAL, PreviewPlan, kept_plan
from .queue import QUEUE, Queue
from .same_model import check_model


@dataclass(frozen=True)
class Drawn:
    """What a training draws while it goes on."""

    is_wanted: bool = True
    plan: PreviewPlan = USUAL

    @classmethod
    def read(cls, typed: Sequence[Any]) -> Drawn:
        """Whether previews are wanted, and their prompts and seeds as typed, if at all; raises SettingError."""
        wanted, *texts = typed
        return cls(bool(wanted), PreviewPlan.read(*(str(text or "") for text in texts)) if wanted else USUAL)


ALL_DRAWN = Drawn()


class Preparation:
    """The part of the desk that makes jobs; at most one is under way at a time."""

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self.job: Job | None = None
        self.pace: dict[tuple[Any, ...], float] = {}  # seconds per step, measured or of the last training
        self.queue = Queue(lambda: trainings_of(workplace.embeddings) / QUEUE)
        self.thrown = ""  # stands for the training that was discarded last, in the trash
        self._lock = threading.Lock()

    def files(self, name: str) -> RunFiles:
        return RunFiles(self.workplace.embeddings, name)

    def check_word(self, name: str) -> str:
        """Why this name cannot be used, in one sentence, or nothing."""
        try:
            check_name(name)
            self.files(name).check_free()
        except DreamArtistError as error:
            return str(error)
        return self.workplace.clash(name) or self.workplace.clash(negative_name(name))

    def config(self, values: Mapping[str, Any], kind: str = "", recipe: str = "") -> TrainConfig:
        """The settings as `layered` lays them, with what template files hold; raises SettingError or FileError."""
        given = with_template_files(values, self.workplace.templates)
        return TrainConfig.from_mapping(layered(given, self.workplace.defaults, kind, recipe))

    def _started(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """With as many vectors as the word has that it begins from, where they are not said; raises FileError."""
        return with_start(values, self.workplace.embeddings)

    def prepare(
        self,
        values: Mapping[str, Any],
        pictures: Sequence[Path],
        overwrite: bool = False,
        kind: str = "",
        recipe: str = "",
        drawn: Drawn = ALL_DRAWN,
    ) -> Job:
        """Check everything that can be checked without the model, and keep the pictures for a later continuation.

        Raises SettingError, PictureError or FileError; nothing is changed then.
        """
        config = self.config(self._started(values), kind, recipe)
        job, given = self._checked(config, pictures, overwrite, drawn)
        self._keep_pictures(self._take(job), given)
        return job

    def enqueue(
        self, values: Mapping[str, Any], pictures: Sequence[Path], overwrite: bool = False, drawn: Drawn = ALL_DRAWN
    ) -> Job:
        """As `prepare`, for a training that waits for others; raises SettingError for a word that is in training."""
        config = self.config(self._started(values))
        self._check_not_running(config.name)
        job, given = self._checked(config, pictures, overwrite, drawn)
        self._keep_pictures(job, given)
        self.queue.add(job)
        return job

    def next_in_queue(self) -> Job | None:
        """The training whose turn it is now, if it is any's; it is the desk's then."""
        try:
            return self.queue.take(self._take)
        except SettingError:  # somebody was faster: his training's end comes back here
            return None

    def _checked(
        self, config: TrainConfig, pictures: Sequence[Path], overwrite: bool, drawn: Drawn
    ) -> tuple[Job, list[GivenPicture]]:
        self.queue.check_other(config.name)
        files = self.files(config.name)
        self._check_free(files, overwrite)
        if clash := self.workplace.clash(config.name):
            raise SettingError(clash)
        if not pictures:
            raise SettingError("there is no picture to learn from; drop one first.")
        given = given_pictures(pictures)
        for picture in given:
            picture.check(config)
        return Job(config, files, previews_wanted=drawn.is_wanted, plan=drawn.plan), given

    def _keep_pictures(self, job: Job, given: Sequence[GivenPicture]) -> None:
        try:
            keep_pictures(job.files, given, job.config)
        except OSError as error:
            job.status = Status.FAILED
            job.message = f"The pictures could not be kept beside the training: {error.strerror or error}."
            raise FileError(job.message) from error

    def _check_free(self, files: RunFiles, overwrite: bool) -> None:
        """In the page's words, which has a box for replacing; raises SettingError or FileError."""
        if not overwrite:
            files.finish_interrupted()
            try:
                files.check_free()
            except SettingError as error:
                raise SettingError(taken(files.name)) from error
        files.check(resume=False, overwrite=True)

    def prepare_continuation(self, name: str, steps: int | None = None) -> Job:
        """A job that goes on from the snapshot of an earlier one; raises FileError or SettingError."""
        check_name(name)
        files = self.files(name)
        files.check(resume=True, overwrite=False)
        snapshot = files.last_snapshot()
        config = TrainConfig.from_json(snapshot.config)
        with self.workplace.glance() as host:
            if host is not None:
                check_model(name, snapshot, host)
        if steps is not None:
            config = TrainConfig.from_mapping({**config.to_mapping(), "steps": steps})
        best = files.best_step(snapshot.checks)
        job = Job(config, files, step=snapshot.step, checks=snapshot.checks, best_step=best, notice=snapshot.notice)
        job.plan = kept_plan(files)
        return self._take(job)

    def _take(self, job: Job) -> Job:
        with self._lock:
            if self.job is not None and not self.job.is_over:
                raise SettingError(f"the word {self.job.name} is being trained; stop it first, or wait.")
            job.first_loaded = self.workplace.chosen_model()
            self.job = job
        return job

    def _check_not_running(self, name: str) -> None:
        if self.job is not None and not self.job.is_over and self.job.name == name:
            raise SettingError(f"the word {name} is being trained; stop it first, or wait.")
