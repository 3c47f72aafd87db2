"""My concepts gives away a card and takes in what strangers send: looked at first, imported only when asked."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.files.card import card_bytes, read_card
from dreamartist_ext.files.card_drawing import HEIGHT, WIDTH
from dreamartist_ext.files.concepts import thumbnails
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair, save_pair
from dreamartist_ext.webui.concepts.dropped import file_name
from dreamartist_ext.webui.concepts.shelf import Show
from dreamartist_ext.webui.concepts.tab import ConceptActions
from dreamartist_ext.webui.training.jobs import Desk
from testbed.hostile_files import png_chunk

from ..test_api import SmallWorkplace, everything_in
from .test_shelf import names, only, put, trained

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "here").mkdir()
    return SmallWorkplace(tmp_path / "here")


@pytest.fixture
def page(place):
    return ConceptActions(Desk(place))


def act(page, do, key="", value="", files=None):
    """What the page says, and what it shows of the files that were dropped."""
    wish = json.dumps({"do": do, "key": str(key), "value": value})
    _, says, offers = page.act(wish, "", "Learned concepts", "Newest first", files)
    return says, offers


def saved(html, folder):
    """The files behind the links, as a browser would save them."""
    folder.mkdir(exist_ok=True)
    for name, content in re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', html):
        (folder / name).write_bytes(base64.b64decode(content))
    return sorted(folder.iterdir())


def test_what_is_shared_is_imported_whole_elsewhere(page, place, tmp_path):
    put(place.embeddings, "mycat")
    html, _ = act(page, "share", only(page.shelf).concept.key)
    files = saved(html, tmp_path / "sent")
    assert [path.name for path in files] == ["mycat-neg.safetensors", "mycat.png", "mycat.safetensors"]
    (tmp_path / "there").mkdir()
    there = SmallWorkplace(tmp_path / "there")
    other = ConceptActions(Desk(there))
    for name, some in (("fromcard", files[1:2]), ("fromfiles", [files[2], files[0]])):
        assert "a pair" in other.offered([str(path) for path in some])
        says, offers = act(other, "import", 0, name, [str(path) for path in some])
        assert f"{name} is here" in says
        assert pair_id(load_pair(there.embeddings, name)) == pair_id(load_pair(place.embeddings, "mycat"))
    assert "It is here already" not in offers, "it has another name here"
    assert names(other.shelf.page()) == ["fromfiles", "fromcard"]


def test_the_card_shows_what_was_drawn_and_brings_it_along(tmp_path, place, page):
    put(place.embeddings, "mycat")
    picture = io.BytesIO()
    Image.new("RGB", (600, 600), (200, 30, 40)).save(picture, "PNG")
    thumbnails.keep(place.embeddings, only(page.shelf).facts.key, picture.getvalue())
    (card,) = [
        path for path in saved(act(page, "share", only(page.shelf).concept.key)[0], tmp_path) if path.suffix == ".png"
    ]
    with Image.open(card) as drawn:
        assert drawn.size == (WIDTH, HEIGHT)
        assert np.abs(np.array(drawn.getpixel((WIDTH // 2, 400))) - (200, 30, 40)).max() < 8
    (tmp_path / "there").mkdir()
    other = ConceptActions(Desk(SmallWorkplace(tmp_path / "there")))
    act(other, "import", 0, "", [str(card)])
    preview = Image.open(io.BytesIO(only(other.shelf).preview))
    assert np.abs(np.array(preview.getpixel((preview.width // 2,) * 2)) - (200, 30, 40)).max() < 8


def test_a_card_never_shows_the_picture_that_was_learned_from(tmp_path, place):
    desk = trained(place, tmp_path)
    page = ConceptActions(desk)
    for path in RunFiles(place.embeddings, "x").folder.parent.glob("_previews/*"):
        path.unlink()
    card = only(page.shelf)
    assert card.is_of_picture
    drawn = saved(act(page, "share", card.concept.key)[0], tmp_path / "sent")[1]
    learned_from = np.array(Image.open(io.BytesIO(card.preview)).convert("RGB").resize((64, 64)), dtype=float)
    on_card = np.array(Image.open(drawn).crop((60, 60, 700, 700)).resize((64, 64)), dtype=float)
    assert np.abs(learned_from - on_card).mean() > 20


def test_a_lone_negative_is_not_shared(page, place):
    put(place.embeddings, "mycat")[0].unlink()
    card = only(page.shelf)
    assert ">Share<" not in page.look("", "Learned concepts", "Newest first")
    wish = json.dumps({"do": "share", "key": card.concept.key, "value": ""})
    cards, says, _ = page.act(wish, "", "Learned concepts", "Newest first", None)
    assert cards.count("Only the negative half") == 2, "what is wrong with it, and what came of the click"
    assert not says


def test_a_card_whose_picture_is_damaged_is_imported_without_its_picture(page, place, tmp_path):
    pair = load_pair(put(tmp_path / "sent", "mycat")[0].parent, "mycat")
    content = card_bytes(pair, Image.new("RGB", (8, 8)))
    (tmp_path / "x.png").write_bytes(content[:-12] + png_chunk(b"gAMA", b"1") + content[-12:])
    says, _ = act(page, "import", 0, "mycat", [str(tmp_path / "x.png")])
    assert "mycat is here" in says
    assert pair_id(load_pair(place.embeddings, "mycat")) == pair_id(pair)


def test_nothing_is_replaced_without_being_asked_and_the_earlier_one_is_kept(page, place, tmp_path):
    put(place.embeddings, "mycat", seed=1)
    files = [str(path) for path in put(tmp_path / "sent", "mycat", seed=2)]
    before = everything_in(place.embeddings)
    assert "mycat.pt and mycat-neg.pt would be replaced" in page.offered(files)
    assert "is taken by mycat.pt" in act(page, "import", 0, "mycat", files)[0]
    assert everything_in(place.embeddings) == before
    says, offers = act(page, "replace", 0, "mycat", files)
    assert ("mycat is here" in says, "It is here already" in offers) == (True, True)
    assert pair_id(load_pair(place.embeddings, "mycat")) == pair_id(load_pair(tmp_path / "sent", "mycat"))
    act(page, "rename", only(page.shelf).concept.key, "newcat")
    (thrown,) = page.shelf.page(show=Show.TRASH).thrown
    assert thrown.is_replaced
    assert "replaced 20" in page.look("", "Trash", "Newest first")
    act(page, "undo", thrown.key)
    assert {path: everything_in(place.embeddings)[path] for path in before} == before


def test_only_the_last_version_before_is_kept(place, tmp_path):
    files = RunFiles(place.embeddings, "mycat")
    for seed in range(4):
        files.put_in_use(EmbeddingPair("mycat", {"clip": torch.full((1, 6), float(seed))}))
    (kept,) = (files.folder.parent / "_trash").iterdir()
    assert torch.equal(load_pair(kept, "mycat").positive["clip"], torch.full((1, 6), 2.0))


def test_refused_files_say_why_and_leave_nothing(page, place, tmp_path):
    for name, content in ((f"{EVIL}.pt", b"evil"), ("x.zip", b"PK\3\4"), ("photo.png", b"\x89PNG\r\n\x1a\n")):
        (tmp_path / name).write_bytes(content)
    files = [str(path) for path in tmp_path.iterdir() if path.is_file()]
    html = page.offered(files)
    assert html.count("Refused: ") == 3
    assert EVIL not in html
    assert "that file is not here any more" in act(page, "import", 0, "x", files)[0].lower()
    assert not place.embeddings.exists() or not list(place.embeddings.iterdir())


@pytest.mark.parametrize(
    ("negative", "width", "says"),
    [
        (True, 768, "a positive half"),
        (False, 768, "a single embedding"),
        (False, 5, "No model in wide use has vectors 5 wide."),
    ],
)
def test_what_is_offered_is_told(page, tmp_path, negative, width, says):
    path = put(tmp_path / "sent", "mycat", width=width, negative=negative)[0]
    html = page.offered([str(path)])
    assert says in html
    assert ("The other half is not among these files" in html) == negative


def test_a_strangers_words_are_text_in_an_offer(page, tmp_path):
    about = {"model": EVIL, "made": EVIL, "settings": "{}"}
    path = put(tmp_path / "sent", "mycat", about=about)[0].rename(tmp_path / "sent" / f"{EVIL}.pt")
    html = page.offered([str(path)])
    assert (EVIL in html, "&lt;img src=x" in html) == (False, True)


def test_a_card_that_a_website_rewrote_is_said_to_be_damaged(page, place, tmp_path):
    put(place.embeddings, "mycat")
    files = saved(act(page, "share", only(page.shelf).concept.key)[0], tmp_path / "sent")
    with Image.open(files[1]) as card:
        card.resize((512, 736)).save(tmp_path / "posted.jpg", quality=70)
    assert "posted.jpg was a DreamArtist card" in page.offered([str(tmp_path / "posted.jpg")])


def test_a_shared_concept_says_where_it_is_from_but_not_what_it_learned_from(place, tmp_path):
    page = ConceptActions(trained(place, tmp_path))
    files = saved(act(page, "share", only(page.shelf).concept.key)[0], tmp_path / "sent")
    about = read_card(files[1]).provenance
    assert (about["model"], about["model_hash"]) == ("small", "0123456789")
    for path in files:
        assert b"photo" not in path.read_bytes().replace(b"a photo of", b"")


def test_sdxl_vectors_are_shared_and_imported(place, page, tmp_path):
    both = {"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}
    about = {"settings": json.dumps({"use_negative": True})}
    save_pair(EmbeddingPair("xl", both, both, 5, about), place.embeddings)
    files = saved(act(page, "share", only(page.shelf).concept.key)[0], tmp_path / "sent")
    says, _ = act(page, "import", 0, "copy", [str(files[1])])
    assert "copy is here" in says
    assert {path.name for path in place.embeddings.glob("copy*")} == {"copy.safetensors", "copy-neg.safetensors"}


def sent(*files):
    """As the page's script sends what was dropped."""
    items = [{"name": name, "data": f"data:;base64,{base64.b64encode(content).decode()}"} for name, content in files]
    return json.dumps(items)


