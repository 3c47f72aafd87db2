"""Files that are written whole or not at all; several of one folder together, also through a kill or a power cut.

A file is written beside its place, synced, and renamed. Where several belong together, the renames are announced in a
journal first: a process that dies between two of them leaves the journal, and `finish_interrupted` does the rest.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..engine.errors import FileError
from .below import is_file
from .bounded import check_ordinary
from .patience import patiently

logger = logging.getLogger(__name__)

TEMPORARY_SUFFIX = ".tmp"
_JOURNAL_FORMAT = "dreamartist-journal-1"
_JOURNAL_NAME = re.compile(r"\.(?P<stem>.+)\.(?P<token>[0-9a-f]{8})\.journal")
_MOST_JOURNAL_BYTES = 100_000


def write_atomically(path: Path, content: bytes) -> None:
    """Write the whole file or nothing; raises FileError when the disk or the folder refuses."""
    write_all_atomically({path: content})


def write_all_atomically(contents: Mapping[Path, bytes]) -> None:
    """Write every file completely beside its place before the first is put there; raises FileError.

    A kill in the moment of the renames can leave some files new and some old; `write_together` knows no such moment.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            staged[path] = _temporary(path, secrets.token_hex(4))
            with _explained(path):
                _stage(path, staged[path], content)
        for path, temporary in staged.items():
            with _explained(path):
                _replace(temporary, path)
                sync_folder(path.parent)
    finally:
        _remove(staged.values())


def write_together(folder: Path, stem: str, contents: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
    """Write files into one folder, and remove those that are `gone`: all of it or nothing, whatever happens.

    Every name begins with `stem`. Raises FileError, with everything as it was. After a kill or a power cut it is as
    it was, or `finish_interrupted` makes it as it should be.
    """
    with _explained(folder / next(iter(contents))):
        before = {name: _read(folder / name) for name in (*contents, *gone)}
        change = _announce(folder, stem, contents, before)
        try:
            change.carry_out()
        except BaseException:
            _undo(change, before)
            raise


def finish_interrupted(folder: Path) -> None:
    """Do the rest of what `write_together` had announced in this folder when its process died.

    Harmless while another process writes there: whoever comes second finds the work done. A folder that refuses is
    left as it is, with a line in the log.
    """
    for path in sorted(folder.glob(".*.journal")):
        _finish(path)


def _finish(journal: Path) -> None:
    try:
        change = _Change.read(journal)
        if change is not None and change.is_possible():
            change.carry_out()
            logger.info("finished the writing of %s that was interrupted", change.stem)
        else:
            logger.warning("%s is damaged and is ignored", journal)
            journal.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s could not be finished: %s", journal, error)


def remove_abandoned(folder: Path, patterns: Iterable[str]) -> None:
    """Finish or remove what a killed process left of these names; only when nobody else is writing them."""
    finish_interrupted(folder)
    for pattern in patterns:
        _remove(folder.glob(f".{pattern}.*{TEMPORARY_SUFFIX}"))


@dataclass(frozen=True)
class _Change:
    """Files to put into a folder from beside their places, and files to take out of it, each with its digest."""

    folder: Path
    stem: str
    token: str
    written: Mapping[str, str]
    gone: Mapping[str, str]

    @property
    def journal(self) -> Path:
        return self.folder / f".{self.stem}.{self.token}.journal"

    @property
    def staged(self) -> dict[Path, Path]:
        """The temporary file by the place that it is for."""
        return {self.folder / name: _temporary(self.folder / name, self.token) for name in self.written}

    def to_json(self) -> bytes:
        return json.dumps({"format": _JOURNAL_FORMAT, "written": self.written, "gone": self.gone}).encode()

    @classmethod
    def read(cls, path: Path) -> _Change | None:
        """None for anything that is not a whole journal about files of its own folder and stem."""
        found = _JOURNAL_NAME.fullmatch(path.name)
        if not found or not is_file(path) or path.stat().st_size > _MOST_JOURNAL_BYTES:
            return None
        try:
            about = json.loads(path.read_bytes())
            written, gone = dict(about["written"]), dict(about["gone"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        stem = found["stem"].lower()
        own = all(Path(name).name == name and name.lower().startswith(stem) for name in (*written, *gone))
        return cls(path.parent, found["stem"], found["token"], written, gone) if own else None

    def is_possible(self) -> bool:
        return all(
            self.written[path.name] in (_digest(_read(temporary)), _digest(_read(path)))
            for path, temporary in self.staged.items()
        )

    def carry_out(self) -> None:
        """Also where another process has done a part of it, or all."""
        for path, temporary in self.staged.items():
            _put(temporary, path, self.written[path.name])
        for path in map(self.folder.joinpath, self.gone):
            # on Windows and macOS, Cat.pt that is gone can be the cat.pt that was just written
            is_new = path.exists() and any(path.samefile(place) for place in self.staged)
            if _digest(_read(path)) == self.gone[path.name] and not is_new:
                patiently(functools.partial(path.unlink, missing_ok=True))
        sync_folder(self.folder)
        self.journal.unlink(missing_ok=True)

    def forget(self) -> None:
        """The journal first: without the files beside their places it could not be carried out."""
        _remove([self.journal, _temporary(self.journal, self.token), *self.staged.values()])


def _announce(folder: Path, stem: str, contents: Mapping[str, bytes], before: Mapping[str, bytes | None]) -> _Change:
    """Everything beside its place, and the journal that says so, on the disk."""
    gone = {name: _digest(old) for name, old in before.items() if name not in contents and old is not None}
    change = _Change(folder, stem, secrets.token_hex(4), {n: _digest(c) for n, c in contents.items()}, gone)
    journal = _temporary(change.journal, change.token)
    try:
        for path, temporary in change.staged.items():
            _stage(path, temporary, contents[path.name])
        if len(contents) + len(gone) > 1:
            _stage(change.journal, journal, change.to_json())
            sync_folder(folder)
            _replace(journal, change.journal)
            sync_folder(folder)
    except BaseException:
        change.forget()
        raise
    return change


def _undo(change: _Change, before: Mapping[str, bytes | None]) -> None:
    """Put back what was there. If even that is refused, the journal stays, and the next start goes forward instead."""
    try:
        for name, content in before.items():
            path = change.folder / name
            if content is None:
                path.unlink(missing_ok=True)
            elif _read(path) != content:
                write_atomically(path, content)
    except (OSError, FileError) as error:
        logger.warning("%s is written only in part until the next start: %s", change.stem, error)
        return
    change.forget()


def make_folder(folder: Path) -> None:
    """With all above it; raises FileError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"the folder {folder} could not be made: {error.strerror}.") from error


def _stage(path: Path, temporary: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _put(temporary: Path, path: Path, digest: str) -> None:
    try:
        _replace(temporary, path)
    except FileNotFoundError:
        if _digest(_read(path)) != digest:
            raise


def _replace(temporary: Path, path: Path) -> None:
    patiently(lambda: temporary.replace(path))


def _temporary(path: Path, token: str) -> Path:
    return path.with_name(f".{path.name.lstrip('.')}.{token}{TEMPORARY_SUFFIX}")


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        check_ordinary(path)
        return patiently(path.read_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(content: bytes | None) -> str:
    return "" if content is None else hashlib.sha256(content).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames outlast a power cut, where the system can: Windows and some network drives cannot."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{path.name} could not be written to {path.parent}: {error.strerror or error}.") from error
