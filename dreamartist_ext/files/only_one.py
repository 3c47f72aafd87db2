"""One training of a name at a time, whoever starts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from ..engine.errors import SettingError
from .atomic import make_folder
from .run import RunFiles

LOCK = "lock"  # in the training's folder


@contextmanager
def only_one(files: RunFiles, wait: float = 0) -> Iterator[None]:
    """Refuse a second training of the same name in the same folder, after as many seconds; the system forgets the lock
    of a dead process. Raises SettingError, and FileError where the folder cannot be made."""
    make_folder(files.folder)
    lock = FileLock(files.folder / LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise SettingError(f"the word {files.name} is being trained already, by another process.") from None
    try:
        yield
    finally:
        lock.release()
