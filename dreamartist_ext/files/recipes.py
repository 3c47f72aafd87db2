"""A user's own recipes: settings under a name, in a folder of the user's, for the page and the command line alike."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..engine.config import TrainConfig
from ..engine.errors import FileError, SettingError
from ..engine.names import check_name
from ..engine.options import check, converted
from .atomic import make_folder, write_atomically
from .bounded import read_at_most

FOLDER_VARIABLE = "DREAMARTIST_RECIPES"
NOT_OF_A_RECIPE = ("name", "initialization_text")  # a concept's own
MOST_BYTES = 100_000


def folder() -> Path:
    """Where they lie, one JSON file each."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "dreamartist" / "recipes"


def own_names() -> list[str]:
    """Of the recipes that are there, by name."""
    try:
        return sorted(path.stem for path in folder().glob("*.json") if _is_name(path.stem))
    except (OSError, RuntimeError):  # there is no home, or it cannot be read
        return []


def own_settings(name: str) -> dict[str, Any]:
    """Raises FileError or SettingError for a recipe that cannot be read, or holds what is no setting."""
    path = folder() / f"{name}.json"
    try:
        values = json.loads(read_at_most(path, MOST_BYTES) or b"")
    except OSError as error:
        raise FileError(f"the recipe {name} could not be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"the recipe {name} is damaged; delete it, and save it again.") from error
    known = {item.name: item for item in fields(TrainConfig) if item.name not in NOT_OF_A_RECIPE}
    if not isinstance(values, dict) or not values.keys() <= known.keys():
        raise FileError(f"the recipe {name} holds more than settings; delete it, and save it again.")
    found = {key: converted(known[key], value) for key, value in values.items()}
    for key, value in found.items():
        check(known[key], value)
    return found


def save_recipe(name: str, values: Mapping[str, Any]) -> None:
    """Raises SettingError for a name that cannot be used, and where there is nothing to save; FileError."""
    if not _is_name(name):
        raise SettingError(f"a recipe's name must be letters, digits, - and _, got {name[:80]!r}.")
    kept = {key: value for key, value in values.items() if key not in NOT_OF_A_RECIPE}
    if not kept:
        raise SettingError("no setting is changed; change one first, then there is a recipe to save.")
    make_folder(folder())
    write_atomically(folder() / f"{name}.json", (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode())


def delete_recipe(name: str) -> None:
    """Raises SettingError where there is no such recipe of the user's own, FileError when it stays."""
    if name not in own_names():
        raise SettingError("only recipes of your own can be deleted; choose one first.")
    try:
        (folder() / f"{name}.json").unlink()
    except OSError as error:
        raise FileError(f"the recipe {name} could not be deleted: {error.strerror or error}.") from error


def _is_name(text: str) -> bool:
    try:
        return bool(check_name(text))
    except SettingError:
        return False
