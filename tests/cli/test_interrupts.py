"""A Ctrl-C that a library swallows while it loads stops the command before its work begins."""

from __future__ import annotations

import signal
import threading

import pytest

from dreamartist_ext.cli.interrupts import check_swallowed, remembered_ctrl_c
from dreamartist_ext.cli.progress import bar


def test_what_was_swallowed_is_raised_before_the_work():
    before = signal.getsignal(signal.SIGINT)
    with remembered_ctrl_c():
        bar("at first")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            bar("training")
    check_swallowed()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_command_after_it_knows_nothing_of_it():
    with remembered_ctrl_c(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with remembered_ctrl_c():
        check_swallowed()


def test_in_another_thread_it_is_left_alone():
    seen = []

    def work():
        with remembered_ctrl_c():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_where_it_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with remembered_ctrl_c():
            signal.raise_signal(signal.SIGINT)
            check_swallowed()
    finally:
        signal.signal(signal.SIGINT, before)
