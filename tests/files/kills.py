"""A process that dies at its n-th touch of a folder, simulated inside this one.

`kill -9` runs no `finally` and no `except`; here they run, but every touch of the folder after death fails, so that
nothing they do reaches the disk.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


class Killed(BaseException):
    """Not an Exception, so that nobody catches it."""


class Deadline:
    """Counts the touches of a folder; the one after `left` and all that follow raise Killed."""

    def __init__(self, folder: Path, left: int) -> None:
        self.folder, self.left, self.touches = str(folder), left, 0

    def see(self, event: str, arguments: tuple) -> None:
        if event not in EVENTS or not arguments or not isinstance(arguments[0], (str, os.PathLike)):
            return
        is_reading = event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if is_reading or not os.fspath(arguments[0]).startswith(self.folder):
            return
        if self.left <= 0:
            raise Killed
        self.left -= 1
        self.touches += 1


_active: list[Deadline] = []


def _hook(event: str, arguments: tuple) -> None:
    if _active:
        _active[-1].see(event, arguments)


sys.addaudithook(_hook)  # cannot be taken away again; without a Deadline it does nothing


@contextmanager
def killed_after(touches: int, folder: Path) -> Iterator[Deadline]:
    """Inside, the process seems to die at the touch after so many; ends quietly either way."""
    deadline = Deadline(folder, touches)
    _active.append(deadline)
    try:
        yield deadline
    except Killed:
        pass
    finally:
        _active.remove(deadline)


def touches_of(folder: Path, action) -> int:
    """How many touches an action makes that nobody kills."""
    with killed_after(10**9, folder) as deadline:
        action()
    return deadline.touches
