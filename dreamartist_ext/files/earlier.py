"""The version of a concept before the last overwriting, kept in the trash beside the embeddings folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..engine.errors import FileError
from .patience import patiently

TRASH = "_trash"  # no name of a concept begins so
INSIDE = Path("inside")  # within the folder of one: what lay in folders inside the embeddings folder
REPLACED = ".replaced-"  # between the name and the time, in the name of a folder there


def trainings_of(out: Path) -> Path:
    """The folder of the trainings of an embeddings folder, beside it; inside it for a drive's root, which has no
    beside."""
    out = out.resolve()
    return out.with_name(f"{out.name}-training") if out.name else out / "dreamartist-training"


def trash_of(out: Path) -> Path:
    """The folder of what was deleted or replaced in an embeddings folder."""
    return trainings_of(out) / TRASH


def place_inside(out: Path, path: Path) -> Path:
    """The file's place inside its folder of the trash, from which it is brought back to the same place in `out`.

    For a file in `out` itself this is only its name; for one in a folder inside `out`, also behind a link, it has that
    folder's path.
    """
    home, root = path.parent.resolve(), out.resolve()
    if home.is_relative_to(root):
        inside = home.relative_to(root)
    else:
        inside = path.parent.relative_to(out) if path.is_relative_to(out) else Path()
    return (INSIDE / inside if inside.parts else inside) / path.name


def keep_earlier(out: Path, name: str, files: Sequence[Path]) -> None:
    """Copy files that are about to be replaced into the trash of `out`; what was kept of this name before goes. Raises
    FileError."""
    if not files:
        return
    trash = trash_of(out)
    before = [place for place in _places(trash) if place.name.startswith(f"{name}{REPLACED}")]
    place = trash / f"{name}{REPLACED}{datetime.now():%Y%m%d-%H%M%S-%f}"
    begun = place.with_name(f".{place.name}.tmp")
    try:
        begun.mkdir(parents=True)
        for file in files:
            kept = begun / place_inside(out, file)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
        patiently(lambda: begun.rename(place))
    except OSError as error:
        shutil.rmtree(begun, ignore_errors=True)
        raise FileError(f"the {name} that is there could not be kept: {error.strerror or error}.") from error
    killed = (each for each in _places(trash) if each.name.startswith(f".{name}{REPLACED}"))
    for old in (*before, *killed):
        shutil.rmtree(old, ignore_errors=True)


def _places(trash: Path) -> list[Path]:
    return list(trash.iterdir()) if trash.is_dir() else []
