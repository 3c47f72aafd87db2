"""My concepts without a browser: what the page's buttons do to files, and what the page says of strangers' ones."""

from __future__ import annotations

import io
import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import DreamArtistError, FileError, SettingError
from dreamartist_ext.files.concepts import index as concept_index
from dreamartist_ext.files.concepts import thumbnails
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair, load_snapshot, save_pair
from dreamartist_ext.webui.concepts.shelf import PAGE_SIZE, Order, Shelf, Show
from dreamartist_ext.webui.concepts.view import page_html, prompt_word
from dreamartist_ext.webui.training.job import Status
from dreamartist_ext.webui.training.jobs import Desk

from ...evaluation.studio import a_pair
from ..fake_workplace import FakeWorkplace
from ..test_api import SETTINGS, SmallWorkplace, everything_in, png

ABOUT = {"settings": json.dumps({"name": "x", "use_negative": True}), "model": "a model", "version": "1"}


@pytest.fixture
def place(tmp_path):
    return SmallWorkplace(tmp_path)


@pytest.fixture
def shelf(place):
    return Shelf(Desk(place))


def put(folder, name, seed=0, negative=True, width=6, about=ABOUT, **more):
    generator = torch.Generator().manual_seed(seed)
    halves = [{"clip": torch.randn(2, width, generator=generator)} for _ in range(2)]
    pair = EmbeddingPair(name, halves[0], halves[1] if negative else None, 7, dict(about))
    return save_pair(pair, folder, **more)


def trained(place, tmp_path, name="cat", **settings):
    (tmp_path / "photo.png").write_bytes(png())
    desk = Desk(place)
    job = desk.prepare(SETTINGS | {"name": name} | settings, [tmp_path / "photo.png"])
    assert desk.run(job).status is Status.DONE
    return desk


def names(page):
    return [card.concept.name for card in page.cards]


def only(shelf, show=Show.LEARNED):
    (card,) = shelf.page(show=show).cards
    return card


def test_a_trained_concept_has_a_card_with_its_last_picture(place, tmp_path):
    shelf = Shelf(trained(place, tmp_path))
    card = only(shelf)
    assert (card.concept.name, card.facts.step, card.kept_steps, card.lacks) == ("cat", 6, 3, "")
    assert card.facts.provenance["model"] == "small"
    assert not card.is_of_picture
    assert card.preview == thumbnails.read(place.embeddings, card.facts.key) != b""
    assert Image.open(io.BytesIO(card.preview)).format == "JPEG"
    assert {path.suffix for path in place.embeddings.iterdir()} == {".pt"}, "no picture where the WebUI looks for words"


def test_the_picture_is_that_of_the_step_in_use(place, tmp_path):
    desk = trained(place, tmp_path)
    shelf, files = Shelf(desk), desk.files("cat")
    before = only(shelf).facts.key
    desk.use_step("cat", 2)
    card = only(shelf)
    assert card.facts.step == 2
    assert card.facts.key != before
    assert card.preview == thumbnails.small_jpeg((files.folder / "cat-000002.jpg").read_bytes())


def test_without_previews_there_is_a_picture_of_the_end_all_the_same(place, tmp_path):
    (tmp_path / "photo.png").write_bytes(png())
    desk = Desk(place)
    job = desk.prepare(SETTINGS | {"name": "cat"}, [tmp_path / "photo.png"])
    job.previews_wanted = False
    desk.run(job)
    card = only(Shelf(desk))
    assert card.preview
    assert not card.is_of_picture
    assert job.previews == ()


