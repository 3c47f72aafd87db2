"""Small packages that are brought in when the user asks for it: by pip, into the environment that runs us."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Sequence

from ..engine.errors import SettingError

OPTIONS = ("--no-deps", "--retries", "1", "--timeout", "15")  # torch and its like are never touched
LONGEST = 300  # seconds


def install(packages: Sequence[str]) -> None:
    """Raises SettingError with pip's own reason."""
    command = [sys.executable, "-m", "pip", "install", *OPTIONS, *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingError(f"{packages[0]} could not be installed: {error}.") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason is given"])[-1]
        raise SettingError(f"{packages[0]} could not be installed: {reason[:300]}.")
    importlib.invalidate_caches()
