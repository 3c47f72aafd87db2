"""My concepts is killed at any moment: what it was doing is done, or was never begun, when it starts again."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from dreamartist_ext.files.importing import accept, look
from dreamartist_ext.files.moves import repair
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair, load_snapshot
from dreamartist_ext.webui.concepts.shelf import Shelf, Show
from dreamartist_ext.webui.training.jobs import Desk

from ...files.kills import killed_after, touches_of
from ..test_api import SmallWorkplace, everything_in
from .test_shelf import put, trained

ACTIONS = {
    "rename": lambda shelf: shelf.rename(shelf.named("cat"), "tom"),
    "delete": lambda shelf: shelf.delete(shelf.named("cat")),
    "undo": lambda shelf: shelf.bring_back(shelf.page(show=Show.TRASH).thrown[0].key),
    "reunite": lambda shelf: shelf.reunite(shelf.named("lone"), shelf.named("lost")),
}


def shelf_in(root):
    place = SmallWorkplace.__new__(SmallWorkplace)
    place.embeddings, place.learnings = root / "embeddings", 0
    return Shelf(Desk(place))


def visible(root):
    """All files but what is begun and what a process keeps open; the trash's folders without their times."""
    found = {}
    for path, content in everything_in(root).items():
        if not any(part.startswith(".") for part in path.parts) and path.name != "lock":
            parts = zip(("", *path.parts), path.parts, strict=False)
            found["/".join("trashed" if before == "_trash" else part for before, part in parts)] = content
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A trained concept with its preview, one in the trash, and two halves that belong together."""
    root = tmp_path_factory.mktemp("whole") / "root"
    root.mkdir()
    place = SmallWorkplace(root)
    shelf = Shelf(trained(place, root))
    put(place.embeddings, "dog", seed=2)
    shelf.delete(shelf.named("dog"))
    put(place.embeddings, "lone", seed=3)
    (place.embeddings / "lone-neg.pt").rename(place.embeddings / "lost-neg.pt")
    return root


@pytest.mark.parametrize("action", ACTIONS)
def test_a_kill_at_any_touch_is_repaired(whole, tmp_path, action):
    def run(name, killed=10**9):
        root = shutil.copytree(whole, tmp_path / name)
        shelf = shelf_in(root)
        with killed_after(killed, root) as deadline:
            ACTIONS[action](shelf)
        return root, deadline.touches

    rehearsal, touches = run("rehearsal")
    before, after = visible(whole), visible(rehearsal)
    assert before != after
    seen = []
    for count in range(touches):
        root, _ = run(str(count), count)
        repair(root / "embeddings")
        found = visible(root)
        assert found in (before, after), f"killed after {count} of {touches} touches"
        seen.append(found == after)
        shutil.rmtree(root)
    assert seen == sorted(seen), "once announced, it is done"
    assert False in seen


def test_after_a_kill_the_renamed_training_knows_its_name(whole, tmp_path):
    root = shutil.copytree(whole, tmp_path / "root")
    shelf = shelf_in(root)
    with killed_after(14, root):
        ACTIONS["rename"](shelf)
    repair(root / "embeddings")
    files = RunFiles(root / "embeddings", "tom")
    if files.folder.is_dir():
        assert json.loads(load_snapshot(files.snapshot).config)["name"] == "tom"
    else:
        assert json.loads(load_snapshot(RunFiles(root / "embeddings", "cat").snapshot).config)["name"] == "cat"


@pytest.mark.parametrize("half", [0, 1], ids=["positive", "negative"])
def test_a_lone_half_over_another_pair_is_whole_after_a_kill(tmp_path, half):
    (offer,), _ = look([put(tmp_path / "sent", "cat", seed=5)[half]])

    def folder(name):
        put(tmp_path / name / "embeddings", "cat", seed=1)
        return tmp_path / name / "embeddings"

    rehearsal = folder("rehearsal")
    before = visible(rehearsal)
    touches = touches_of(rehearsal, lambda: accept(offer, rehearsal, overwrite=True))
    after = visible(rehearsal)
    assert list(after) == [("cat.pt", "cat-neg.pt")[half]]
    for count in range(touches):
        out = folder(str(count))
        with killed_after(count, out):
            accept(offer, out, overwrite=True)
        repair(out)
        assert visible(out) in (before, after), f"killed after {count} of {touches} touches"


def test_what_is_kept_of_a_replaced_pair_is_whole_after_a_kill(tmp_path):
    (offer,), _ = look(put(tmp_path / "sent", "cat", seed=5))

    def root(name):
        put(tmp_path / name / "embeddings", "cat", seed=1)
        return tmp_path / name

    rehearsal = root("rehearsal")
    touches = touches_of(rehearsal, lambda: accept(offer, rehearsal / "embeddings", overwrite=True))
    old = load_pair(root("old") / "embeddings", "cat")
    for count in range(touches + 1):
        here = root(str(count))
        with killed_after(count, here):
            accept(offer, here / "embeddings", overwrite=True)
        repair(here / "embeddings")
        kept = [place for place in (here / "embeddings-training").glob("_trash/[!.]*") if any(place.iterdir())]
        places = kept or [here / "embeddings"]
        assert torch.equal(load_pair(places[0], "cat").negative["clip"], old.negative["clip"])