def test_in_a_webui_its_own_cards_show_the_picture_too_and_it_goes_where_the_pair_goes(place, tmp_path):
    place.has_cards = True
    desk = trained(place, tmp_path)
    shelf, shown = Shelf(desk), place.embeddings / "cat.preview.png"
    first = shown.read_bytes()
    assert Image.open(shown).format == "PNG"
    assert Image.open(place.embeddings / "cat-neg.preview.png").mode == "L", "its negative's is told from it by grey"
    assert names(shelf.page(show=Show.ALL)) == ["cat"], "it is no word"
    desk.use_step("cat", 2)
    assert shown.read_bytes() != first, "ours is brought up to date"
    shelf.rename(only(shelf).concept, "tom")
    both = {"tom.pt", "tom-neg.pt", "tom.preview.png", "tom-neg.preview.png"}
    assert {path.name for path in place.embeddings.iterdir()} == both
    thrown = shelf.delete(only(shelf).concept)
    assert not list(place.embeddings.iterdir())
    shelf.bring_back(thrown)
    assert {path.name for path in place.embeddings.iterdir()} == both


@pytest.mark.parametrize("ending", [".preview.png", ".preview.jpg", ".png"])
def test_a_picture_that_the_user_put_on_the_webuis_card_stays(place, tmp_path, ending):
    place.has_cards = True
    own = place.embeddings / f"cat{ending}"
    Image.new("RGB", (9, 9)).save(own)
    before = own.read_bytes()
    trained(place, tmp_path)
    assert own.read_bytes() == before
    negative = {"cat-neg.pt", "cat-neg.preview.png"}
    assert {path.name for path in place.embeddings.iterdir()} == {"cat.pt", own.name} | negative


def test_a_concept_without_a_drawing_is_drawn_when_asked_for(tmp_path):
    place = FakeWorkplace(tmp_path)  # whose model draws
    save_pair(a_pair("cat", 1), place.embeddings)
    shelf = Shelf(Desk(place))
    card = only(shelf)
    assert not card.preview
    assert 'data-dreamartist-do="draw"' in page_html(shelf.page(), Show.LEARNED, False)
    place.has_cards = True
    with place.turn:
        drawing = shelf.drawer.begin(card.concept)
        assert only(shelf).is_drawn_now
        assert "as soon as the model is free" in page_html(shelf.page(), Show.LEARNED, False)
        with pytest.raises(SettingError, match="another concept is being drawn"):
            shelf.drawer.begin(card.concept)
    drawing.join(60)
    assert (shelf.drawer.problem, shelf.drawer.finished) == (("", ""), 1)
    card = only(shelf)
    assert card.preview
    assert not card.is_of_picture
    assert (place.embeddings / "cat.preview.png").is_file()
    assert 'data-dreamartist-do="draw"' not in page_html(shelf.page(), Show.LEARNED, False)


def test_a_drawing_that_fails_says_so_on_its_card(shelf, place):
    put(place.embeddings, "wide", width=99)
    shelf.drawer.begin(only(shelf).concept).join(60)
    key, words = shelf.drawer.problem
    assert key == only(shelf).concept.key
    assert words


def test_a_concept_without_a_preview_shows_what_it_was_learned_from(place, tmp_path):
    shelf = Shelf(trained(place, tmp_path))
    shutil.rmtree(thumbnails.path_of(place.embeddings, "x").parent)
    card = only(shelf)
    assert card.is_of_picture
    assert Image.open(io.BytesIO(card.preview)).getpixel((5, 5))[0] > 200, "the red picture"


def test_a_preview_belongs_to_the_vectors_and_not_to_the_name(shelf, place):
    put(place.embeddings, "cat")
    card = only(shelf)
    thumbnails.keep(place.embeddings, card.facts.key, png("blue", (500, 400)))
    assert only(shelf).preview
    (place.embeddings / "cat.pt").rename(place.embeddings / "tom.pt")
    (place.embeddings / "cat-neg.pt").rename(place.embeddings / "tom-neg.pt")
    assert only(shelf).preview
    put(place.embeddings, "tom", seed=5)
    assert not only(shelf).preview
    small = Image.open(thumbnails.path_of(place.embeddings, card.facts.key))
    assert max(small.size) <= thumbnails.SIDE


