"""One training as the page and the API see it: waiting, under way, over."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch

from ...engine.config import TrainConfig
from ...engine.errors import SettingError
from ...engine.stopping import Check, check_interval
from ...files.run import RunFiles
from .preview_plan import USUAL, PreviewPlan

RECENT_STEPS = 20  # for the time left
PASSES_OF_A_PICTURE = 40  # 20 steps, with and without the prompt


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


class Stage(str, Enum):
    """What a training that runs is doing, in the order in which a page shows it."""

    ENCODING = "encoding"
    TRAINING = "training"
    DRAWING = "drawing"
    WRITING = "writing"


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
    captions: tuple[str, ...] = ()  # the prompt and the seed of each


@dataclass
class Job:
    """Written by the thread that trains, read by every other; fields are replaced whole, never changed in place."""

    config: TrainConfig
    files: RunFiles
    previews_wanted: bool = True
    plan: PreviewPlan = USUAL
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
    first_loaded: str = ""  # the model that was chosen, and not loaded yet, when this came into the queue
    notice: str = ""  # what the user should know while it goes on
    peak_memory: int = 0  # bytes on the GPU, 0 where there is none
    created: float = field(default_factory=time.time)
    is_recalled: bool = False  # read from the disk: nobody has trained it since this process began
    is_worse: bool = False  # than no word at all, by the check loss
    stage: Stage = Stage.ENCODING
    drawings: tuple[float, ...] = ()  # seconds that each took
    _stage_began: float = field(default_factory=time.monotonic, repr=False)
    _recent: list[float] = field(default_factory=list, repr=False)
    _began: tuple[float, int] | None = None  # when, and after which step
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def share(self) -> float:
        """Of its steps, in percent."""
        return 100 * self.step / self.config.steps

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def seconds_left(self) -> float:
        """Of steps, checks and drawings alike."""
        in_stage = time.monotonic() - self._stage_began
        drawing = sum(self.drawings) / len(self.drawings) if self.drawings else self._guessed_drawing
        left = self._drawings_left * drawing
        if self.stage is Stage.DRAWING:
            left += max(1.0, drawing - in_stage)
        return left + self._per_step * (self.config.steps - self.step)

    @property
    def _per_step(self) -> float:
        """With what the checks took so far, and without the drawings."""
        if self._began is None or self.step == self._began[1]:
            return self.seconds_per_step
        drawn = sum(self.drawings) + (time.monotonic() - self._stage_began if self.stage is Stage.DRAWING else 0.0)
        return max(0.0, time.monotonic() - self._began[0] - drawn) / (self.step - self._began[1])

    @property
    def _drawings_left(self) -> int:
        """After the one under way. Without previews one is drawn at the end, for the concept's card."""
        steps, interval = self.config.steps, check_interval(self.config)
        if self.step >= steps:
            return 0
        if not self.previews_wanted or not interval:
            return 1
        return steps // interval - self.step // interval + (1 if steps % interval else 0)

    @property
    def _guessed_drawing(self) -> float:
        """Before the first: as many passes as it takes, each a sixth of a step's per sample, as backward costs two."""
        samples = self.config.batch_size * self.config.accumulation
        pictures = 2 * self.plan.count if self.previews_wanted else 1
        return self.seconds_per_step / (6 * samples) * pictures * PASSES_OF_A_PICTURE

    def enter(self, stage: Stage) -> None:
        """What it is doing from now on."""
        if self.stage is Stage.DRAWING and stage is not Stage.DRAWING:
            self.drawings = (*self.drawings, time.monotonic() - self._stage_began)
        self.stage, self._stage_began = stage, time.monotonic()

    def ask(self, what: Ask) -> None:
        """Takes effect after the step under way; a training that waits is over at once, and has changed nothing."""
        with self._lock:
            if self.is_over:
                raise SettingError(f"the training of {self.name} is over: {self.status.value}.")
            self.asked = what
            if self.status is Status.WAITING:
                self.message = f"{self.name} was called off before it began."
                self.status = {Ask.PAUSE: Status.PAUSED, Ask.STOP: Status.STOPPED}.get(what, Status.DISCARDED)

    def says_while_waiting(self, message: str) -> None:
        with self._lock:
            if self.status is Status.WAITING:
                self.message = message

    def begin(self) -> bool:
        """Whether it is still wanted."""
        with self._lock:
            if self.is_over:
                return False
            self.status = Status.RUNNING
            self._began = time.monotonic(), self.step
            self._stage_began = time.monotonic()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        return True

    def noted(self, step: int, seconds: float) -> None:
        if self.stage is Stage.ENCODING:
            self._began = time.monotonic() - seconds, step - 1
            self.enter(Stage.TRAINING)
        self.step = step
        self._recent = [*self._recent[-RECENT_STEPS + 1 :], seconds]
        self.seconds_per_step = sorted(self._recent)[len(self._recent) // 2]
        if torch.cuda.is_available():
            self.peak_memory = torch.cuda.max_memory_allocated()
