"""What Compare and the full report share: drawing in a thread of its own, which always ends in a word for the page."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from ...engine.errors import DreamArtistError, StoppedError
from ..training.job import Status
from ..training.jobs import sentence

logger = logging.getLogger(__name__)


class Work(Protocol):
    """Written by the thread that draws, read by every other."""

    status: Status
    message: str


def finish(work: Work, draw: Callable[[], str], what: str) -> None:
    """Draw, and say how it ended; `draw` returns the word for a good end. Never raises."""
    try:
        work.message, work.status = draw(), Status.DONE
    except StoppedError:
        work.message, work.status = "Stopped; the same again goes on from here.", Status.STOPPED
    except DreamArtistError as error:
        work.message, work.status = sentence(error), Status.FAILED
    except Exception as error:
        logger.exception("%s failed", what)
        work.message, work.status = f"{what} failed: {type(error).__name__}: {error}.", Status.FAILED


def in_background(run: Callable[[Any], Any], work: Work, doing: str) -> threading.Thread:
    thread = threading.Thread(target=run, args=(work,), name=f"dreamartist {doing}", daemon=True)
    thread.start()
    return thread
