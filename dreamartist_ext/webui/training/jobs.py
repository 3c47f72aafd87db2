"""The desk: everything that a button of the page or a route of the API does about trainings."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import torch

from ... import __version__
from ...engine.config import TrainConfig
from ...engine.errors import DreamArtistError, SettingError
from ...engine.names import check_name
from ...engine.stopping import is_over, lacks_check
from ...engine.trainer import Training
from ...files.concepts import thumbnails
from ...files.concepts.trash import bring_back_training, throw_away_training
from ...files.moves import repair
from ...files.only_one import only_one
from ...files.pictures import open_pictures
from ...files.provenance import about_model
from ...files.run import RunFiles, final_step, run_to_files
from .estimate import Estimate, estimated, pace_key
from .job import Ask, Job, Stage, Status, new_task
from .kept_pictures import KEPT, STAGED, adopt_pictures, forget_start, kept_pictures
from .preparation import Preparation
from .preview_plan import keep_plan
from .previews import add_preview
from .recall import is_kept, recalled, trainings_in
from .same_model import check_model
from .sentences import how_it_ended, is_worse_than_nothing, sentence

logger = logging.getLogger(__name__)


class Desk(Preparation):
    """All trainings of this page: at most one at a time. Everything a button or a route does goes through here."""

    def finish_interrupted(self) -> None:
        """Called at the start. Finishes what a killed process was writing or moving, and reads the queue, which then
        waits until somebody lets it go on."""
        repair(self.workplace.embeddings)
        self.queue.load(self.files)

    def unfinished(self) -> list[tuple[str, int, int]]:
        """(name, step, steps) of trainings that stopped before their end, newest first."""
        folder = self.files("x").folder.parent
        found = []
        for path in sorted(folder.glob("*/snapshot.safetensors"), key=lambda p: p.stat().st_mtime, reverse=True):
            try:
                snapshot = self.files(path.parent.name).last_snapshot()
                config = TrainConfig.from_json(snapshot.config)
            except DreamArtistError:
                continue
            is_running = self.job is not None and not self.job.is_over and self.job.name == path.parent.name
            state = config, snapshot.step, snapshot.checks
            ended = is_over(*state) and not lacks_check(*state)
            ended = ended or is_kept(self.files(path.parent.name))
            if not ended and not is_running and kept_pictures(self.files(path.parent.name)):
                found.append((path.parent.name, snapshot.step, config.steps))
        return found

    def shown(self, name: str = "") -> Job | None:
        """The training that a page shows: the one under way; the one of this name; or else the newest there is."""
        job = self.looked_at()
        if job is not None and (not job.is_over or not name or name == job.name):
            return job
        names = [name] if name else trainings_in(self.workplace.embeddings)[:1]
        return recalled(self.files(names[0])) if names else None

    def looked_at(self) -> Job | None:
        """The training under way or just over; one that still waits says what becomes of a waiting checkpoint."""
        job = self.job
        if job is not None and job.status is Status.WAITING:
            chosen = self.workplace.chosen_model()
            first = f"{chosen} is loaded first." if chosen else ""
            job.says_while_waiting(first if chosen == job.first_loaded else _chosen_meanwhile(chosen))
        return job

    def run(self, job: Job) -> Job:
        """Train until the end, or until asked otherwise. Never raises: what went wrong is in the job."""
        try:
            with self.workplace.gpu(job.task):
                if job.begin():
                    self._train(job)
                    self._settle(job)
        except DreamArtistError as error:
            _fail(job, sentence(error))
        except Exception as error:
            logger.exception("training %s failed", job.name)
            _fail(job, f"Training failed: {type(error).__name__}: {error}.")
        if job.status is Status.FAILED and job.name in [name for name, _, _ in self.unfinished()]:
            job.message += f" What {job.name} had learned can be continued, or kept as it is."
        return job

    def _train(self, job: Job) -> None:
        host = self.workplace.host()
        config, files = job.config, job.files
        job.notice = host.remark or job.notice
        resumed = job.step > 0
        if resumed:
            check_model(job.name, job.files.last_snapshot(), host)
        kept = kept_pictures(files, KEPT if resumed else STAGED)
        pictures = open_pictures(kept, config, host.picture_size, host.size_unit)
        training = Training(host, config, pictures)
        if resumed:
            training.restore(files.last_snapshot())
        provenance = about_model(host, __version__)
        try:
            with only_one(files), closing(run_to_files(training, files, provenance)) as reports:
                for report in reports:
                    if report.step == 1:
                        adopt_pictures(files)
                        keep_plan(files, job.plan)
                    job.noted(report.step, report.seconds)
                    self._note(job, training, report.loss)
                    self._show(job)
                    if self.workplace.interrupted() and job.asked is None:
                        job.asked = Ask.STOP
                    if job.asked is Ask.DISCARD or (job.asked is not None and not training.is_over):
                        break
        except (RuntimeError, AttributeError):
            host.check_loaded()  # the better explanation, where it is one
            raise
        job.enter(Stage.WRITING)
        self.pace[pace_key(host, config)] = job.seconds_per_step
        job.checks, job.best_step = tuple(training.checks), files.best_step(training.checks)
        job.used_step = final_step(training, files) if training.is_over else None

    def _show(self, job: Job) -> None:
        """Progress to the surrounding page; and a word to both while another checkpoint waits for this training."""
        chosen = self.workplace.chosen_model()
        job.message = _chosen_meanwhile(chosen)
        self.workplace.show(job.step, job.config.steps, f"DreamArtist: {job.name}. {job.message}".strip())

    def _note(self, job: Job, training: Training, loss: torch.Tensor) -> None:
        config = job.config
        every = max(1, config.steps // 200)
        if job.step % every == 0:
            value = float(loss)  # waits for the GPU
            job.losses = (*job.losses, (job.step, value)) if math.isfinite(value) else job.losses
        if len(training.checks) != len(job.checks):
            job.checks, job.best_step = tuple(training.checks), job.files.best_step(training.checks)
            job.notice = training.guard.notice() or job.notice
            if job.asked is None and (job.previews_wanted or training.is_over):
                job.enter(Stage.DRAWING)
                add_preview(job, training)
            job.enter(Stage.WRITING if training.is_over else Stage.TRAINING)

    def _settle(self, job: Job) -> None:
        """The training is over; what the user asked for decides what stays.

        The status comes last: whoever waits for it finds everything else in its place.
        """
        if job.asked is Ask.DISCARD:
            self.thrown = throw_away_training(job.files) if job.step else ""
            job.message = f"{job.name} was discarded" + ("; it is in the trash." if self.thrown else ".")
            job.status = Status.DISCARDED
        elif job.asked is Ask.PAUSE and job.used_step is None:
            job.message = f"{job.name} is paused at step {job.step} of {job.config.steps}."
            job.status = Status.PAUSED
        elif job.asked is Ask.STOP and job.used_step is None:
            self._keep(job)
        else:
            job.used_step = job.used_step or job.step
            thumbnails.adopt_step(job.files, job.used_step, self.workplace.has_cards)
            self.workplace.learned()
            job.is_worse = is_worse_than_nothing(job.checks, job.used_step)
            job.message = how_it_ended(job)
            job.status = Status.DONE

    def _keep(self, job: Job) -> None:
        """The best pair on disk, or the last one when none was saved before."""
        if not job.step:
            job.message, job.status = f"{job.name} was stopped before its first step.", Status.STOPPED
            return
        best = job.best_step
        if best is None:
            best = job.files.save_step(job.files.last_snapshot())
        self._put_in_use(job.files, best)
        self.workplace.learned()
        job.message = f"Stopped at step {job.step} of {job.config.steps}; {job.name} is kept as it was at step {best}."
        job.used_step, job.status = best, Status.STOPPED

    def _put_in_use(self, files: RunFiles, step: int) -> None:
        """Make the pair of a step on disk the concept, with its picture; raises FileError."""
        files.use_step(step)
        thumbnails.adopt_step(files, step, self.workplace.has_cards)

    def use_step(self, name: str, step: int) -> None:
        """Make an earlier state of the pair the one that prompts use; raises FileError."""
        self._put_in_use(self.files(name), step)
        job = self.job
        if job is not None and job.name == name:
            job.used_step, job.is_worse = step, is_worse_than_nothing(job.checks, step)
            job.message = f"{name} is now the pair of step {step}: type {name} in a prompt."
        self.workplace.learned()

    def keep_unfinished(self, name: str) -> int:
        """Make the best pair that an unfinished training left the one that prompts use; returns its step."""
        check_name(name)
        self._check_not_running(name)
        files = self.files(name)
        files.finish_interrupted()
        snapshot = files.last_snapshot()
        best = files.best_step(snapshot.checks)
        best = files.save_step(snapshot) if best is None else best
        self._put_in_use(files, best)
        self.forget(name)
        self.workplace.learned()
        return best

    def check_idle(self) -> None:
        """Raises SettingError while a training uses the model."""
        if self.job is not None and not self.job.is_over:
            raise SettingError(f"the word {self.job.name} is being trained; try again when it is over.")

    def measure(
        self, values: Mapping[str, Any], pictures: int = 1, check: Callable[[], None] = lambda: None
    ) -> Estimate:
        """Run a few steps on an empty picture and forget them; raises what a training would. `check` is called now and
        then, and may raise StoppedError."""
        config = self.config(values)
        self.check_idle()
        with self.workplace.gpu(new_task()):
            check()
            host = self.workplace.host()
            found = estimated(host, config, pictures, check)
            self.pace[pace_key(host, config)] = found.step
            return found

    def discard(self, name: str) -> None:
        """Move a training that is not finished to the trash; an embedding of that name from before stays as it was."""
        check_name(name)
        self._check_not_running(name)
        self.thrown = throw_away_training(self.files(name))
        self.forget(name)

    def undo_discard(self) -> str:
        """Bring the training back that was discarded last; returns its name. Raises SettingError or FileError."""
        name = bring_back_training(self.workplace.embeddings, self.thrown)
        self.thrown = ""
        self.forget(name)
        return name

    def forget(self, name: str) -> None:
        """The page says no more of a training that is over: its concept is called otherwise now, or gone."""
        with self._lock:
            if self.job is not None and self.job.is_over and self.job.name.lower() == name.lower():
                self.job = None


def _fail(job: Job, message: str) -> None:
    """The status comes last: another training of that name may begin then."""
    if not job.step:
        forget_start(job.files)
    job.message, job.status = message, Status.FAILED


def _chosen_meanwhile(model: str) -> str:
    return f"{model} was chosen meanwhile: it is loaded when this training is over." if model else ""


def in_background(desk: Desk, job: Job) -> threading.Thread:
    """Run a job in a thread of its own, and after it what waits in the queue."""

    def run() -> None:
        following: Job | None = job
        while following is not None:
            desk.run(following)
            desk.queue.forget(following)
            following = desk.next_in_queue()

    thread = threading.Thread(target=run, name=f"dreamartist {job.name}", daemon=True)
    thread.start()
    return thread