def test_what_is_no_picture_is_no_preview(place):
    with pytest.raises(FileError, match="no picture"):
        thumbnails.keep(place.embeddings, "x", b"<svg onload=alert(1)>")
    assert thumbnails.read(place.embeddings, "x") == b""


def test_learned_concepts_are_told_from_any_embedding(shelf, place):
    put(place.embeddings, "cat")
    put(place.embeddings, "tom", negative=False)
    put(place.embeddings, "plain", negative=False, about={})
    (place.embeddings / "lost-neg.pt").write_bytes((place.embeddings / "cat-neg.pt").read_bytes())
    (place.embeddings / "bad.pt").write_bytes(b"no")
    assert names(shelf.page(order=Order.NAME)) == ["cat", "lost-neg", "tom"]
    assert names(shelf.page(show=Show.ALL, order=Order.NAME)) == ["bad", "cat", "lost-neg", "plain", "tom"]
    assert names(shelf.page(show=Show.BROKEN, order=Order.NAME)) == ["bad", "lost-neg", "tom"]
    assert names(shelf.page("O", order=Order.NAME)) == ["lost-neg", "tom"]


def test_the_newest_come_first_and_pages_have_an_end(shelf, place):
    for number in range(PAGE_SIZE + 2):
        path = put(place.embeddings, f"c{number:03}", number, negative=False)[0]
        os.utime(path, (1_700_000_000 + number,) * 2)
    page = shelf.page()
    assert names(page)[:2] == [f"c{PAGE_SIZE + 1:03}", f"c{PAGE_SIZE:03}"]
    assert (page.pages, page.found, len(page.cards)) == (2, PAGE_SIZE + 2, PAGE_SIZE)
    assert names(shelf.page(number=1)) == ["c001", "c000"]
    assert shelf.page(number=99).number == 1
    assert shelf.page(number=-5).number == 0


def test_a_file_is_read_once_for_each_state(shelf, place, monkeypatch):
    put(place.embeddings, "cat")
    read = []
    real = concept_index.facts_of
    monkeypatch.setattr(concept_index, "facts_of", lambda path: read.append(path.name) or real(path))
    shelf.page()
    shelf.page()
    assert sorted(read) == ["cat-neg.pt", "cat.pt"]
    put(place.embeddings, "cat", seed=3)
    os.utime(place.embeddings / "cat.pt", (1, 1))
    shelf.page()
    assert len(read) > 2


def test_a_page_of_thousands_opens_the_files_that_it_shows(shelf, place, monkeypatch):
    first = put(place.embeddings, "c0000", negative=False, about={})[0]
    for number in range(1, 2000):
        os.link(first, place.embeddings / f"c{number:04}.pt")
    read = []
    real = concept_index.facts_of
    monkeypatch.setattr(concept_index, "facts_of", lambda path: read.append(path.name) or real(path))
    assert shelf.page(show=Show.ALL).found == 2000
    assert len(read) <= PAGE_SIZE


def test_renaming_takes_everything_along(place, tmp_path):
    desk = trained(place, tmp_path)
    shelf = Shelf(desk)
    before = only(shelf)
    vectors = load_pair(place.embeddings, "cat").named()
    learnings = place.learnings
    shelf.rename(before.concept, "tom")
    after = only(shelf)
    assert (after.concept.name, after.kept_steps, after.preview) == ("tom", 3, before.preview)
    found = load_pair(place.embeddings, "tom").named()
    assert all(
        torch.equal(found[new]["clip"], vectors[old]["clip"]) for old, new in (("cat", "tom"), ("cat-neg", "tom-neg"))
    )
    assert {path.name for path in place.embeddings.iterdir()} == {"tom.pt", "tom-neg.pt"}
    assert not RunFiles(place.embeddings, "cat").folder.exists()
    assert place.learnings == learnings + 1
    files = RunFiles(place.embeddings, "tom")
    files.use_step(2)
    assert load_pair(place.embeddings, "tom").step == 2
    assert json.loads(load_snapshot(files.snapshot).config)["name"] == "tom"


