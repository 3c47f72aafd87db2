"""A card that lies in the embeddings folder: shown, shared, unpacked, thrown away, kept when it is replaced."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image, PngImagePlugin

from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.files.card import card_bytes, read_card
from dreamartist_ext.files.card_files import card_word
from dreamartist_ext.files.importing import accept, look
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair
from dreamartist_ext.webui.concepts.shelf import Show
from dreamartist_ext.webui.concepts.tab import ConceptActions
from dreamartist_ext.webui.training.jobs import Desk
from testbed.hostile_files import in_png

from ...cli.test_cli import run
from ..test_api import SmallWorkplace, everything_in
from .test_shelf import ABOUT, names, only, put


def pair_of(name, seed=0):
    generator = torch.Generator().manual_seed(seed)
    halves = [{"clip": torch.randn(2, 6, generator=generator)} for _ in range(2)]
    return EmbeddingPair(name, halves[0], halves[1], 7, dict(ABOUT))


@pytest.fixture
def place(tmp_path):
    return SmallWorkplace(tmp_path)


@pytest.fixture
def page(place):
    return ConceptActions(Desk(place))


@pytest.fixture
def card(place):
    path = place.embeddings / "posted.PNG"
    path.write_bytes(card_bytes(pair_of("cat"), Image.new("RGB", (64, 64), "teal")))
    return path


def act(page, do, key):
    wish = json.dumps({"do": do, "key": key})
    return page.act(wish, "", Show.LEARNED.value, "Newest first")[1]


def test_it_is_shown_under_the_word_inside_it_with_its_own_picture(page, card):
    shown = only(page.shelf)
    assert (shown.concept.name, shown.facts.step, shown.facts.packed, shown.lacks) == ("cat", 7, 2, "")
    assert shown.preview.startswith(b"\xff\xd8")
    html = page.look("", Show.LEARNED.value, "Newest first")
    assert "prompts find only its positive half" in html
    assert "Reunite" not in html
    assert names(page.shelf.page(show=Show.BROKEN)) == []


def test_unpacked_it_is_two_files_and_the_card_is_in_the_trash(page, place, card):
    content = card.read_bytes()
    assert "cat is unpacked" in act(page, "unpack", only(page.shelf).concept.key)
    assert sorted(path.name for path in place.embeddings.iterdir()) == ["cat-neg.pt", "cat.pt"]
    assert pair_id(load_pair(place.embeddings, "cat")) == pair_id(pair_of("cat"))
    assert only(page.shelf).preview, "the picture of the card"
    (thrown,) = page.shelf.page(show=Show.TRASH).thrown
    assert (thrown.name, thrown.is_replaced) == ("cat", True)
    assert (thrown.place / "posted.PNG").read_bytes() == content


def test_it_is_deleted_brought_back_and_shared(page, place, card, tmp_path):
    before = everything_in(place.embeddings)
    concept = only(page.shelf).concept
    (_, shared), *_ = page.shelf.share(concept).items()
    (tmp_path / "shared.png").write_bytes(shared)
    assert pair_id(read_card(tmp_path / "shared.png")) == pair_id(pair_of("cat"))
    thrown = page.shelf.delete(concept)
    assert not everything_in(place.embeddings)
    assert page.shelf.bring_back(thrown) == "cat"
    assert everything_in(place.embeddings) == before


def test_its_name_stands_inside_it_and_is_not_changed_by_renaming_the_file(page, card):
    with pytest.raises(SettingError, match=r"stands inside the card posted\.PNG; make files of it first"):
        page.shelf.rename(only(page.shelf).concept, "tom")


def test_its_word_is_taken(page, place, card, tmp_path):
    with pytest.raises(SettingError, match=r"the name cat is taken by .*posted\.PNG"):
        RunFiles(place.embeddings, "cat").check_free()
    (offer,), _ = look(put(tmp_path / "sent", "cat", seed=5))
    with pytest.raises(SettingError, match=r"taken by posted\.PNG"):
        accept(offer, place.embeddings)
    accept(offer, place.embeddings, overwrite=True)
    assert not card.exists()
    assert len(list((tmp_path / "embeddings-training" / "_trash").glob("cat.replaced-*/posted.PNG"))) == 1


def test_a_card_that_convert_replaces_is_in_the_trash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "cat", seed=5)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat.png").write_bytes(b"an earlier picture")
    run("convert", "cat.pt", "out/cat.png", "--overwrite")
    (kept,) = (tmp_path / "out-training" / "_trash").glob("cat.replaced-*/cat.png")
    assert kept.read_bytes() == b"an earlier picture"


def test_pictures_and_previews_are_no_words(page, place):
    Image.new("RGB", (9, 9)).save(place.embeddings / "a.png")
    Image.new("RGB", (9, 9)).save(place.embeddings / "b.png", "JPEG")
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "sd-ti-embedding")
    Image.new("RGB", (9, 9)).save(place.embeddings / "c.png", pnginfo=info)
    (place.embeddings / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (place.embeddings / "e.png").mkdir()
    assert names(page.shelf.page(show=Show.ALL)) == []


def test_a_damaged_or_evil_card_is_said_and_its_word_leads_nowhere(page, place, tmp_path):
    numbers = {"TORCHTENSOR": [[0.5] * 6]}
    evil = {"string_to_param": {"*": numbers}, "name": "../../<b>evil", "step": 1}
    (place.embeddings / "evil.png").write_bytes(in_png(evil))
    (place.embeddings / "bad.png").write_bytes(in_png({"string_to_param": {"*": {"TORCHTENSOR": [[1e999]]}}}))
    assert card_word(place.embeddings / "evil.png") == "../../<b>evil"
    html = page.look("", Show.ALL.value, "By name")
    assert ("Refused: " in html, "<b>evil" in html, "&lt;b&gt;evil" in html) == (True, False, True)
    before = everything_in(tmp_path)
    for concept in [each.concept for each in page.shelf.page(show=Show.ALL).cards]:
        thrown = page.shelf.delete(concept)
        assert all(
            path.is_relative_to(tmp_path / "embeddings-training" / "_trash") for path in files_in(tmp_path, ".png")
        )
        page.shelf.bring_back(thrown)
        assert everything_in(tmp_path) == before


def files_in(root, suffix):
    moved = (root / "embeddings-training").rglob("*")
    outside = (path for path in root.rglob(f"*{suffix}") if "embeddings" not in path.relative_to(root).parts[0])
    return [*outside, *(path for path in moved if path.suffix == suffix)]


def test_an_ending_in_capitals_is_the_same_ending(page, place, tmp_path):
    for path in put(place.embeddings, "cat"):
        path.rename(path.with_suffix(".PT"))
    assert names(page.shelf.page()) == ["cat"]
    page.shelf.rename(only(page.shelf).concept, "tom")
    page.shelf.bring_back(page.shelf.delete(only(page.shelf).concept))
    assert sorted(path.name for path in place.embeddings.iterdir()) == ["tom-neg.PT", "tom.PT"]
    with pytest.raises(SettingError, match=r"taken by .*tom\.PT"):
        RunFiles(place.embeddings, "tom").check_free()
    (offer,), _ = look(put(tmp_path / "sent", "tom", seed=5))
    accept(offer, place.embeddings, overwrite=True)
    assert sorted(path.name for path in place.embeddings.iterdir()) == ["tom-neg.pt", "tom.pt"]
