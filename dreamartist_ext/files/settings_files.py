"""Settings in a file: a preset as JSON, or the embedding of an earlier training, which holds what it was made with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..engine.config import TrainConfig
from ..engine.errors import DreamArtistError, FileError, SettingError
from ..engine.options import check, converted
from .bounded import read_at_most
from .presets import ABOUT
from .storage import EMBEDDING_SUFFIXES, load_embedding

MOST_BYTES = 100_000


def settings_json(values: Mapping[str, Any]) -> bytes:
    """A preset of these settings: all of them, but for the name."""
    kept = {key: value for key, value in values.items() if key != "name"}
    return (json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def check_replaceable(path: Path) -> None:
    """Raises FileError unless settings can be written here: the place is free, or holds settings as JSON."""
    if os.path.lexists(path) and not _holds_settings(path):
        name = path.name or str(path)
        raise FileError(f"{name[:80]} is there already and holds no settings; save them under another name.")


def _holds_settings(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        values = _of_json(path)
        values.pop(ABOUT, None)
        _checked(values, path)
    except DreamArtistError:
        return False
    return True


def read_settings(path: Path) -> dict[str, Any]:
    """Settings by field name, checked, of a JSON file or of an embedding; raises FileError or SettingError.

    A JSON file may hold a name, and any of the settings; an embedding's name is left out.
    """
    if path.suffix.lower() in EMBEDDING_SUFFIXES:
        return _of_embedding(path)
    values = _of_json(path)
    values.pop(ABOUT, None)
    return _checked(values, path)


def _of_embedding(path: Path) -> dict[str, Any]:
    text = load_embedding(path).provenance.get("settings")
    if not text:
        raise FileError(f"{path.name} does not say with what settings it was trained.")
    values = _parsed(text.encode(), path)
    values.pop("name", None)
    return _checked(values, path)


def _of_json(path: Path) -> dict[str, Any]:
    try:
        content = read_at_most(path, MOST_BYTES)
    except OSError as error:
        raise FileError(f"{path} could not be read: {error.strerror}.") from error
    if content is None:
        raise FileError(f"{path.name} is too large for settings.")
    return _parsed(content, path)


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileError(f"{path.name} is not JSON: {reason}.") from error
    if not isinstance(values, dict):
        raise FileError(f'{path.name} must hold settings such as {{"steps": 500}}.')
    return values


def _checked(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The same values, each of its setting's type and in its range; what fits together is TrainConfig's to say."""
    known = {item.name: item for item in fields(TrainConfig)}
    for name in values:
        if name not in known:
            raise SettingError(f'{path.name}: there is no setting "{name[:80]}".')
    try:
        found = {name: converted(known[name], value) for name, value in values.items()}
        for name, value in found.items():
            check(known[name], value)
    except SettingError as error:
        raise SettingError(f"{path.name}: {error}") from error
    return found
