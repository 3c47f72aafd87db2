"""A trash folder beside the embeddings folder: what is thrown away or written over can be brought back from it.

It holds a folder per concept and moment. No name of a concept begins as the trash's does.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from .atomic import write_together
from .errors import FileError

TRASH = "_trash"  # among the folders of the trainings
STAMP = r"\d{8}-\d{6}-\d{6}"
_LONGEST = 64  # characters of a name that are a part of its folder's name
_REPLACED = "~"  # no trained concept has it in its name


def place_for(trash: Path, name: str) -> Path:
    """A folder of its own, which is not made yet, for what is thrown away now."""
    return trash / f"{name[:_LONGEST]}-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"


def keep_replaced(trash: Path, name: str, paths: Sequence[Path]) -> None:
    """Copy a pair that is about to be written over, in place of the one that was kept before it; raises FileError."""
    if not paths:
        return
    place = place_for(trash, name + _REPLACED)
    try:
        contents = {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise FileError(f"{name} could not be read before it is replaced: {error.strerror or error}.") from error
    write_together(place, name, contents)
    for older in trash.glob(f"{name}{_REPLACED}-*"):
        if older != place and re.fullmatch(re.escape(name + _REPLACED) + f"-{STAMP}", older.name):
            shutil.rmtree(older, ignore_errors=True)
