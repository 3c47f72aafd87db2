"""The one reader of files that others made: never more than so many bytes, whatever the file says."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def check_ordinary(path: Path) -> None:
    """Raises OSError for a pipe or a device, which could be waited for until the end of time."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")


def read_at_most(path: Path, most: int) -> bytes | None:
    """The whole content of a file, or None where it has more than `most` bytes; raises OSError.

    Also for a pipe, and for a name that no file can have, such as one with a zero byte in it.
    """
    try:
        check_ordinary(path)
        with path.open("rb") as file:
            content = file.read(most + 1)
    except ValueError as error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
    return content if len(content) <= most else None
