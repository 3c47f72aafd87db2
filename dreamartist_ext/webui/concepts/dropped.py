"""Files that were dropped to be imported, as the page's script sends them: JSON with a name and a data URL for each.

Gradio 3's own field of several files loses what is dropped when anything on the page changes before it has arrived.
"""

from __future__ import annotations

import atexit
import base64
import binascii
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...engine.errors import FileError
from ..sent import items_sent

MOST_NAME_BYTES = 200  # of what a file system takes in a name
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


def saved_files(given: Any) -> list[str]:
    """Write what was sent into a folder of its own, which is gone when the program ends; raises FileError."""
    try:
        items = items_sent(given)
    except ValueError as error:
        raise FileError("the files did not arrive whole; drop them again.") from error
    if not items:
        return []
    folder = Path(tempfile.mkdtemp(prefix="dreamartist-import-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return [_saved(item, folder / str(number)) for number, item in enumerate(items)]


def forget(paths: Sequence[str]) -> None:
    """Files of an earlier `saved_files`."""
    for folder in {Path(path).parents[1] for path in paths}:
        shutil.rmtree(folder, ignore_errors=True)


def _saved(item: dict[str, Any], folder: Path) -> str:
    """In a folder of its own: two that were dropped may have one name."""
    name = file_name(str(item.get("name") or ""))
    try:
        content = base64.b64decode(str(item.get("data") or "").partition(",")[2], validate=True)
    except (ValueError, binascii.Error) as error:
        raise FileError(f"{name} did not arrive whole; drop it again.") from error
    folder.mkdir()
    (folder / name).write_bytes(content)
    return str(folder / name)


def file_name(given: str) -> str:
    """Of a stranger's, one that every file system takes; its end says what the file is, and stays."""
    name = _NOT_IN_NAMES.sub("_", given).encode("utf-8", "ignore")[-MOST_NAME_BYTES:].decode("utf-8", "ignore")
    return name if name.strip(". ") else "file"
