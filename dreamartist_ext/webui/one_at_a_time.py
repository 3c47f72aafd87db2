"""Comparing, reporting, drawing: one of each at a time, in a thread of its own that ends in a word for the page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..engine.errors import DreamArtistError, SettingError, StoppedError
from .training.job import Status, new_task
from .training.jobs import Desk
from .training.sentences import sentence

logger = logging.getLogger(__name__)


@dataclass
class Work:
    """One comparison, evaluation or drawing: asked for, under way, over. Written by the thread that draws, read by
    every other; fields are replaced whole, never changed in place."""

    status: Status = field(default=Status.WAITING, kw_only=True)
    message: str = field(default="", kw_only=True)
    is_unwanted: bool = field(default=False, kw_only=True)
    task: str = field(default_factory=new_task, kw_only=True)
    created: float = field(default_factory=time.time, kw_only=True)

    @property
    def is_over(self) -> bool:
        return self.status not in (Status.WAITING, Status.RUNNING)


W = TypeVar("W", bound=Work)


class OneAtATime(Generic[W]):
    """Holds the work under way, and what was last. `doing`: "being compared", in sentences."""

    doing: str

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.current: W | None = None
        self._lock = threading.Lock()

    def _take(self, work: W, busy: Callable[[W], SettingError]) -> W:
        """Make it the current one; raises what `busy` says of the one that is under way."""
        with self._lock:
            if self.current is not None and not self.current.is_over:
                raise busy(self.current)
            self.current = work
        return work

    def _check_wanted(self, work: W) -> None:
        if work.is_unwanted or self.desk.workplace.interrupted():
            raise StoppedError("stopped.")

    def stop(self) -> None:
        """After the step under way; raises SettingError where there is none."""
        if self.current is None or self.current.is_over:
            raise SettingError(f"nothing is {self.doing}.")
        self.current.is_unwanted = True


GOES_ON = "Stopped; the same again goes on from here."


def finish(work: Work, draw: Callable[[], str], what: str, stopped: str = GOES_ON) -> None:
    """Draw, and say how it ended; `draw` returns the word for a good end. Never raises."""
    try:
        work.message, work.status = draw(), Status.DONE
    except StoppedError:
        work.message, work.status = stopped, Status.STOPPED
    except DreamArtistError as error:
        work.message, work.status = sentence(error), Status.FAILED
    except Exception as error:
        logger.exception("%s failed", what)
        work.message, work.status = f"{what} failed: {type(error).__name__}: {error}.", Status.FAILED


def in_background(run: Callable[[Any], Any], work: Work, doing: str) -> threading.Thread:
    thread = threading.Thread(target=run, args=(work,), name=f"dreamartist {doing}", daemon=True)
    thread.start()
    return thread
