"""What lies in an embeddings folder and in the folders inside it, which the WebUI reads too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

MOST_DEPTH = 16  # folders within folders
MOST_FOLDERS = 2000  # somebody may take his home for an embeddings folder


def entries_below(folder: Path, endings: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """The files with these endings, those of the folder itself first; raises OSError if it cannot be read.

    As the WebUI does, links to folders are followed, each folder once. One inside that may not be entered is left out.
    """
    yield from _entries(folder, endings, 0, set())


def _entries(
    folder: Path | str, endings: tuple[str, ...], depth: int, seen: set[tuple[int, int]]
) -> Iterator[os.DirEntry[str]]:
    status = os.stat(folder)  # noqa: PTH116  (of a scanned entry's own path)
    if (status.st_dev, status.st_ino) in seen or len(seen) >= MOST_FOLDERS:
        return
    seen.add((status.st_dev, status.st_ino))
    inside = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                inside.append(entry.path)
            elif entry.name.lower().endswith(endings):
                yield entry
    if depth < MOST_DEPTH:
        for path in sorted(inside):
            with suppress(OSError):
                yield from _entries(path, endings, depth + 1, seen)


def is_file(entry: os.DirEntry[str]) -> bool:
    """Also a link to one; not one that leads nowhere."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def folders_below(folder: Path) -> list[Path]:
    """The folder itself and those inside it, without links: nothing of ours is written behind them."""
    found = (Path(path) for path, *_ in os.walk(folder))
    return list(islice(found, MOST_FOLDERS)) or [folder]