def test_a_renamed_training_goes_on_as_it_would_have(place, tmp_path):
    trained(place, tmp_path, "cat")
    whole = load_pair(place.embeddings, "cat").positive["clip"]
    place.embeddings.joinpath("cat.pt").unlink()
    place.embeddings.joinpath("cat-neg.pt").unlink()
    shutil.rmtree(RunFiles(place.embeddings, "cat").folder)
    desk = trained(place, tmp_path, "cat", steps=4)
    Shelf(desk).rename(Shelf(desk).named("cat"), "tom")
    again = Desk(place)
    assert again.run(again.prepare_continuation("tom", 6)).status is Status.DONE
    assert torch.equal(load_pair(place.embeddings, "tom").positive["clip"], whole)
    assert not (place.embeddings / "cat.pt").exists()


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("../x", "name must be letters"),
        ("tom-neg", "must not end"),
        ("con", "Windows reserves"),
        ("<img src=x>", "name must be letters"),
        ("dog", "is taken"),
        ("DOG", "is taken"),
        ("taken", "prompts would take"),
        ("cat", "its name already"),
        ("", "name must be letters"),
    ],
)
def test_a_name_that_cannot_be_used_changes_nothing(shelf, place, new, words):
    put(place.embeddings, "cat")
    put(place.embeddings, "dog")
    before = everything_in(place.embeddings)
    with pytest.raises(SettingError, match=words):
        shelf.rename(shelf.named("cat"), new)
    assert everything_in(place.embeddings) == before


def test_only_the_spelling_can_change(shelf, place):
    put(place.embeddings, "cat")
    shelf.rename(shelf.named("cat"), "Cat")
    assert {path.name for path in place.embeddings.iterdir()} == {"Cat.pt", "Cat-neg.pt"}


def test_a_strangers_name_can_become_a_good_one(shelf, place):
    path = put(place.embeddings, "cat", negative=False)[0]
    path.rename(place.embeddings / "my cat (2).pt")
    shelf.rename(shelf.named("my cat (2)"), "cat2")
    assert [path.name for path in place.embeddings.iterdir()] == ["cat2.pt"]


@pytest.mark.parametrize("action", ["rename", "delete"])
@pytest.mark.parametrize("refused", ["cat.pt", "cat-neg.pt", "cat"])
def test_a_folder_that_cannot_be_written_to_stays_as_it_is(place, tmp_path, monkeypatch, action, refused):
    shelf = Shelf(trained(place, tmp_path))
    before = everything_in(tmp_path)
    real = Path.rename

    def read_only(source, target):
        if source.name == refused:
            raise PermissionError(13, "Permission denied")
        return real(source, target)

    monkeypatch.setattr(Path, "rename", read_only)
    with pytest.raises(FileError, match="could not be moved: Permission denied"):
        shelf.rename(shelf.named("cat"), "tom") if action == "rename" else shelf.delete(shelf.named("cat"))
    monkeypatch.undo()
    assert everything_in(tmp_path) == before


def test_a_full_disk_undoes_a_renaming(place, tmp_path, monkeypatch):
    shelf = Shelf(trained(place, tmp_path))
    before = everything_in(tmp_path)

    def full(*_):
        raise FileError("no space left.")

    monkeypatch.setattr("dreamartist_ext.files.concepts.changes.save_snapshot", full)
    with pytest.raises(FileError, match="no space"):
        shelf.rename(shelf.named("cat"), "tom")
    assert everything_in(tmp_path) == before


