"""Paths that a user gives: refused in one sentence, before anything is read, where no system call could take them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import rich_click as click

from ..engine.errors import SettingError
from .output import printable

_SHOWN = 80  # characters of a path in a sentence


class OnDisk(click.Path):
    """A path that may or may not be there; `is_folder` where it must not be a file, nor the root of a drive, beside
    which nothing can lie: the trainings lie beside the embeddings."""

    def __init__(self, is_folder: bool = False) -> None:
        super().__init__(path_type=Path, file_okay=not is_folder)
        self.is_folder = is_folder
        self.name = "folder" if is_folder else "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path, called = Path(value), _called(param)
        try:
            is_there, mode = True, path.stat().st_mode
        except FileNotFoundError:
            is_there, mode = False, 0
        except NotADirectoryError:
            raise _refusal(called, path, "a part of it is a file and no folder") from None
        except ValueError:
            raise _refusal(called, path, "no file can have such a name") from None
        except OSError as error:
            raise _refusal(called, path, error.strerror or str(error)) from error
        if is_there and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise _refusal(called, path, "it is no ordinary file")
        if self.is_folder and is_there and not stat.S_ISDIR(mode):
            raise _refusal(called, path, "it is a file, and a folder is needed")
        if self.is_folder and not path.resolve().name:
            raise _refusal(called, path, "it is the root of a drive, and a folder in it is needed")
        return path


def _called(param: click.Parameter | None) -> str:
    if param is None:
        return "the path"
    if isinstance(param, click.Option):
        return param.opts[0]
    return (param.metavar or param.name or "").strip("[].").upper()


def _refusal(called: str, path: Path, why: str) -> SettingError:
    return SettingError(f"{called} cannot be {shown(path)}: {why[:1].lower()}{why[1:]}; choose another.")


def shown(path: Path) -> str:
    """A path as a part of a sentence."""
    return f'"{printable(os.fspath(path), _SHOWN)}"'


PATH, FOLDER = OnDisk(), OnDisk(is_folder=True)


def repaired(folder: Path) -> None:
    """Finish what a killed process had begun in a folder; beside the root of a drive there is no place for it."""
    from ..files.moves import repair

    if folder.resolve().name:
        repair(folder)
