"""Names that are no UTF-8, pipes, loops and half characters take no route down, in a folder or in a request."""

from __future__ import annotations

import json
import os

import pytest

from dreamartist_ext.files.card_files import card_word
from dreamartist_ext.webui import api_guards

from ..files.test_storage import pair
from .test_api import V1, client, client_of, desk, place, wish  # noqa: F401  (fixtures)


@pytest.fixture
def folder(place):  # noqa: F811
    from dreamartist_ext.files.storage import save_pair

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
