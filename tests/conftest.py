"""For all tests: examples may take as long as a busy machine needs, and the tiny models compute on one thread, which
is faster than two that wait for each other."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, also by the processes of the tests

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
