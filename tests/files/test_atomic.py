"""Several files of one moment: a kill or a refusal anywhere leaves the old ones or the new ones, never some of each."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.files import atomic
from dreamartist_ext.files.atomic import finish_interrupted, remove_abandoned, write_together

from .kills import killed_after, touches_of

OLD = {"cat.pt": b"old", "cat-neg.pt": b"old negative"}
NEW = {"cat.pt": b"new", "cat-neg.pt": b"new negative"}
CHANGES = {
    "both replaced": (OLD, NEW, ()),
    "both new": ({}, NEW, ()),
    "the negative goes": (OLD, {"cat.pt": b"new"}, ("cat-neg.pt",)),
    "another ending": (OLD, {"cat.safetensors": b"new", "cat-neg.safetensors": b"new-"}, ("cat.pt", "cat-neg.pt")),
    "other capitals": ({"Cat.pt": b"old"}, NEW, ("Cat.pt",)),
}


def prepare(folder: Path, old: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in old.items():
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def visible(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if not name.startswith(".")}


@pytest.mark.parametrize(("old", "new", "gone"), CHANGES.values(), ids=CHANGES.keys())
def test_a_kill_at_any_touch_leaves_the_old_files_or_the_new(tmp_path, old, new, gone):
    rehearsal = prepare(tmp_path / "rehearsal", old)
    touches = touches_of(rehearsal, lambda: write_together(rehearsal, "cat", new, gone))
    assert contents(rehearsal) == new
    seen = []
    for count in range(touches + 1):
        folder = prepare(tmp_path / str(count), old)
        with killed_after(count, folder):
            write_together(folder, "cat", new, gone)
        finish_interrupted(folder)
        assert visible(folder) in (old, new), f"killed after {count} of {touches} touches"
        seen.append(visible(folder) == new)
        remove_abandoned(folder, ["cat", "cat-neg"])
        assert contents(folder) == visible(folder), "nothing half-written is left"
    assert seen == sorted(seen), "once announced, it is done"
    assert False in seen
    assert seen.count(True) > 1


def test_the_repair_itself_can_be_killed(tmp_path):
    rehearsal = announced(tmp_path / "rehearsal")
    touches = touches_of(rehearsal, lambda: finish_interrupted(rehearsal))
    for count in range(touches):
        folder = announced(tmp_path / str(count))
        with killed_after(count, folder):
            finish_interrupted(folder)
        assert contents(folder) != NEW
        finish_interrupted(folder)
        assert contents(folder) == NEW
    assert touches > 2


def announced(folder: Path) -> Path:
    """As a kill right after the announcement leaves it."""
    atomic._announce(prepare(folder, OLD), "cat", NEW, OLD)
    return folder


def test_a_refusal_between_the_two_puts_the_first_back(tmp_path, monkeypatch):
    folder = prepare(tmp_path / "embeddings", OLD)
    true_replace = Path.replace

    def locked(self, target):  # as Windows refuses while somebody reads the file
        if Path(target).name == "cat-neg.pt":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return true_replace(self, target)

    monkeypatch.setattr(Path, "replace", locked)
    with pytest.raises(FileError, match=r"could not be written to .*: Permission denied"):
        write_together(folder, "cat", NEW)
    assert contents(folder) == OLD


def test_a_second_process_may_finish_first(tmp_path, monkeypatch):
    folder = prepare(tmp_path / "embeddings", OLD)
    true_put = atomic._put

    def overtaken(temporary, path, digest):
        monkeypatch.setattr(atomic, "_put", true_put)
        finish_interrupted(folder)
        true_put(temporary, path, digest)

    monkeypatch.setattr(atomic, "_put", overtaken)
    write_together(folder, "cat", NEW)
    assert contents(folder) == NEW


@pytest.mark.parametrize(
    "journal",
    [
        b"",
        b"[",
        b"[" * 100_000,
        b"{}",
        b'{"written": 3, "gone": []}',
        b'{"written": {}, "gone": {"../victim.pt": "DIGEST"}}',
        b'{"written": {}, "gone": {"victim.pt": "DIGEST"}}',
        b'{"written": {"cat.pt": "0"}, "gone": {"cat-neg.pt": "DIGEST"}}',
    ],
)
def test_a_strangers_journal_takes_nothing_away(tmp_path, journal):
    folder = prepare(tmp_path / "embeddings", {**OLD, "victim.pt": b"victim"})
    (tmp_path / "victim.pt").write_bytes(b"victim")
    digest = atomic._digest(b"victim").encode()
    (folder / ".cat.0123abcd.journal").write_bytes(journal.replace(b"DIGEST", digest))
    finish_interrupted(folder)
    assert contents(folder) == {**OLD, "victim.pt": b"victim"}
    assert (tmp_path / "victim.pt").exists()


def test_a_folder_that_is_not_there_has_nothing_to_finish(tmp_path):
    finish_interrupted(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
