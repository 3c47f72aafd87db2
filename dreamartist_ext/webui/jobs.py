"""One training as the page and the API see it: asked for, waiting, under way, over; and what can be done about it."""

from __future__ import annotations

import io
import itertools
import logging
import math
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .. import __version__
from ..engine import preview
from ..engine.atomic import finish_interrupted
from ..engine.check_loss import CheckLoss
from ..engine.config import TrainConfig
from ..engine.data import MASK_SUFFIX, TrainingPicture, find_mask, load_picture, open_pictures
from ..engine.embedding import check_name, negative_name
from ..engine.errors import DreamArtistError, FileError, SettingError, TrainingError
from ..engine.memory import is_less, kept_by
from ..engine.provenance import about_model
from ..engine.run import LESS_MEMORY, RunFiles, final_step, is_out_of_memory, run_to_files
from ..engine.snapshot import Check
from ..engine.stopping import check_interval, is_over
from ..engine.trainer import StepReport, Training
from ..hosts.only_one import only_one
from . import thumbnails
from .concepts import bring_back_training, throw_away_training
from .workplace import Workplace

logger = logging.getLogger(__name__)

PREVIEW_STEPS = 20
PREVIEW_GUIDANCE = 5.0
PREVIEW_SEEDS = (1, 2, 3)
PREVIEW_SIDE = 192  # pixels, at most: every page that looks gets all of them
KEPT, STAGED = "pictures", "pictures.new"  # folders beside the snapshots
KEPT_PREVIEWS = 12  # rows, and the best
RECENT_STEPS = 20  # for the time left
MEASURED_STEPS = 3


class Status(str, Enum):
    """The words that the page and the API use."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    DISCARDED = "discarded"


OVER = frozenset([Status.PAUSED, Status.STOPPED, Status.DONE, Status.FAILED, Status.DISCARDED])


class Ask(str, Enum):
    """What a user can ask of a training under way."""

    STOP = "stop"
    PAUSE = "pause"
    DISCARD = "discard"


def new_task() -> str:
    """An id in the form that the WebUI's queue knows."""
    return f"task(dreamartist-{secrets.token_hex(4)})"


@dataclass(frozen=True)
class PreviewRow:
    """PNG files of the same seeds at one step: of the pair, and of the positive alone."""

    step: int
    pair: tuple[bytes, ...]
    positive_only: tuple[bytes, ...]
    large: bytes = b""  # the pair's first, at its own size


