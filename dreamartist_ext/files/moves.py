"""Files and folders that change their places together, also through a kill or a power cut.

What is to be moved is announced in a journal first, beside the trainings, where no download ever lies. A process that
dies between two moves leaves it, and `finish_moves` does the rest.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..engine.errors import FileError
from .atomic import TEMPORARY_SUFFIX, finish_interrupted, sync_folder, write_atomically
from .below import folders_below
from .card import CARD_SUFFIXES
from .earlier import trash_of
from .formats import EMBEDDING_SUFFIXES
from .patience import patiently

logger = logging.getLogger(__name__)

_FORMAT = "dreamartist-moves-1"
_SUFFIX = ".moves"
_MOST_JOURNAL_BYTES = 10_000_000


def move_together(out: Path, moves: Mapping[Path, Path], gone: Sequence[Path] = ()) -> None:
    """Move files and folders of the embeddings folder `out` and of the trainings beside it, one after the other, to
    places where nothing is; then remove the files that are `gone`. All of it or nothing; raises FileError.

    After a kill some are moved, and `finish_moves` moves the others.
    """
    announced = _Announced.of(out, moves, gone)
    _check_free(moves)
    try:
        if len(moves) > 1:
            write_atomically(announced.journal, announced.to_json())
    except FileError:
        _forget(announced)
        raise
    announced.carry_out()


def finish_moves(out: Path) -> None:
    """Do the rest of what `move_together` had announced when its process died; harmless while another one moves."""
    for journal in sorted(_home_of(out).glob(f".*{_SUFFIX}")):
        announced = _Announced.read(out, journal)
        if announced is None:
            logger.warning("%s is damaged and is ignored", journal)
            with suppress(OSError):
                journal.unlink(missing_ok=True)
            continue
        announced.go_on()


def repair(out: Path) -> None:
    """Finish what a killed process had begun in an embeddings folder: writing, and moving."""
    for folder in folders_below(out):
        finish_interrupted(folder)
    finish_moves(out)


@dataclass(frozen=True)
class _Announced:
    """Moves in their order, and what is removed afterwards."""

    journal: Path
    moves: tuple[tuple[Path, Path], ...]
    gone: tuple[Path, ...]

    @classmethod
    def of(cls, out: Path, moves: Mapping[Path, Path], gone: Sequence[Path]) -> _Announced:
        journal = _home_of(out) / f".{secrets.token_hex(4)}{_SUFFIX}"
        pairs = tuple((_absolute(out, source), _absolute(out, target)) for source, target in moves.items())
        return cls(journal, pairs, tuple(_absolute(out, path) for path in gone))

    def to_json(self) -> bytes:
        root = self.journal.parent.parent
        names = [[each.relative_to(root).as_posix() for each in pair] for pair in self.moves]
        gone = [each.relative_to(root).as_posix() for each in self.gone]
        return json.dumps({"format": _FORMAT, "moves": names, "gone": gone}).encode()

    @classmethod
    def read(cls, out: Path, journal: Path) -> _Announced | None:
        """None for anything that is not a whole journal about places in `out` and in the trainings beside it."""
        try:
            if not journal.is_file() or journal.stat().st_size > _MOST_JOURNAL_BYTES:
                return None
            about = json.loads(journal.read_bytes())
            if about["format"] != _FORMAT:
                return None
            names = [(str(source), str(target)) for source, target in about["moves"]]
            gone = [str(name) for name in about["gone"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        root, rooms = journal.parent.parent, (out.resolve(), journal.parent)
        moved = [name for pair in names for name in pair]
        if not all(_is_in(root, rooms, name) or _is_behind_a_link(root, rooms[0], name) for name in moved):
            return None
        if not all(_is_in(root, rooms, name) for name in gone):
            return None
        return cls(journal, tuple((root / one, root / two) for one, two in names), tuple(root / each for each in gone))

    def carry_out(self) -> None:
        """Raises FileError, with everything where it was."""
        done: list[tuple[Path, Path]] = []
        source = target = Path()
        try:
            for source, target in self.moves:
                done.append((source, target))
                target.parent.mkdir(parents=True, exist_ok=True)
                _move(source, target)
        except OSError as error:
            back = [_is_back(target, source) for source, target in reversed(done)]
            if all(back):
                _forget(self)
            raise FileError(f"{source.name} could not be moved: {error.strerror or error}.") from error
        self._end()

    def go_on(self) -> None:
        """As `carry_out`, for what a dead process has left: forward only."""
        try:
            for source, target in self.moves:
                if os.path.lexists(source) and not _is_other(source, target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _move(source, target)
                elif os.path.lexists(source) and _hold_the_same(source, target):
                    _remove(source)  # it was copied to another drive, and not yet removed
        except OSError as error:
            logger.warning("%s could not be finished: %s", self.journal, error)
            return
        self._end()
        logger.info("finished the moving of %s that was interrupted", ", ".join(each.name for each, _ in self.moves))

    def _end(self) -> None:
        for folder in {path.parent for pair in self.moves for path in pair}:
            sync_folder(folder)
        _forget(self)  # first: a move whose target is gone would be made again
        for path in self.gone:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _home_of(out: Path) -> Path:
    return trash_of(out).parent


def _absolute(out: Path, path: Path) -> Path:
    """The embeddings folder may be a link, and so may be the folders and files in it; files are moved as links."""
    home, root = path.parent.resolve(), out.resolve()
    if home.is_relative_to(root):
        return home / path.name
    return root / path.relative_to(out) if path.is_relative_to(out) else path.absolute()


def _is_in(root: Path, rooms: Sequence[Path], name: str) -> bool:
    """Whether a place of `root` lies in one of its `rooms`, also when the links on the way are followed."""
    home = _home_in(root, rooms, name)
    return home is not None and any(home.is_relative_to(room.resolve()) for room in rooms)


def _is_behind_a_link(root: Path, out: Path, name: str) -> bool:
    """Whether it is a word's file in a folder that is linked into the embeddings folder, where the WebUI reads it."""
    home = _home_in(root, [out], name)
    is_word = PurePosixPath(name).suffix.lower() in (*EMBEDDING_SUFFIXES, *CARD_SUFFIXES)
    return is_word and home is not None and home in [folder.resolve() for folder in folders_below(out)]


