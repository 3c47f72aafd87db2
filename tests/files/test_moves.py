"""Files that move together: a kill or a refusal anywhere leaves all of them here or, repaired, all there."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.files.moves import finish_moves, move_together

from .kills import killed_after, touches_of

FILES = {
    "embeddings/cat.pt": b"positive",
    "embeddings/cat-neg.pt": b"negative",
    "embeddings-training/cat/cat-000100.pt": b"step",
    "embeddings-training/cat/snapshot.safetensors": b"snapshot",
    "embeddings-training/cat/written": b"snapshot under the other name",
}


@pytest.fixture
def prepared(tmp_path):
    def prepare(name):
        for path, content in FILES.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(content)
        return tmp_path / name

    return prepare


def moves_in(root: Path) -> dict[Path, Path]:
    out, trainings = root / "embeddings", root / "embeddings-training"
    return {
        out / "cat.pt": out / "tom.pt",
        out / "cat-neg.pt": trainings / "_trash" / "tom" / "tom-neg.pt",
        trainings / "cat": trainings / "tom",
        trainings / "tom" / "cat-000100.pt": trainings / "tom" / "tom-000100.pt",
        trainings / "tom" / "snapshot.safetensors": trainings / "tom" / "replaced",
        trainings / "tom" / "written": trainings / "tom" / "snapshot.safetensors",
    }


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def move(root: Path) -> None:
    move_together(root / "embeddings", moves_in(root), [root / "embeddings-training" / "tom" / "replaced"])


AFTER = {
    "embeddings/tom.pt": b"positive",
    "embeddings-training/_trash/tom/tom-neg.pt": b"negative",
    "embeddings-training/tom/tom-000100.pt": b"step",
    "embeddings-training/tom/snapshot.safetensors": b"snapshot under the other name",
}


@pytest.fixture(params=[False, True], ids=["one drive", "two drives"])
def drives(request, monkeypatch):
    """Two drives: a rename between folders is refused by the system."""
    real = Path.rename

    def rename(self, target):
        if self.parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return real(self, target)

    if request.param:
        monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.usefixtures("drives")
def test_a_kill_at_any_touch_leaves_all_here_or_all_there(prepared):
    rehearsal = prepared("rehearsal")
    touches = touches_of(rehearsal, lambda: move(rehearsal))
    assert contents(rehearsal) == AFTER
    seen = []
    for count in range(touches + 1):
        root = prepared(str(count))
        with killed_after(count, root):
            move(root)
        finish_moves(root / "embeddings")
        found = {name: content for name, content in contents(root).items() if not name.endswith((".tmp", "replaced"))}
        assert found in (FILES, AFTER), f"killed after {count} of {touches} touches"
        seen.append(found == AFTER)
    assert seen == sorted(seen), "once announced, it is done"
    assert False in seen
    assert seen.count(True) > 3


@pytest.mark.usefixtures("drives")
def test_the_repair_itself_can_be_killed(prepared):
    def announced(name):
        root = prepared(name)
        with killed_after(4, root):  # folder, temporary file, journal, and one thing more
            move(root)
        return root

    rehearsal = announced("rehearsal")
    touches = touches_of(rehearsal, lambda: finish_moves(rehearsal / "embeddings"))
    assert touches > 3
    for count in range(touches):
        root = announced(str(count))
        with killed_after(count, root):
            finish_moves(root / "embeddings")
        finish_moves(root / "embeddings")
        found = {name: each for name, each in contents(root).items() if not name.endswith((".tmp", "replaced"))}
        assert found == AFTER


@pytest.mark.usefixtures("drives")
@pytest.mark.parametrize("refused", ["cat.pt", "cat-neg.pt", "cat", "cat-000100.pt", "written"])
def test_a_refusal_puts_everything_back(prepared, monkeypatch, refused):
    root = prepared("root")

    def guarded(name):
        real = getattr(Path, name)

        def call(self, *arguments, **more):
            if self.name == refused:
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(self, *arguments, **more)

        monkeypatch.setattr(Path, name, call)

    guarded("rename")
    guarded("unlink")  # a copy is made, and what was copied stays
    with pytest.raises(FileError, match=rf"^{refused} could not be moved: Permission denied\.$"):
        move(root)
    assert contents(root) == FILES


def test_what_is_in_the_way_is_said_before_anything_moves(prepared):
    root = prepared("root")
    (root / "embeddings-training" / "tom").mkdir()
    with pytest.raises(FileError, match="tom is in the way"):
        move(root)
    assert contents(root) == FILES


def test_a_place_that_was_taken_in_between_is_left_alone(prepared):
    root = prepared("root")
    with killed_after(4, root):
        move(root)
    (root / "embeddings" / "tom.pt").write_bytes(b"somebody else's")
    (root / "embeddings" / "cat.pt").write_bytes(b"positive")
    finish_moves(root / "embeddings")
    found = contents(root)
    assert (found["embeddings/tom.pt"], found["embeddings/cat.pt"]) == (b"somebody else's", b"positive")
    assert not list(root.rglob("*.moves"))


@pytest.mark.parametrize(
    "journal",
    [
        b"",
        b"{}",
        b"[" * 100_000,
        {"moves": [["embeddings/cat.pt", "victim/x"]], "gone": []},
        {"moves": [["embeddings/../victim/x", "embeddings/x"]], "gone": []},
        {"moves": [["/etc/passwd", "embeddings/x"]], "gone": []},
        {"moves": [], "gone": ["embeddings/../victim/x"]},
        {"moves": [], "gone": ["embeddings"]},
        {"moves": [["embeddings/\0", "embeddings/x"]], "gone": []},
        {"moves": [[1]], "gone": 3},
        {"moves": [["embeddings/cat.pt", "embeddings/\ud800.pt"]], "gone": []},
        {"moves": [], "gone": ["embeddings/\ud800.pt"]},
        {"moves": [["embeddings/link/x", "embeddings/x.pt"]], "gone": []},
        {"moves": [], "gone": ["embeddings/link/x"]},
        {"moves": [], "gone": ["embeddings/link/x.pt"]},
        {"moves": [["embeddings/link/x", "embeddings/link/y.pt"]], "gone": []},
        {"moves": [["embeddings/link/../x.pt", "embeddings/x.pt"]], "gone": []},
        {"moves": [["embeddings/cat.pt", "embeddings/tom.pt"]], "gone": [], "format": "another"},
    ],
)
def test_a_journal_about_other_places_is_ignored(prepared, journal):
    root = prepared("root")
    (root / "victim").mkdir()
    (root / "victim" / "x").write_bytes(b"victim")
    (root / "victim" / "x.pt").write_bytes(b"victim")
    (root / "embeddings" / "link").symlink_to(root / "victim")
    known = {"format": "dreamartist-moves-1"}
    content = journal if isinstance(journal, bytes) else json.dumps(known | journal).encode()
    (root / "embeddings-training" / ".0123abcd.moves").write_bytes(content)
    finish_moves(root / "embeddings")
    (root / "embeddings" / "link").unlink()
    assert contents(root) == {**FILES, "victim/x": b"victim", "victim/x.pt": b"victim"}


def test_a_journal_that_is_no_file_holds_nobody_up(prepared):
    root = prepared("root")
    os.mkfifo(root / "embeddings-training" / ".0123abcd.moves")
    finish_moves(root / "embeddings")
    assert contents(root) == FILES


def test_no_two_files_are_moved_to_one_place_and_no_link_is_overwritten(prepared):
    root = prepared("root")
    out = root / "embeddings"
    with pytest.raises(FileError, match="is in the way"):
        move_together(out, {out / "cat.pt": out / "tom.pt", out / "cat-neg.pt": out / "tom.pt"})
    (out / "tom.pt").symlink_to(root / "a drive that is not there")
    with pytest.raises(FileError, match="is in the way"):
        move_together(out, {out / "cat.pt": out / "tom.pt"})
    assert contents(root) == FILES
    assert (out / "tom.pt").is_symlink()


def test_a_link_to_the_folder_is_followed_and_nothing_stays_behind(prepared):
    root = prepared("root")
    shutil.rmtree(root / "embeddings-training")
    (root / "embeddings").rename(root / "true")
    (root / "embeddings").symlink_to(root / "true")
    out = root / "embeddings"
    move_together(out, {out / "cat.pt": out / "tom.pt", out / "cat-neg.pt": out / "tom-neg.pt"})
    assert sorted(path.name for path in root.iterdir()) == ["embeddings", "true"]
    assert sorted(path.name for path in out.iterdir()) == ["tom-neg.pt", "tom.pt"]