@dataclass
class Job:
    """Written by the thread that trains, read by every other; fields are replaced whole, never changed in place."""

    config: TrainConfig
    files: RunFiles
    previews_wanted: bool = True
    task: str = field(default_factory=new_task)
    status: Status = Status.WAITING
    step: int = 0
    asked: Ask | None = None
    seconds_per_step: float = 0.0
    losses: tuple[tuple[int, float], ...] = ()
    checks: tuple[Check, ...] = ()
    previews: tuple[PreviewRow, ...] = ()
    best_step: int | None = None
    used_step: int | None = None
    message: str = ""
    notice: str = ""  # what the user should know while it goes on
    peak_memory: int = 0  # bytes on the GPU, 0 where there is none
    created: float = field(default_factory=time.time)
    _recent: list[float] = field(default_factory=list, repr=False)
    _began: tuple[float, int] | None = None  # when, and after which step
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def seconds_left(self) -> float:
        """With what previews and checks took so far."""
        if self._began is None or self.step == self._began[1]:
            return self.seconds_per_step * (self.config.steps - self.step)
        passed = time.monotonic() - self._began[0]
        return passed / (self.step - self._began[1]) * (self.config.steps - self.step)

    def ask(self, what: Ask) -> None:
        """Takes effect after the step under way; a training that waits is over at once, and has changed nothing."""
        with self._lock:
            if self.is_over:
                raise SettingError(f"the training of {self.name} is over: {self.status.value}.")
            self.asked = what
            if self.status is Status.WAITING:
                self.message = f"{self.name} was called off before it began."
                self.status = {Ask.PAUSE: Status.PAUSED, Ask.STOP: Status.STOPPED}.get(what, Status.DISCARDED)

    def begin(self) -> bool:
        """Whether it is still wanted."""
        with self._lock:
            if self.is_over:
                return False
            self.status = Status.RUNNING
            self._began = time.monotonic(), self.step
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        return True

    def noted(self, step: int, seconds: float) -> None:
        self.step = step
        self._recent = [*self._recent[-RECENT_STEPS + 1 :], seconds]
        self.seconds_per_step = sorted(self._recent)[len(self._recent) // 2]
        if torch.cuda.is_available():
            self.peak_memory = torch.cuda.max_memory_allocated()


@dataclass(frozen=True)
class Estimate:
    """What a training will take: seconds in all, and bytes of GPU memory (0 where there is no GPU).

    `kept` is what a pass holds for its backward pass, computed from the model's shapes; `plain` would be it without
    "less memory". `reconstruction` is the share of a step's seconds that the reconstruction term takes.
    """

    steps: int
    seconds: float
    memory: int
    kept: int
    plain: int
    reconstruction: float = 0.0


class Desk:
    """All trainings of this page: at most one at a time. Everything a button or a route does goes through here."""

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self.job: Job | None = None
        self.thrown = ""  # stands for the training that was discarded last, in the trash
        self._lock = threading.Lock()

    def finish_interrupted(self) -> None:
        """At the start: pairs whose two files a killed process left out of step become whole again."""
        finish_interrupted(self.workplace.embeddings)

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

    def prepare(self, values: Mapping[str, Any], pictures: Sequence[Path], overwrite: bool = False) -> Job:
        """Check everything that can be checked without the model, and keep the pictures for a later continuation.

        Raises SettingError, PictureError or FileError; nothing is changed then.
        """
        config = TrainConfig.from_mapping({**self.workplace.defaults, **values})
        files = self.files(config.name)
        files.check(resume=False, overwrite=overwrite)
        if clash := self.workplace.clash(config.name):
            raise SettingError(clash)
        if not pictures:
            raise SettingError("there is no picture to learn from; drop one first.")
        for path in pictures:
            load_picture(path)
        job = self._take(Job(config, files))
        try:
            keep_pictures(files, pictures)
        except OSError as error:
            job.status = Status.FAILED
            job.message = f"The pictures could not be kept beside the training: {error.strerror or error}."
            raise FileError(job.message) from error
        return job

    def prepare_continuation(self, name: str, steps: int | None = None) -> Job:
        """A job that goes on from the snapshot of an earlier one; raises FileError or SettingError."""
        check_name(name)
        files = self.files(name)
        files.check(resume=True, overwrite=False)
        snapshot = files.last_snapshot()
        config = TrainConfig.from_json(snapshot.config)
        if steps is not None:
            config = TrainConfig.from_mapping({**config.to_mapping(), "steps": steps})
        best = files.best_step(snapshot.checks)
        return self._take(
            Job(config, files, step=snapshot.step, checks=snapshot.checks, best_step=best, notice=snapshot.notice)
        )

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
            ended = is_over(config, snapshot.step, snapshot.checks)
            if not ended and not is_running and kept_pictures(self.files(path.parent.name)):
                found.append((path.parent.name, snapshot.step, config.steps))
        return found

    def _take(self, job: Job) -> Job:
        with self._lock:
            if self.job is not None and not self.job.is_over:
                raise SettingError(f"the word {self.job.name} is being trained; stop it first, or wait.")
            self.job = job
        return job

    def run(self, job: Job) -> Job:
        """Train until the end, or until asked otherwise. Never raises: what went wrong is in the job."""
        try:
            with self.workplace.gpu(job.task):
                if job.begin():
                    self._train(job)
                    self._settle(job)
        except DreamArtistError as error:
            job.message, job.status = sentence(error), Status.FAILED
        except Exception as error:
            logger.exception("training %s failed", job.name)
            job.message, job.status = f"Training failed: {type(error).__name__}: {error}.", Status.FAILED
        if job.status is Status.FAILED and job.name in [name for name, _, _ in self.unfinished()]:
            job.message += f" What {job.name} had learned can be continued, or kept as it is."
        return job

    def _train(self, job: Job) -> None:
        host = self.workplace.host()
        config, files = job.config, job.files
        resumed = job.step > 0
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
        job.checks, job.best_step = tuple(training.checks), files.best_step(training.checks)
        job.used_step = final_step(training, files) if training.is_over else None

    def _show(self, job: Job) -> None:
        """Progress to the surrounding page; and a word to both while another checkpoint waits for this training."""
        chosen = self.workplace.chosen_model()
        job.message = f"{chosen} was chosen meanwhile: it is loaded when this training is over." if chosen else ""
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
                self._preview(job, training)

    @staticmethod
    def _preview(job: Job, training: Training) -> None:
        """A preview that fails, for want of memory say, costs no training: it goes on without.

        Where none are wanted, one picture is drawn, for My concepts.
        """
        try:
            with training.kept_bound():
                row = draw_row(training) if job.previews_wanted else None
                picture = row.large if row else png_bytes(draw_some(training, training.pair.negative is not None, 1)[0])
            thumbnails.keep_step(job.files, job.step, picture)
        except (RuntimeError, MemoryError, FileError) as error:
            logger.warning("no more previews of %s: %s", job.name, error)
            job.previews_wanted = False
            return
        if row is None:
            return
        rows = (*job.previews, row)
        best = [row for row in rows[:-KEPT_PREVIEWS] if row.step == job.best_step]
        job.previews = (*best, *rows[-KEPT_PREVIEWS:])

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
            thumbnails.adopt_step(job.files, job.used_step)
            self.workplace.learned()
            job.message = f"{job.name} is learned: type {job.name} in a prompt." + _how_it_ended(job)
            job.status = Status.DONE

    def _keep(self, job: Job) -> None:
        """The best pair on disk, or the last one when none was saved before."""
        if not job.step:
            job.message, job.status = f"{job.name} was stopped before its first step.", Status.STOPPED
            return
        best = job.best_step
        if best is None:
            best = job.files.save_step(job.files.last_snapshot())
        use_step(job.files, best)
        self.workplace.learned()
        job.message = f"Stopped at step {job.step} of {job.config.steps}; {job.name} is kept as it was at step {best}."
        job.used_step, job.status = best, Status.STOPPED

    def use_step(self, name: str, step: int) -> None:
        """Make an earlier state of the pair the one that prompts use; raises FileError."""
        use_step(self.files(name), step)
        if self.job is not None and self.job.name == name:
            self.job.used_step = step
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
        use_step(files, best)
        self.workplace.learned()
        return best

    def measure(self, values: Mapping[str, Any]) -> Estimate:
        """Run a few steps on an empty picture and forget them; raises what a training would."""
        config = TrainConfig.from_mapping({**self.workplace.defaults, **values})
        if self.job is not None and not self.job.is_over:
            raise SettingError(f"the word {self.job.name} is being trained; measure afterwards.")
        with self.workplace.gpu(new_task()):
            host = self.workplace.host()
            size = host.picture_size
            blank = torch.zeros(3, config.height or size, config.width or size)
            training = Training(host, config, [TrainingPicture(blank, None, "", "blank")])
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            try:
                with host.session():
                    sizes = training.encoded().sizes
                    kept, less = kept_by(host, config, sizes[0]), is_less(host, config, sizes)
                step, snapshot = measured(training)
                without = replace(config, reconstruction=0.0)
                plain = measured_step(Training(host, without, training.pictures)) if config.reconstruction else step
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                height, width = blank.shape[1:]
                raise TrainingError(
                    f"{width}x{height} in batches of {config.batch_size} does not fit into memory; " + LESS_MEMORY
                ) from error
        memory = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        interval = check_interval(config)
        snapshots = config.steps // interval if interval else 1
        seconds = config.steps * step + snapshots * snapshot
        share = max(0.0, 1 - plain / step)
        return Estimate(config.steps, seconds, memory, kept.less if less else kept.plain, kept.plain, share)

    def discard(self, name: str) -> None:
        """Move a training that is not finished to the trash; an embedding of that name from before stays as it was."""
        check_name(name)
        self._check_not_running(name)
        self.thrown = throw_away_training(self.files(name))

    def undo_discard(self) -> str:
        """Bring the training back that was discarded last; returns its name. Raises SettingError or FileError."""
        name = bring_back_training(self.workplace.embeddings, self.thrown)
        self.thrown = ""
        return name

    def forget(self, name: str) -> None:
        """The page says no more of a training that is over: its concept is called otherwise now, or gone."""
        with self._lock:
            if self.job is not None and self.job.is_over and self.job.name.lower() == name.lower():
                self.job = None

    def _check_not_running(self, name: str) -> None:
        if self.job is not None and not self.job.is_over and self.job.name == name:
            raise SettingError(f"the word {name} is being trained; stop it first, or wait.")


def _how_it_ended(job: Job) -> str:
    early = f" It stopped at step {job.step} of {job.config.steps}, with nothing better in sight."
    best = f" The pair is that of step {job.used_step}, the best."
    return (early if job.step < job.config.steps else "") + (best if job.used_step != job.step else "")


def use_step(files: RunFiles, step: int) -> None:
    """Make the pair of a step on disk the concept, with its picture; raises FileError."""
    files.use_step(step)
    thumbnails.adopt_step(files, step)


def measured(training: Training) -> tuple[float, float]:
    """Seconds of a step, and of the check and the previews at a snapshot."""
    with closing(training.run()) as reports:
        step = _shortest(reports)
        began = time.perf_counter()
        CheckLoss(training)()
        draw_row(training)
        return step, time.perf_counter() - began


def measured_step(training: Training) -> float:
    """Seconds of a step."""
    with closing(training.run()) as reports:
        return _shortest(reports)


def _shortest(reports: Iterator[StepReport]) -> float:
    seconds = []
    began = time.perf_counter()
    for report in itertools.islice(reports, MEASURED_STEPS):
        float(report.loss)  # waits for the GPU
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return min(seconds)


def sentence(error: BaseException) -> str:
    """An error as the page shows it: beginning with a capital, a setting by its label instead of its name."""
    text = str(error)
    first, _, rest = text.partition(" ")
    labels = {item.name: item.metadata["label"] for item in fields(TrainConfig)}
    return f"{labels[first]} {rest}" if first in labels else text[:1].upper() + text[1:]


def keep_pictures(files: RunFiles, pictures: Sequence[Path]) -> None:
    """Copy pictures, masks and captions beside the snapshots, so that a later continuation finds them."""
    folder = files.folder / STAGED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stems = {path.stem for path in pictures}
    # A browser's uploads come in a folder each, so that a mask does not lie beside its picture.
    masks = {p.stem[: -len(MASK_SUFFIX)]: p for p in pictures if p.stem.endswith(MASK_SUFFIX)}
    masks = {stem: mask for stem, mask in masks.items() if stem in stems}
    for number, path in enumerate((p for p in pictures if p not in masks.values()), start=1):
        stem = f"{number:03d}-{re.sub('[^A-Za-z0-9_-]+', '_', path.stem)[:40]}"
        shutil.copyfile(path, folder / f"{stem}{path.suffix}")
        mask, caption = masks.get(path.stem) or find_mask(path), path.with_suffix(".txt")
        if mask:
            shutil.copyfile(mask, folder / f"{stem}_att{mask.suffix}")
        if caption.is_file():
            shutil.copyfile(caption, folder / f"{stem}.txt")


def adopt_pictures(files: RunFiles) -> None:
    """The new training's pictures take the place of an earlier one's, whose steps are forgotten now as well."""
    kept = files.folder / KEPT
    shutil.rmtree(kept, ignore_errors=True)
    (files.folder / STAGED).rename(kept)


def kept_pictures(files: RunFiles, folder_name: str = "pictures") -> list[Path]:
    """In the order in which they were given, without masks and captions."""
    folder = files.folder / folder_name
    found = [p for p in sorted(folder.glob("*")) if p.suffix != ".txt"] if folder.is_dir() else []
    masks = {find_mask(path) for path in found}
    return [path for path in found if path not in masks]


def draw_row(training: Training) -> PreviewRow:
    """Pictures of the training as it is, one at a time; call it where the training's session is open."""
    count = len(PREVIEW_SEEDS)
    alone = draw_some(training, False, count)
    pair = draw_some(training, True, count) if training.pair.negative else alone
    large = png_bytes(pair[0])
    return PreviewRow(training.step, tuple(map(small_png, pair)), tuple(map(small_png, alone)), large)


def draw_some(training: Training, with_negative: bool, count: int) -> tuple[Image.Image, ...]:
    """Pictures of the word, of the first `count` seeds."""
    encoded, name = training.encoded(), training.config.name
    shape = (encoded.latents([0]).shape[1], *encoded.sizes[0])
    negative = negative_name(name) if with_negative else ""
    return tuple(
        preview.draw(training.host, [name], [negative], [seed], shape, PREVIEW_STEPS, PREVIEW_GUIDANCE)[0]
        for seed in PREVIEW_SEEDS[:count]
    )


def small_png(picture: Image.Image) -> bytes:
    small = picture.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return png_bytes(small)


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def in_background(desk: Desk, job: Job) -> threading.Thread:
    """Run a job in a thread of its own."""
    thread = threading.Thread(target=desk.run, args=(job,), name=f"dreamartist {job.name}", daemon=True)
    thread.start()
    return thread