def test_what_is_dropped_arrives_byte_by_byte_and_what_lay_there_before_goes(page, tmp_path):
    content = [
        (path.name, path.read_bytes())
        for path in save_pair(
            EmbeddingPair("cat", {"clip": torch.ones(2, 768)}, {"clip": torch.ones(3, 768)}), tmp_path
        )
    ]
    html, files = page.dropped(sent(*content, ("x.zip", b"PK")), [])
    assert "a pair" in html and "x.zip cannot be imported" in html
    assert [Path(path).read_bytes() for path in files] == [*(each for _, each in content), b"PK"]
    html, others = page.dropped(sent(("../x.zip", b""), ("x.zip", b"PK")), files)
    assert not any(Path(path).exists() for path in files)
    assert [Path(path).name for path in others] == [".._x.zip", "x.zip"]
    assert page.dropped("", others) == ["", []]


@pytest.mark.parametrize(
    "given", ["[", "{}", '["x"]', '[{"name": "a.pt", "data": "data:,unread"}]', '[{"name": "a.pt"}]']
)
def test_what_did_not_arrive_whole_is_said(page, given):
    html, files = page.dropped(given, [])
    assert ("did not arrive whole" in html or "a.pt" in html) and 'class="dreamartist-' in html
    assert [Path(path).stat().st_size for path in files] in ([], [0])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a b-neg.pt", "a b-neg.pt"),
        ("/etc/x.pt", "_etc_x.pt"),
        ("..", "file"),
        ("", "file"),
        ("猫.pt", "猫.pt"),
        ("x\0<y>.pt", "x__y_.pt"),
    ],
)
def test_a_strangers_file_name_is_one_here(given, name):
    assert file_name(given) == name


def test_of_a_long_file_name_the_end_stays():
    name = file_name("猫" * 200 + "-neg.pt")
    assert name.endswith("猫-neg.pt") and len(name.encode()) <= 200


@pytest.mark.parametrize(
    ("stem", "says"),
    [("cat", "&quot;cat&quot; is an ordinary word"), ("t", "is found in other words too"), ("mycat2", "")],
)
def test_an_ordinary_word_is_warned_of_when_it_is_imported_or_a_name_is_given(page, place, tmp_path, stem, says):
    path = put(tmp_path / "sent", stem)[0]
    offered = page.offered([str(path)])
    assert (says in offered) if says else "every prompt with" not in offered
    put(place.embeddings, "before")
    key = only(page.shelf, Show.ALL).concept.key
    said, _ = act(page, "rename", key, stem)
    assert f"before is called {stem} now." in said
    assert (says in said) if says else "every prompt with" not in said
