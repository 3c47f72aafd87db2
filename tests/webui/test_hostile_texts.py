"""Names that are no UTF-8, pipes, loops and half characters take no route down, in a folder or in a request."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.files.atomic import finish_interrupted
from dreamartist_ext.files.card_files import card_word
from dreamartist_ext.files.concepts.index import concepts_in
from dreamartist_ext.files.concepts.trash import list_trash
from dreamartist_ext.files.storage import load_snapshot, save_pair
from dreamartist_ext.webui import api_guards
from dreamartist_ext.webui.concepts.shelf import Order, Show
from dreamartist_ext.webui.concepts.tab import ConceptActions
from dreamartist_ext.webui.training.recall import trainings_in
from testbed.embedding_families import in_text, png, vectors
from testbed.hostile_files import png_chunk

from ..files.test_storage import pair
from .test_api import V1, client, client_of, desk, place, trained, wish  # noqa: F401  (fixtures)


@pytest.fixture
def folder(place):  # noqa: F811
    save_pair(pair(), place.embeddings)
    return place.embeddings


HOSTILE = {
    "an old zip's name": b"caf\xe9.pt",
    "a pair of that": b"caf\xe9-neg.pt",
    "another ending": b"\xff\xfe.safetensors",
    "a card": b"\x80.png",
    "a line break": b"two\nlines.pt",
    "255 bytes": b"x" * 252 + b".pt",
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_a_file_of_any_name_takes_no_listing_down(client, folder, case):  # noqa: F811
    path = os.fsencode(folder) + b"/" + HOSTILE[case]
    with open(path, "wb") as file:  # noqa: PTH123
        file.write((folder / "mycat.pt").read_bytes())
    answer = client.get(f"{V1}/concepts")
    assert answer.status_code == 200
    assert "mycat" in [concept["name"] for concept in answer.json()["concepts"]]
    assert client.get(f"{V1}/status").status_code == 200


@pytest.mark.parametrize("ending", [".pt", ".png", ".safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "loop", "folder", "nowhere"])
def test_what_is_no_file_takes_no_listing_down(client, folder, kind, ending):  # noqa: F811
    path = folder / f"x{ending}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "loop" else folder / "gone")
    assert card_word(path) == ""
    names = [concept["name"] for concept in client.get(f"{V1}/concepts").json()["concepts"]]
    assert names == ["mycat"]


HALVES = {
    "name": ("train", wish("\ud800")),
    "a name inside the settings": ("train", wish(settings={"caption": "a \ud800"})),
    "the name of a setting": ("train", wish(settings={"\udfff": 1})),
    "a picture": ("train", wish(pictures=["\ud83d"])),
    "how to cancel": ("cancel", {"how": "\udc00"}),
    "an unknown key": ("cancel", {"\udc00": 1}),
    "what to continue": ("continue", {"name": "\ud800"}),
    "a prompt": ("compare", {"name": "mycat", "prompts": ["[name] \ud800"]}),
    "names to evaluate": ("evaluate", {"names": ["\ud800"]}),
}


@pytest.mark.parametrize("case", sorted(HALVES))
def test_half_a_character_in_a_request_is_a_sentence(client, case):  # noqa: F811
    route, body = HALVES[case]
    answer = client.post(f"{V1}/{route}", content=json.dumps(body))
    assert (answer.status_code, "half a character" in answer.json()["detail"]) == (400, True), answer.text


NO_TEXT = {
    "half a character in bytes": b'{"name": "\xed\xa0\x80", "how": "\xed\xa0\x80", "prompts": ["[name] \xed\xa0\x80"]}',
    "Latin-1": b'{"name": "caf\xe9", "how": "caf\xe9"}',
    "UTF-16": '{"name": "\\ud800", "how": "\\ud800"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"name": "\\ud800", "how": "\\ud800"}'.encode("utf-16-le"),
    "UTF-32": '{"name": "\\ud800", "how": "\\ud800"}'.encode("utf-32"),
    "the second of two": b'{"name": "mycat", "name": "\xed\xb0\x80"}',
}
POSTS = ("train", "cancel", "continue", "compare", "compare/cancel", "evaluate", "evaluate/cancel")


@pytest.mark.parametrize("case", sorted(NO_TEXT))
def test_a_request_that_is_no_utf8_is_a_sentence(client, case):  # noqa: F811
    for route in POSTS:
        answer = client.post(f"{V1}/{route}", content=NO_TEXT[case])
        assert (answer.status_code, "UTF-8" in answer.json()["detail"]) == (400, True), (route, answer.text)


NO_VALUES = {
    "no number": b'{"name": NaN, "how": NaN, "pictures": [NaN], "prompts": [NaN], "names": NaN}',
    "no end": b'{"name": "x", "how": "stop", "steps": 1e999, "seeds": 1e999, "what": Infinity}',
    "beside others": b'{"name": "x", "prompts": ["[name]"], "names": ["x"], "steps": NaN, "seeds": -Infinity}',
    "an unknown key": b'{"name": "x", "nonsense": NaN}',
}


@pytest.mark.parametrize("case", sorted(NO_VALUES))
def test_numbers_that_json_does_not_know_are_a_sentence(client, case):  # noqa: F811
    for route in ("train", "cancel", "continue", "compare", "evaluate"):
        answer = client.post(f"{V1}/{route}", content=NO_VALUES[case])
        assert answer.status_code == 422, (route, answer.text)
        assert isinstance(answer.json()["detail"], str), route
        assert answer.json()["detail"].endswith(".")


def test_whole_characters_are_taken_as_they_are(client):  # noqa: F811
    answer = client.post(f"{V1}/cancel", content=json.dumps({"how": "\U0001f408"}))
    assert answer.status_code == 422
    api_guards.check_text(json.dumps({"prompt": "\U0001f408"}).encode())
    api_guards.check_text(b"\\ud800 no JSON")


@pytest.mark.parametrize("name", ["%ff", "%ED%A0%80", "caf%E9", "..%2f..%2fx", "%00"])
@pytest.mark.parametrize("method", ["delete", "post"])
def test_any_address_is_answered_in_a_sentence(client, name, method):  # noqa: F811
    path = f"{V1}/concepts/{name}" + ("/restore" if method == "post" else "")
    assert getattr(client, method)(path).status_code in (400, 404, 405)


def act(desk, do, key, value=""):  # noqa: F811
    """What the page's button gives back, as gradio sends it; it can send nothing but UTF-8."""
    wish = json.dumps({"do": do, "key": key, "value": value, "page": 0})
    found = ConceptActions(desk).act(wish, "", Show.ALL.value, Order.NAME.value)
    json.dumps(found, ensure_ascii=False).encode()
    return found