def _home_in(root: Path, rooms: Sequence[Path], name: str) -> Path | None:
    """The folder of a place by its name in one of the rooms, all links followed; None for any other name."""
    parts = PurePosixPath(name).parts
    try:
        is_plain = b"\0" not in os.fsencode(name) and (os.sep == "/" or os.sep not in name)
    except UnicodeEncodeError:
        return None
    if not (is_plain and len(parts) > 1 and parts[0] in [room.name for room in rooms] and ".." not in parts):
        return None
    return (root / name).parent.resolve()


def _check_free(moves: Mapping[Path, Path]) -> None:
    leaving: set[Path] = set()
    taken: set[Path] = set()
    for source, target in moves.items():
        if target in taken or (target not in leaving and _is_other(source, target)):
            raise FileError(f"{source.name} could not be moved: {target} is in the way.")
        for folder in target.parents:
            if folder.is_symlink() and not folder.exists():
                raise FileError(f"{source.name} could not be moved: the link {folder} leads nowhere.")
        leaving.add(source)
        taken.add(target)


def _is_other(source: Path, target: Path) -> bool:
    """Whether something else is at the target; another spelling of the source's own name is not."""
    if not os.path.lexists(target):  # a link into a drive that is not there is something too
        return False
    return not _are_one(source, target)


def _are_one(one: Path, other: Path) -> bool:
    """Whether two spellings are of one file; two links to one file are two."""
    with suppress(OSError):
        return os.path.samestat(one.lstat(), other.lstat())
    return False


def _move(source: Path, target: Path) -> None:
    try:
        patiently(lambda: source.rename(target))
    except OSError as error:
        if error.errno == errno.EXDEV:
            _carry(source, target)
        elif os.path.lexists(source) or not os.path.lexists(target):  # else another process was faster
            raise


def _carry(source: Path, target: Path) -> None:
    """To another drive; what is at the target is whole at any time."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        if source.is_dir():
            shutil.copytree(source, temporary, symlinks=True)
        else:
            shutil.copy2(source, temporary)
        patiently(lambda: temporary.rename(target))
    except OSError:
        _remove(temporary)
        raise
    _remove(source)


def _is_back(target: Path, source: Path) -> bool:
    """Undo one move, as far as it was made."""
    try:
        if not os.path.lexists(target) or _are_one(source, target):
            return True
        if not os.path.lexists(source):
            _move(target, source)
        else:  # it was copied to another drive, and what cannot be removed cannot be moved
            if not _hold_the_same(target, source):
                shutil.copytree(target, source, dirs_exist_ok=True)
            _remove(target)
    except OSError as error:
        logger.warning("%s could not be moved back to %s: %s", target, source, error)
        return False
    return os.path.lexists(source)


def _hold_the_same(part: Path, whole: Path) -> bool:
    """Whether every file in the first is in the second as well."""
    if part.is_dir():
        files = [path.relative_to(part) for path in part.rglob("*") if path.is_file()]
        return whole.is_dir() and all(_hold_the_same(part / name, whole / name) for name in files)
    return whole.is_file() and part.read_bytes() == whole.read_bytes()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _forget(announced: _Announced) -> None:
    with suppress(OSError):
        announced.journal.unlink(missing_ok=True)
    with suppress(OSError):
        announced.journal.parent.rmdir()  # where there was nothing but the journal
