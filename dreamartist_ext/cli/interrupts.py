"""Ctrl-C while something loads: a library that is being imported may swallow it, so that it is remembered here."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager

_swallowed: list[bool] = []  # one for each command under way: whether Ctrl-C came


@contextmanager
def remembered_ctrl_c() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt as it does anywhere, and `check_swallowed` knows of it."""
    is_main = threading.current_thread() is threading.main_thread()  # in others no handler can be set
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, in the background
        yield
        return

    def ask(_signal: int, _frame: types.FrameType | None) -> None:
        _swallowed[-1] = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask)
    _swallowed.append(False)
    try:
        yield
    finally:
        _swallowed.pop()
        signal.signal(signal.SIGINT, before)


def check_swallowed() -> None:
    """Raises the KeyboardInterrupt that nobody got to see; call it before work begins that takes long."""
    if _swallowed and _swallowed[-1]:
        raise KeyboardInterrupt