@pytest.mark.parametrize("do", ["draw", "rename", "share", "reunite", "unpack", "delete"])
@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_no_button_of_my_concepts_fails_on_any_name(desk, folder, case, do):  # noqa: F811
    path = os.fsencode(folder) + b"/" + HOSTILE[case]
    with open(path, "wb") as file:  # noqa: PTH123
        file.write((folder / "mycat.pt").read_bytes())
    for show in Show:
        json.dumps(ConceptActions(desk).look("", show.value, Order.NAME.value), ensure_ascii=False).encode()
    for concept in concepts_in(folder):
        if concept.name != "mycat":
            act(desk, do, concept.key, "a\ud800b")


def test_a_name_as_long_as_a_file_can_have_is_thrown_away_and_brought_back(desk, folder):  # noqa: F811
    long = folder / f"{'x' * 252}.pt"
    long.write_bytes((folder / "mycat.pt").read_bytes())
    named = {concept.name: concept.key for concept in concepts_in(folder)}
    act(desk, "delete", named[long.stem])
    assert not long.exists()
    act(desk, "undo", list_trash(folder)[0].key)
    assert long.exists()
    assert "called short now" in act(desk, "rename", named[long.stem], "short")[1]


def test_a_card_whose_word_is_longer_than_a_files_name_is_thrown_away_and_brought_back(desk, folder):  # noqa: F811
    card = folder / "card.png"
    card.write_bytes(png(png_chunk(b"tEXt", b"sd-ti-embedding\0" + in_text(vectors(), "y" * 400))))
    (key,) = [concept.key for concept in concepts_in(folder) if concept.name != "mycat"]
    act(desk, "delete", key)
    assert not card.exists()
    act(desk, "undo", list_trash(folder)[0].key)
    assert card.exists()


def test_only_what_can_be_a_training_is_offered_as_one(client, desk, place):  # noqa: F811
    snapshot = trained(client, name="cat") and desk.files("cat").snapshot
    home = os.fsencode(snapshot.parent.parent)
    for name in (b"caf\xe9", b"a b", b"two\nlines", b"_hidden", b"x" * 200):
        os.mkdir(home + b"/" + name)  # noqa: PTH102
        shutil.copyfile(snapshot, home + b"/" + name + b"/snapshot.safetensors")
    for name, make in {"loop": lambda path: path.symlink_to(path), "pipe": os.mkfifo, "folder": os.mkdir}.items():
        desk.files(name).folder.mkdir()
        make(desk.files(name).snapshot)
    assert trainings_in(place.embeddings) == ["cat"]
    assert client.get(f"{V1}/status").status_code == 200


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_is_neither_waited_for_nor_written_over(tmp_path, make):
    make(tmp_path / "mycat.pt")
    with pytest.raises(FileError, match=r"mycat\.pt could not be written"):
        save_pair(pair(), tmp_path)
    make(tmp_path / "snapshot.safetensors")
    with pytest.raises(FileError, match="could not be read"):
        load_snapshot(tmp_path / "snapshot.safetensors")
    assert not (tmp_path / "mycat-neg.pt").exists()
    make(tmp_path / ".x.01234567.journal")
    finish_interrupted(tmp_path)
