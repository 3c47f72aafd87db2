"""For all tests: examples may take as long as a busy machine needs, the tiny models compute on one thread, which is
faster than two that wait for each other, matplotlib draws the same curve once, and nobody waits for the disk."""

from __future__ import annotations

import os
import signal
from functools import lru_cache

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, also by the processes of the tests

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, whence children would have it too
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def curves_drawn_once():
    """A tiny training takes a tenth of what its curve does, and some tests make the same one a hundred times."""
    from dreamartist_ext.files import run

    draw = lru_cache(maxsize=256)(run.curve_png)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "curve_png", lambda checks, steps: draw(tuple(checks), steps))
        yield


@pytest.fixture(autouse=True, scope="session")
def nobody_waits_for_the_disk():
    """No test takes the power away; those of what is written in which order look at the calls themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
