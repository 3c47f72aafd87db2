"""Words behind a link to a folder elsewhere, which the WebUI follows: changed where they lie, brought back there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.concepts.changes import rename
from dreamartist_ext.files.concepts.trash import bring_back, find_concept, list_trash, throw_away
from dreamartist_ext.files.moves import move_together, repair
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair, save_pair

from .kills import killed_after, touches_of
from .test_moves import drives as drives
from .test_storage import pair

NEW = EmbeddingPair("mycat", {"clip": torch.zeros(1, 768)}, {"clip": torch.ones(1, 768)})


def make(root, is_link_itself=False):
    """An embeddings folder in which `shared` leads elsewhere; it may itself be a link."""
    true = root / ("true" if is_link_itself else "embeddings")
    true.mkdir(parents=True)
    if is_link_itself:
        (root / "embeddings").symlink_to("true")
    save_pair(pair(), root / "elsewhere" / "cats")
    (true / "shared").symlink_to("../elsewhere")
    return root


def words(root):
    """Every embedding by its place, in truth; those in the trash without their time."""
    found = {}
    for path in root.rglob("*"):
        if path.suffix in (".pt", ".png") and not path.name.startswith("."):
            parts = path.relative_to(root).parts
            if "_trash" in parts:
                parts = ("trash", *parts[parts.index("_trash") + 2 :])
            found["/".join(parts)] = path.read_bytes()
    return found


def deleted(root):
    throw_away(RunFiles(root / "embeddings", "mycat"))


def brought_back(root):
    bring_back(RunFiles(root / "embeddings", "mycat"))


@pytest.mark.parametrize("is_link_itself", [False, True], ids=["plain", "linked"])
def test_what_is_deleted_comes_back_behind_the_link(tmp_path, is_link_itself):
    root = make(tmp_path / "root", is_link_itself)
    before = words(root)
    deleted(root)
    assert not any(place.startswith("elsewhere") for place in words(root))
    assert [thrown.name for thrown in list_trash(root / "embeddings")] == ["mycat"]
    brought_back(root)
    assert words(root) == before
    assert (root / "embeddings" / "shared").is_symlink()


def test_what_is_deleted_in_an_ordinary_folder_comes_back_there(tmp_path):
    save_pair(pair(), tmp_path / "embeddings" / "cats")
    card = card_bytes(EmbeddingPair("mycat", NEW.positive), Image.new("RGB", (9, 9)))
    (tmp_path / "embeddings" / "cats" / "sent.png").write_bytes(card)
    before = words(tmp_path)
    deleted(tmp_path)
    brought_back(tmp_path)
    assert words(tmp_path) == before


def test_another_name_is_given_where_it_lies(tmp_path):
    root = make(tmp_path / "root")
    rename(root / "embeddings", find_concept(root / "embeddings", "mycat"), "tom")
    assert sorted(words(root)) == ["elsewhere/cats/tom-neg.pt", "elsewhere/cats/tom.pt"]


@pytest.mark.parametrize("home", ["embeddings/cats", "elsewhere/cats"])
def test_what_is_replaced_comes_back_to_its_folder(tmp_path, home):
    root = make(tmp_path / "root")
    shutil.rmtree(root / "elsewhere" / "cats")
    save_pair(pair(), root / home)
    before = words(root)
    RunFiles(root / "embeddings", "mycat").put_in_use(NEW)
    assert {place for place in words(root) if not place.startswith("trash")} == set(before)
    deleted(root)
    (replaced,) = (thrown for thrown in list_trash(root / "embeddings") if thrown.is_replaced)
    shutil.rmtree(next(thrown.place for thrown in list_trash(root / "embeddings") if not thrown.is_replaced))
    assert replaced.name == "mycat"
    brought_back(root)
    assert words(root) == before


def test_a_link_that_leads_nowhere_is_said(tmp_path):
    root = make(tmp_path / "root")
    deleted(root)
    (root / "elsewhere").rename(root / "gone")
    with pytest.raises(FileError, match=r"the link .*shared leads nowhere"):
        brought_back(root)
    (root / "gone").rename(root / "elsewhere")
    brought_back(root)
    assert sorted(words(root)) == ["elsewhere/cats/mycat-neg.pt", "elsewhere/cats/mycat.pt"]


ACTIONS = {
    "rename": lambda root: rename(root / "embeddings", find_concept(root / "embeddings", "mycat"), "tom"),
    "delete": deleted,
    "bring back": brought_back,
    "replace": lambda root: RunFiles(root / "embeddings", "mycat").put_in_use(NEW),
}


@pytest.mark.usefixtures("drives")
@pytest.mark.parametrize("is_link_itself", [False, True], ids=["plain", "linked"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_kill_at_any_touch_is_repaired(tmp_path, action, is_link_itself):
    def prepared(name):
        root = make(tmp_path / name, is_link_itself)
        if action == "bring back":
            deleted(root)
        return root

    def in_use(root):
        return {place: content for place, content in words(root).items() if action != "replace" or "trash" not in place}

    rehearsal = prepared("rehearsal")
    before = in_use(rehearsal)
    touches = touches_of(rehearsal, lambda: ACTIONS[action](rehearsal))
    after = in_use(rehearsal)
    seen = []
    for count in range(touches + 1):
        root = prepared(str(count))
        with killed_after(count, root):
            ACTIONS[action](root)
        repair(root / "embeddings")
        found = in_use(root)
        assert found in (before, after), f"killed after {count} of {touches} touches"
        seen.append(found == after)
    assert seen == sorted(seen), "once announced, it is done"
    assert seen.count(True) > 2
    assert False in seen


def linked_files(root):
    """Both halves are links to files elsewhere, as relative paths, which lead nowhere from another folder."""
    (root / "embeddings").mkdir(parents=True)
    save_pair(pair(), root / "elsewhere")
    for name in ("mycat.pt", "mycat-neg.pt"):
        (root / "embeddings" / name).symlink_to(f"../elsewhere/{name}")
    return root


def links(root):
    return sorted(path.relative_to(root).parts[-1] for path in root.rglob("*") if path.is_symlink())


def test_links_to_files_come_back_whenever_a_kill_comes(tmp_path):
    rehearsal = linked_files(tmp_path / "rehearsal")
    deleted(rehearsal)
    touches = touches_of(rehearsal, lambda: brought_back(rehearsal))
    assert load_pair(rehearsal / "embeddings", "mycat").negative is not None
    for count in range(touches):
        root = linked_files(tmp_path / str(count))
        deleted(root)
        with killed_after(count, root):
            brought_back(root)
        repair(root / "embeddings")
        assert links(root) == ["mycat-neg.pt", "mycat.pt"]
        here = [os.path.lexists(root / "embeddings" / name) for name in ("mycat.pt", "mycat-neg.pt")]
        assert here in ([True, True], [False, False]), f"killed after {count} of {touches} touches"


def test_links_that_cannot_be_moved_together_stay(tmp_path, monkeypatch):
    root = linked_files(tmp_path / "root")
    out, place = root / "embeddings", root / "embeddings-training" / "_trash" / "x"
    real = os.rename

    def refused(source, target, **more):
        if Path(source).name == "mycat-neg.pt":
            raise PermissionError(13, "Permission denied")
        return real(source, target, **more)

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(FileError, match=r"mycat-neg\.pt could not be moved"):
        move_together(out, {out / name: place / name for name in ("mycat.pt", "mycat-neg.pt")})
    assert load_pair(out, "mycat").negative is not None


def test_a_link_is_not_taken_for_another_to_the_same_file(tmp_path):
    root = linked_files(tmp_path / "root")
    out = root / "embeddings"
    (out / "tom.pt").symlink_to("../elsewhere/mycat.pt")
    with pytest.raises(FileError, match="is in the way"):
        move_together(out, {out / "mycat.pt": out / "tom.pt"})
    assert links(root) == ["mycat-neg.pt", "mycat.pt", "tom.pt"]
