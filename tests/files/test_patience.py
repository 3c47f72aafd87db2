"""Windows refuses a rename while a virus scanner has the file: it is tried again, and not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.files import patience
from dreamartist_ext.files.atomic import write_atomically, write_together
from dreamartist_ext.files.moves import move_together


@pytest.fixture
def waits(monkeypatch):
    found = []
    monkeypatch.setattr(patience, "pause", found.append)
    return found


def refusing(monkeypatch, method, times, winerror=32):
    real, calls = getattr(Path, method), []

    def refused(self, *arguments, **named):
        calls.append(self)
        if len(calls) <= times:
            error = PermissionError(13, "The process cannot access the file")
            error.winerror = winerror
            raise error
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, method, refused)
    return calls


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_a_file_that_another_program_has_open_is_written_a_moment_later(tmp_path, monkeypatch, waits, winerror):
    refusing(monkeypatch, "replace", 3, winerror)
    write_atomically(tmp_path / "x.pt", b"new")
    assert (tmp_path / "x.pt").read_bytes() == b"new"
    assert waits == list(patience.WAITS[:3])


def test_pairs_and_moves_are_as_patient(tmp_path, monkeypatch, waits):
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "x.safetensors").write_bytes(b"old")
    for method in ("replace", "rename", "unlink", "read_bytes"):
        refusing(monkeypatch, method, 2)
    write_together(tmp_path / "embeddings", "x", {"x.pt": b"1", "x-neg.pt": b"2"}, ["x.safetensors"])
    moves = {tmp_path / "embeddings" / f"{n}.pt": tmp_path / "embeddings" / f"y{n}.pt" for n in ("x", "x-neg")}
    move_together(tmp_path / "embeddings", moves)
    assert sorted(path.name for path in (tmp_path / "embeddings").iterdir()) == ["yx-neg.pt", "yx.pt"]
    assert len(waits) == 8


def test_patience_ends(tmp_path, monkeypatch, waits):
    refusing(monkeypatch, "replace", 10**6)
    with pytest.raises(FileError, match=r"x\.pt could not be written"):
        write_atomically(tmp_path / "x.pt", b"new")
    assert waits == list(patience.WAITS)
    assert sum(waits) < 3
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_said_at_once(tmp_path, monkeypatch, waits):
    refusing(monkeypatch, "replace", 10**6, winerror=None)
    with pytest.raises(FileError):
        write_atomically(tmp_path / "x.pt", b"new")
    assert waits == []
