"""What lies in an embeddings folder and in the folders inside it, also behind links, which the WebUI reads too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST_DEPTH = 16  # folders within folders
MOST_FOLDERS = 2000  # somebody may take his home for an embeddings folder


def entries_below(folder: Path, endings: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """The files with these endings, those of the folder itself first; raises OSError if it cannot be read.

    As the WebUI does, links to folders are followed, each folder once. One inside that may not be entered is left out.
    """
    for _, files in _scanned(folder, 0, set()):
        yield from (entry for entry in files if entry.name.lower().endswith(endings))


def folders_below(folder: Path) -> list[Path]:
    """The folder itself and those inside it, as `entries_below` finds them."""
    try:
        return [Path(path) for path, _ in _scanned(folder, 0, set())]
    except OSError:
        return [folder]


def _scanned(
    folder: Path | str, depth: int, seen: set[tuple[int, int]]
) -> Iterator[tuple[Path | str, list[os.DirEntry[str]]]]:
    """Each folder with the files in it."""
    status = os.stat(folder)  # noqa: PTH116  (of a scanned entry's own path)
    if (status.st_dev, status.st_ino) in seen or len(seen) >= MOST_FOLDERS:
        return
    seen.add((status.st_dev, status.st_ino))
    inside, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                inside.append(entry.path)
            else:
                files.append(entry)
    yield folder, files
    if depth < MOST_DEPTH:
        for path in sorted(inside):
            with suppress(OSError):
                yield from _scanned(path, depth + 1, seen)


def is_file(entry: os.DirEntry[str] | Path) -> bool:
    """Also a link to one; not one that leads nowhere, nor what has a name that no file can have."""
    try:
        return entry.is_file()
    except (OSError, ValueError):
        return False


def is_there(path: Path) -> bool:
    """Whether something is there; nothing is under a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
