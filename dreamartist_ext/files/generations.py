"""The snapshot of a training in two generations: whatever happens to the last one, the one before it is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..engine.errors import FileError
from ..engine.snapshot import Snapshot
from .atomic import write_atomically
from .storage import load_snapshot, save_snapshot


def one_before(path: Path) -> Path:
    """Where the generation before the last one is."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


def keep_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write it; what was there becomes the one before it, unless it is damaged. Raises FileError."""
    if _is_whole(path):
        write_atomically(one_before(path), path.read_bytes())
    save_snapshot(snapshot, path)


def last_snapshot(path: Path) -> Snapshot:
    """The last one that is whole, with a `notice` where that is the one before it; raises FileError."""
    try:
        return load_snapshot(path)
    except FileError as error:
        try:
            snapshot = load_snapshot(one_before(path))
        except FileError:
            raise error from None
        reason = "is damaged" if path.exists() else "is not there"
        notice = f"the last snapshot {reason}; the training goes on from the one before it, of step {snapshot.step}."
        return replace(snapshot, notice=notice)


def forget_snapshots(path: Path) -> None:
    """The one before first, so that it is never taken for the last one."""
    one_before(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    try:
        load_snapshot(path)
    except FileError:
        return False
    return True
