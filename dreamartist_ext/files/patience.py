"""A moment's patience with Windows, which refuses a file that a virus scanner or an indexer has open just now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between tries, under two in all
_BUSY = frozenset([5, 32, 33])  # Windows' numbers for: access denied, in use by another process, locked
pause: Callable[[float], object] = time.sleep


def patiently(action: Callable[[], T]) -> T:
    """What an action on files returns, tried again while Windows says that another program has the file; raises
    PermissionError as it does after that, and any other at once."""
    for wait in WAITS:
        try:
            return action()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _BUSY:
                raise
        pause(wait)
    return action()