def test_delete_and_bring_back(place, tmp_path):
    shelf = Shelf(trained(place, tmp_path))
    before = everything_in(tmp_path)
    thrown = shelf.delete(shelf.named("cat"))
    assert names(shelf.page(show=Show.ALL)) == []
    assert not list(thumbnails.path_of(place.embeddings, "x").parent.iterdir()), "its picture went along"
    (item,) = shelf.page(show=Show.TRASH).thrown
    assert (item.name, item.key) == ("cat", thrown)
    assert shelf.bring_back(thrown) == "cat"
    assert everything_in(tmp_path) == before
    with pytest.raises(FileError, match="not in the trash"):
        shelf.bring_back(thrown)


def test_the_trash_holds_two_of_one_name(shelf, place):
    put(place.embeddings, "cat", seed=1)
    first = shelf.delete(shelf.named("cat"))
    put(place.embeddings, "cat", seed=2)
    second = shelf.delete(shelf.named("cat"))
    assert [item.key for item in shelf.page(show=Show.TRASH).thrown] == [second, first]
    shelf.bring_back(first)
    with pytest.raises(SettingError, match="is taken"):
        shelf.bring_back(second)


STRANGE = [
    "..",
    "a" * 240,
    "<img src=x onerror=alert(1)>",
    'x" onclick="alert(1)',
    "\u202egnp.tac",
    "猫",
    "a&b",
    "-neg",
]


@pytest.mark.parametrize("name", STRANGE)
def test_whatever_a_file_is_called_it_goes_and_comes_back(shelf, place, tmp_path, name):
    put(place.embeddings, "keep")
    put(place.embeddings, "cat", seed=1, negative=False)[0].rename(place.embeddings / f"{name}.pt")
    before = everything_in(tmp_path)
    (concept,) = [c for c in concept_index.concepts_in(place.embeddings) if c.name != "keep"]
    assert concept.name == name
    assert shelf.find(concept.key) == concept
    shelf.bring_back(shelf.delete(concept))
    assert everything_in(tmp_path) == before


def test_a_name_that_is_not_text_does_not_break_the_page(shelf, place):
    path = put(place.embeddings, "cat", negative=False)[0]
    path.rename(place.embeddings / os.fsdecode(b"\xff\xfe.pt"))
    html = page_html(shelf.page(show=Show.ALL), Show.ALL, False)
    html.encode()
    assert html.count("<article") == 1


def test_halves_find_each_other_again(shelf, place):
    put(place.embeddings, "cat", seed=1)
    put(place.embeddings, "cow", seed=2, negative=False)
    (place.embeddings / "cat.pt").rename(place.embeddings / "tom.pt")
    negative, positive = shelf.page(order=Order.NAME).cards[0], shelf.page("tom").cards[0]
    assert (negative.concept.name, negative.lacks) == ("cat-neg", "positive")
    assert (positive.lacks, positive.others[0][0].name, positive.others[0][1]) == ("negative", "cat-neg", True)
    assert [(other.name, certain) for other, certain in negative.others] == [("tom", True), ("cow", False)]
    assert shelf.reunite(negative.concept, negative.others[0][0]) == "tom"
    assert {path.name for path in place.embeddings.iterdir()} == {"tom.pt", "tom-neg.pt", "cow.pt"}
    card = shelf.page("tom").cards[0]
    assert (card.lacks, card.is_mixed) == ("", False)


def test_halves_of_different_kinds_are_no_pair(shelf, place):
    put(place.embeddings, "cat", negative=False)
    put(place.embeddings, "dog", width=768)
    (place.embeddings / "dog.pt").unlink()
    with pytest.raises(SettingError, match="they are no pair"):
        shelf.reunite(shelf.named("cat"), shelf.named("dog"))
    with pytest.raises(SettingError, match="cannot be the negative"):
        shelf.reunite(shelf.named("cat"), shelf.named("cat"))
    put(place.embeddings, "cow")
    with pytest.raises(SettingError, match="has a negative of its own"):
        shelf.reunite(shelf.named("cat"), shelf.named("cow"))


