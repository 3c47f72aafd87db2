"""The learned concepts on disk: a list of them, and a trash from which they come back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..engine.embedding import NEGATIVE_SUFFIX, negative_name
from ..engine.errors import FileError
from ..engine.run import RunFiles
from ..engine.storage import embedding_files, find_embedding, load_pair
from ..hosts.only_one import only_one
from .prompt_hook import pair_up

TRASH = "_trash"  # beside the trainings' folders; no name of a concept begins so
_TRAINING = "training"  # within a concept's folder in the trash
_STAMP = r"\d{8}-\d{6}-\d{6}"


class MissingError(FileError):
    """There is no such concept, or none of that name in the trash."""


def list_concepts(embeddings: Path) -> list[dict[str, Any]]:
    """The words that have a negative, or a training beside the folder; by name."""
    names = [path.stem for path in embedding_files(embeddings)]
    pairs = pair_up(names)
    trained = {name for name in names if not name.lower().endswith(NEGATIVE_SUFFIX) and _is_trained(embeddings, name)}
    return [_describe(embeddings, name) for name in sorted({*pairs, *trained}, key=str.lower)]


def _is_trained(embeddings: Path, name: str) -> bool:
    return RunFiles(embeddings, name).folder.is_dir()


def _describe(embeddings: Path, name: str) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "size": sum(path.stat().st_size for path in _halves(embeddings, name))}
    try:
        pair = load_pair(embeddings, name)
    except FileError as error:
        return {**about, "problem": str(error)}
    return {
        **about,
        "has_negative": pair.negative is not None,
        "step": pair.step,
        "model": pair.provenance.get("model", ""),
        "vectors": len(next(iter(pair.positive.values()))),
        "negative_vectors": len(next(iter(pair.negative.values()))) if pair.negative else 0,
    }


def _halves(embeddings: Path, name: str) -> list[Path]:
    words = (name.lower(), negative_name(name).lower())
    return [path for path in embedding_files(embeddings) if path.stem.lower() in words]


def throw_away(files: RunFiles) -> Path:
    """Move both halves and what belongs to their training into the trash; returns their folder there.

    Raises MissingError when there are none, SettingError while another process trains them, FileError when one stays.
    """
    found = find_embedding(files.out, files.name)
    files = RunFiles(files.out, found.stem if found else files.name)
    halves = _halves(files.out, files.name)
    place = _trash(files) / f"{files.name}-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
    moves = {path: place / path.name for path in halves}
    if files.folder.is_dir():
        with only_one(files):
            pass
        moves[files.folder] = place / _TRAINING
    if not moves:
        raise MissingError(f"there is no concept {files.name}.")
    move_all(moves)
    return place


def bring_back(files: RunFiles) -> None:
    """Undo the last `throw_away` of this name.

    Raises MissingError when the trash has nothing of it, SettingError when the name is taken meanwhile, FileError when
    one cannot be moved.
    """
    pattern = re.compile(re.escape(files.name) + f"-{_STAMP}", re.IGNORECASE)
    trash = _trash(files)
    places = [path for path in (trash.iterdir() if trash.is_dir() else ()) if pattern.fullmatch(path.name)]
    if not places:
        raise MissingError(f"the trash holds nothing of {files.name}.")
    place = max(places, key=lambda path: path.name[-len("yyyymmdd-hhmmss-ffffff") :])
    files = RunFiles(files.out, place.name[: len(files.name)])
    files.check(resume=False, overwrite=False)
    if not files.kept_steps():
        shutil.rmtree(files.folder, ignore_errors=True)  # of a training that never made a step
    homes = {path: files.out / path.name for path in place.iterdir() if path.name != _TRAINING}
    if (place / _TRAINING).is_dir():
        homes[place / _TRAINING] = files.folder
    move_all(homes)
    with suppress(OSError):
        place.rmdir()


def _trash(files: RunFiles) -> Path:
    return files.folder.parent / TRASH


def move_all(moves: Mapping[Path, Path]) -> None:
    """Move every file or folder, or none; raises FileError."""
    done: list[tuple[Path, Path]] = []
    source = Path()
    try:
        for source, target in moves.items():
            if target.exists():
                raise FileExistsError(None, f"{target} is in the way")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
            done.append((source, target))
    except OSError as error:
        for home, moved in reversed(done):
            with suppress(OSError):
                shutil.move(moved, home)
        raise FileError(f"{source.name} could not be moved: {error.strerror or error}.") from error