def test_two_halves_of_different_trainings_are_told(shelf, place):
    put(place.embeddings, "cat", seed=1)
    put(place.embeddings, "dog", seed=2)
    (place.embeddings / "dog-neg.pt").replace(place.embeddings / "cat-neg.pt")
    card = shelf.page("cat").cards[0]
    assert card.is_mixed
    assert "were not learned together" in page_html(shelf.page("cat"), Show.LEARNED, True)


def test_files_that_vanish_or_break_in_between_are_sentences(shelf, place, monkeypatch):
    put(place.embeddings, "cat")
    put(place.embeddings, "dog", seed=2)
    (place.embeddings / "bad.pt").write_bytes(b"PK\3\4 no")
    (place.embeddings / "empty.safetensors").write_bytes(b"")
    (place.embeddings / "folder.pt").mkdir()
    concept = shelf.named("dog")
    real = concept_index.load_embedding

    def gone(path):
        path.unlink(missing_ok=True)
        return real(path)

    monkeypatch.setattr(concept_index, "load_embedding", gone)
    html = page_html(shelf.page(show=Show.ALL), Show.ALL, False)
    assert html.count("Refused:") == 4
    monkeypatch.undo()
    assert names(shelf.page(show=Show.ALL)) == []
    with pytest.raises(DreamArtistError):
        shelf.delete(concept)
    with pytest.raises(FileError, match="not in the folder any more"):
        shelf.find(concept.key)


def test_a_file_that_becomes_readable_is_read_again(shelf, place, monkeypatch):
    put(place.embeddings, "cat")
    real = concept_index.facts_of

    def refused(path):
        try:
            raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise FileError("cat.pt could not be read.") from error

    monkeypatch.setattr(concept_index, "facts_of", refused)
    assert only(shelf).facts.problem
    monkeypatch.setattr(concept_index, "facts_of", real)
    assert not only(shelf).facts.problem


def test_there_may_be_no_folder_at_all(shelf, place):
    place.embeddings.rmdir()
    for show in Show:
        assert shelf.page(show=show).found == 0
        assert "<" in page_html(shelf.page(show=show), show, False)


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_what_strangers_write_is_text(shelf, place):
    evil = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202e'
    for number, name in enumerate(STRANGE):
        about = {"settings": '{"use_negative": true}', "model": evil, "version": evil, evil: evil}
        path = put(place.embeddings, "x", number, negative=False, about=about)[0]
        path.rename(place.embeddings / f"{name}.pt")
    html = page_html(shelf.page(show=Show.ALL), Show.ALL, False)
    found = Elements(html).found
    assert {tag for tag, _ in found} <= {
        *("article", "div", "bdi", "button", "details", "summary", "input", "span", "select", "option", "label"),
    }
    assert not [key for _, attributes in found for key in attributes if key.startswith("on")]
    assert "\u202e" not in html
    assert html.count("<article") == len(STRANGE)


def test_a_name_with_brackets_is_typed_as_the_webui_reads_it():
    assert prompt_word("my cat (2) [x]") == r"my cat \(2\) \[x\]"
    assert prompt_word("mycat") == "mycat"
    assert prompt_word("a\u202eb") == ""


def test_what_is_being_trained_is_left_alone(place, tmp_path):
    put(place.embeddings, "cat")
    put(place.embeddings, "dog", seed=1)
    desk = Desk(place)
    (tmp_path / "photo.png").write_bytes(png())
    desk.prepare(SETTINGS | {"name": "cat"}, [tmp_path / "photo.png"], overwrite=True)
    shelf = Shelf(desk)
    for attempt in (
        lambda: shelf.delete(shelf.named("cat")),
        lambda: shelf.rename(shelf.named("cat"), "tom"),
        lambda: shelf.rename(shelf.named("dog"), "Cat"),
    ):
        with pytest.raises(SettingError, match="is being trained"):
            attempt()
