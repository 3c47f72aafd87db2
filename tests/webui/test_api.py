"""The routes, on a host of a few numbers: what they answer, whom they refuse, where they write."""

from __future__ import annotations

import base64
import io
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import load_pair, save_pair
from dreamartist_ext.webui import api, api_guards
from dreamartist_ext.webui.api_auth import has_account, sdnext_accounts, webui_accounts, webui_door
from dreamartist_ext.webui.training.jobs import Desk

from ..engine.fake_host import WIDTH, FakeHost
from .fake_workplace import FakeWorkplace

SETTINGS = {
    "template": "a [name]",
    "steps": 6,
    "save_every": 2,
    "check_every": 2,
    "learning_rate": "0.05",
    "width": 64,
    "height": 64,
}
V1 = api.PREFIX


class SmallHost(FakeHost):
    name, checkpoint_hash, picture_size, size_unit, remark = "small", "0123456789", 64, 64, ""

    def check_loaded(self):
        pass

    def encode_prompts(self, prompts):
        vectors = [self.embeddings.get(prompt.split()[-1]) if prompt else None for prompt in prompts]
        empty = torch.zeros(WIDTH, dtype=torch.float64)
        return torch.stack([empty if each is None else each["clip"].mean(0) for each in vectors])

    def predict(self, noisy_latents, timesteps, cond):
        return super().predict(noisy_latents.double(), timesteps, cond)


class SmallWorkplace(FakeWorkplace):
    """Its host is a new one at every look; `reached` is set at the first step."""

    def __init__(self, folder):
        super().__init__(folder, SmallHost())
        self.reached = threading.Event()

    def host(self):
        return SmallHost()

    def model_name(self):
        return "small"

    def show(self, step, steps, text):
        self.reached.set()


@pytest.fixture
def place(tmp_path):
    return SmallWorkplace(tmp_path)


@pytest.fixture
def desk(place):
    return Desk(place)


@pytest.fixture
def client(desk):
    return client_of(desk)


def client_of(desk, may_pass=lambda request: True):
    app = FastAPI()
    api.mount(app, desk, may_pass)
    return TestClient(app, headers={"Content-Type": "application/json"})


def png(colour="red", size=(80, 64), mode="RGB", form="PNG"):
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, form)
    return buffer.getvalue()


def base64_of(content):
    return base64.b64encode(content).decode()


def wish(name="cat", **more):
    """What to send to train NAME."""
    return {"name": name, "pictures": [base64_of(png())], "settings": SETTINGS, "previews": False, "wait": True} | more


def trained(client, **more):
    answer = client.post(f"{V1}/train", json=wish(**more))
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer, status, words):
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert words in detail
    assert detail[0].isupper() or detail.startswith(("cat ", '"picture'))
    assert detail.endswith(".")
    assert "\n" not in detail


def everything_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_has_been_trained_yet(client):
    assert client.get(f"{V1}/status").json() == {"job": None, "unfinished": []}
    assert client.get(f"{V1}/concepts").json() == {"concepts": []}


def test_a_training_gives_what_the_desk_gives(client, place, tmp_path):
    state = trained(client)
    assert (state["status"], state["step"], state["steps"], state["used_step"]) == ("done", 6, 6, 6)
    assert [check["step"] for check in state["checks"]] == [2, 4, 6]
    assert state["best_step"] in (2, 4, 6)
    assert state["seconds_left"] == 0
    assert state["message"].startswith("cat ")
    assert place.learnings == 1
    assert client.get(f"{V1}/status").json() == {"job": state, "unfinished": []}

    other = tmp_path / "other"
    other.mkdir()
    desk = Desk(SmallWorkplace(other))
    (other / "any.png").write_bytes(png())
    desk.run(desk.prepare({**SETTINGS, "name": "cat"}, [other / "any.png"]))
    assert everything_in(place.embeddings) == everything_in(other / "embeddings")


def test_a_masks_weight_is_used(client, place):
    trained(client)
    plain = (place.embeddings / "cat.pt").read_bytes()
    half = Image.new("L", (80, 64), 255)
    half.paste(0, (0, 0, 40, 64))
    buffer = io.BytesIO()
    half.save(buffer, "PNG")
    trained(client, overwrite=True, mask=base64_of(buffer.getvalue()))
    assert (place.embeddings / "cat.pt").read_bytes() != plain
    assert [path.name for path in sorted((place.embeddings.parent / "embeddings-training/cat/pictures").iterdir())] == [
        "001-picture1.png",
        "001-picture1_att.png",
    ]


def test_a_training_that_begins_from_a_word_has_as_many_vectors_as_that(client, place):
    half = {"clip": torch.rand(3, WIDTH)}
    save_pair(EmbeddingPair("before", half, {"clip": torch.rand(2, WIDTH)}), place.embeddings)
    state = trained(client, settings={**SETTINGS, "start_from": "before"})
    assert state["status"] == "done", state["message"]
    pair = load_pair(place.embeddings, "cat")
    assert (len(pair.positive["clip"]), len(pair.negative["clip"])) == (3, 2)


def test_several_pictures_of_any_kind(client, place):
    pictures = [png(), png("blue", form="JPEG"), png("green", form="WEBP")]
    trained(client, pictures=["data:image/png;base64," + base64_of(content) for content in pictures])
    kept = sorted((place.embeddings.parent / "embeddings-training/cat/pictures").iterdir())
    assert [path.name for path in kept] == ["001-picture1.png", "002-picture2.jpg", "003-picture3.webp"]
    assert [path.read_bytes() for path in kept] == pictures


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"name": "../cat"}, 400, "Name must be letters"),
        ({"name": "/etc/cat"}, 400, "Name must be letters"),
        ({"name": "cat-neg"}, 400, 'Name must not end with "-neg"'),
        ({"name": "taken"}, 400, "Prompts would take"),
        ({"settings": {"steps": 0}}, 400, "Steps must be at least 1"),
        ({"settings": {"stepps": 5}}, 400, 'There is no setting "stepps"'),
        ({"settings": {"steps": [5]}}, 400, "Steps must be a whole number"),
        ({"settings": {"start_from": "nobody"}}, 400, "There is no embedding nobody"),
        ({"settings": {"start_from": ["mycat"]}}, 400, "Goes on from must be text"),
        ({"settings": {"name": "dog"}}, 400, "Name must be given once"),
        ({"pictures": []}, 400, "Pictures must be 1 to 20, got 0"),
        ({"pictures": ["aGVsbG8="] * 21}, 400, "Pictures must be 1 to 20, got 21"),
        ({"pictures": ["aGVsbG8="]}, 400, "cannot be opened as a picture"),
        ({"pictures": ["***"]}, 400, "Picture 1 is not base64"),
        ({"pictures": ["/etc/passwd"]}, 400, "Picture 1 is not base64"),
        ({"pictures": ["http://127.0.0.1/x.png"]}, 400, "Picture 1 is not base64"),
        ({"pictures": [base64_of(png())[:60]]}, 400, "damaged or cut short"),
        ({"mask": "aGVsbG8="}, 400, "cannot be opened as a picture"),
        ({"mask": base64_of(png(size=(64, 80)))}, 400, "give both the same proportions"),
    ],
)
def test_a_bad_wish_is_one_sentence_and_leaves_nothing(client, desk, place, more, status, words):
    refused(client.post(f"{V1}/train", json=wish(**more)), status, words)
    assert desk.job is None
    assert list(place.embeddings.parent.rglob("*")) == [place.embeddings]


def test_a_misspelt_key_is_refused(client):
    assert client.post(f"{V1}/train", json=wish(overwritte=True)).status_code == 422
    assert client.post(f"{V1}/cancel", json={"how": "now"}).status_code == 422


def test_pictures_and_requests_have_a_largest_size(client, monkeypatch):
    monkeypatch.setattr(api_guards, "MAX_PICTURE_BYTES", 100)
    refused(client.post(f"{V1}/train", json=wish()), 400, "Picture 1 is larger than")
    monkeypatch.setattr(api_guards, "MAX_BODY_BYTES", 500)
    refused(client.post(f"{V1}/train", json=wish(pictures=["A" * 600])), 413, "The request has more than")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_another_sites_page_can_send_is_refused(client, kind):
    answer = client.post(f"{V1}/cancel", content=b'{"how": "discard"}', headers={"Content-Type": kind})
    refused(answer, 415, "The body must be JSON")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_nor_can_it_send_a_request_without_a_body(client, place, kind):
    """A form on another site's page, with the account that the browser adds by itself."""
    put(place.embeddings, "cat")
    client.delete(f"{V1}/concepts/cat")
    before = everything_in(place.embeddings.parent)
    for path in ("/concepts/cat/restore", "/cancel", "/compare/cancel", "/evaluate/cancel", "/train", "/continue"):
        refused(client.post(V1 + path, headers={"Content-Type": kind}), 415, "The body must be JSON")
        pieces = iter([b""])  # sent in chunks, without saying how much
        refused(client.post(V1 + path, content=pieces, headers={"Content-Type": kind}), 415, "The body must be JSON")
    assert everything_in(place.embeddings.parent) == before


def test_reading_and_deleting_need_no_kind_of_body(client, place):
    put(place.embeddings, "cat")
    assert client.get(f"{V1}/concepts", headers={"Content-Type": ""}).status_code == 200
    assert client.delete(f"{V1}/concepts/cat", headers={"Content-Type": ""}).status_code == 200


def test_a_name_that_is_taken(client, place):
    trained(client)
    before = everything_in(place.embeddings)
    refused(client.post(f"{V1}/train", json=wish()), 409, "The name cat is taken")
    assert everything_in(place.embeddings) == before
    assert trained(client, overwrite=True)["status"] == "done"


class Slow:
    """A training under way, held before its first step is reported."""

    def __init__(self, client, place, **more):
        self.client, self.go = client, threading.Event()
        place.show = self.show
        self.begun = threading.Event()
        self.state = client.post(f"{V1}/train", json=wish(wait=False, **more)).json()
        assert self.begun.wait(20)

    def show(self, step, steps, text):
        self.begun.set()
        assert self.go.wait(20)

    def end(self):
        self.go.set()
        for thread in threading.enumerate():
            if thread.name.startswith("dreamartist "):
                thread.join(20)
        return self.client.get(f"{V1}/status").json()


def test_only_one_at_a_time(client, place):
    slow = Slow(client, place)
    assert slow.state["status"] in ("waiting", "running")
    refused(client.post(f"{V1}/train", json=wish("dog")), 409, "cat is being trained")
    refused(client.post(f"{V1}/continue", json={"name": "dog"}), 409, "cat is being trained")
    refused(client.delete(f"{V1}/concepts/cat"), 409, "cat is being trained")
    status = client.get(f"{V1}/status").json()
    assert (status["job"]["status"], status["job"]["step"]) == ("running", 1)
    assert status["job"]["seconds_left"] > 0
    assert status["unfinished"] == []
    assert slow.end()["job"]["status"] == "done"


@pytest.mark.parametrize(("how", "status", "files"), [("stop", "stopped", 2), ("discard", "discarded", 0)])
def test_cancelling(client, place, how, status, files):
    slow = Slow(client, place)
    assert client.post(f"{V1}/cancel", json={"how": how}).status_code == 200
    after = slow.end()
    assert after["job"]["status"] == status
    assert len(list(place.embeddings.iterdir())) == files


def test_nothing_to_cancel(client):
    refused(client.post(f"{V1}/cancel", json={"how": "stop"}), 409, "Nothing is being trained")
    trained(client)
    refused(client.post(f"{V1}/cancel", json={"how": "stop"}), 409, "Nothing is being trained")


def test_pause_and_continue(client, place):
    trained(client)
    whole = (place.embeddings / "cat.pt").read_bytes()
    slow = Slow(client, place, overwrite=True)
    client.post(f"{V1}/cancel", json={"how": "pause"})
    after = slow.end()
    assert after["job"]["status"] == "paused"
    assert after["unfinished"] == [{"name": "cat", "step": 1, "steps": 6}]
    answer = client.post(f"{V1}/continue", json={"name": "cat", "wait": True})
    assert (answer.status_code, answer.json()["status"]) == (200, "done")
    assert (place.embeddings / "cat.pt").read_bytes() == whole


def test_more_steps(client, place):
    trained(client)
    assert client.post(f"{V1}/continue", json={"name": "cat", "steps": 8, "wait": True}).json()["step"] == 8
    assert load_pair(place.embeddings, "cat").step == 8


def test_nothing_to_continue(client):
    refused(client.post(f"{V1}/continue", json={"name": "cat"}), 404, "There is no snapshot")
    refused(client.post(f"{V1}/continue", json={"name": "../cat"}), 400, "Name must be letters")


def test_an_error_while_training_is_in_the_status(client, place):
    def host():
        raise RuntimeError("no such thing")

    place.host = host
    state = trained(client)
    assert state["status"] == "failed"
    assert "no such thing" in state["message"]


def put(embeddings, name, with_negative=True, step=3):
    vectors = {"clip": torch.ones(2, WIDTH)}
    save_pair(EmbeddingPair(name, vectors, vectors if with_negative else None, step, {"model": "m"}), embeddings)


def test_concepts_are_the_pairs_and_the_trained(client, place):
    trained(client, settings=SETTINGS | {"use_negative": False})
    put(place.embeddings, "Dog")
    put(place.embeddings, "plain", with_negative=False)
    (place.embeddings / "bad.pt").write_bytes(b"no")
    (place.embeddings / "bad-neg.pt").write_bytes(b"no")
    bad, cat, dog = client.get(f"{V1}/concepts").json()["concepts"]
    assert bad == {"name": "bad", "size": 4, "problem": "bad.pt is damaged."}
    assert (cat["name"], cat["has_negative"], cat["step"], cat["model"]) == ("cat", False, 6, "small")
    size = sum(path.stat().st_size for path in place.embeddings.glob("Dog*"))
    assert dog == {
        "name": "Dog",
        "size": size,
        "has_negative": True,
        "lacks": "",
        "step": 3,
        "model": "m",
        "family": "6 wide",
        "vectors": 2,
        "negative_vectors": 2,
    }


def test_deleting_is_undone(client, place):
    trained(client)
    put(place.embeddings, "dog")
    root = place.embeddings.parent
    before = everything_in(root)
    trash = client.delete(f"{V1}/concepts/CAT").json()["trash"]
    assert trash.startswith("cat-")
    assert sorted(path.name for path in place.embeddings.iterdir()) == ["dog-neg.pt", "dog.pt"]
    assert sorted(everything_in(root).values()) == sorted(before.values()), "moved, not removed"
    assert place.learnings == 2
    refused(client.delete(f"{V1}/concepts/cat"), 404, "There is no concept cat")
    answer = client.post(f"{V1}/concepts/cat/restore")
    assert [concept["name"] for concept in answer.json()["concepts"]] == ["cat", "dog"]
    assert everything_in(root) == before
    assert place.learnings == 3
    refused(client.post(f"{V1}/concepts/cat/restore"), 404, "The trash holds nothing of cat")


def test_a_deleted_name_is_free_and_the_last_deletion_comes_back(client, place):
    trained(client)
    client.delete(f"{V1}/concepts/cat")
    trained(client, settings=SETTINGS | {"seed": 5})
    second = everything_in(place.embeddings)
    refused(client.post(f"{V1}/concepts/cat/restore"), 409, "The name cat is taken")
    assert everything_in(place.embeddings) == second
    client.delete(f"{V1}/concepts/cat")
    client.post(f"{V1}/concepts/cat/restore")
    assert everything_in(place.embeddings) == second


def test_names_in_the_trash_are_kept_apart(client, place):
    for name in ("cat", "cat-1", "trash"):
        put(place.embeddings, name)
        assert client.delete(f"{V1}/concepts/{name}").status_code == 200
    client.post(f"{V1}/concepts/cat/restore")
    client.post(f"{V1}/concepts/trash/restore")
    assert sorted(path.stem for path in place.embeddings.iterdir()) == ["cat", "cat-neg", "trash", "trash-neg"]


def test_discarding_a_training_called_trash_leaves_the_trash_alone(client, desk, place):
    put(place.embeddings, "cat")
    client.delete(f"{V1}/concepts/cat")
    desk.discard("trash")
    assert client.post(f"{V1}/concepts/cat/restore").status_code == 200


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fmodels", "cat-neg", "a b", "*"])
@pytest.mark.parametrize("way", ["delete", "restore"])
def test_no_name_leads_elsewhere(client, place, name, way):
    put(place.embeddings, "cat")
    put(place.embeddings.parent, "models")
    before = everything_in(place.embeddings.parent)
    path = f"{V1}/concepts/{name}"
    answer = client.delete(path) if way == "delete" else client.post(f"{path}/restore")
    assert answer.status_code in (400, 404, 405)
    assert everything_in(place.embeddings.parent) == before


def test_a_move_that_fails_midway_is_undone(client, place, monkeypatch):
    put(place.embeddings, "cat")
    before = everything_in(place.embeddings)
    real = Path.rename

    def move(source, target):
        if "-neg" in str(source) and "_trash" in str(target):
            raise PermissionError(13, "Permission denied")
        return real(source, target)

    monkeypatch.setattr(Path, "rename", move)
    answer = client.delete(f"{V1}/concepts/cat")
    assert (answer.status_code, everything_in(place.embeddings)) == (400, before)
    assert "could not be moved: Permission denied" in answer.json()["detail"]


ROUTES = [
    ("POST", "/train"),
    ("GET", "/status"),
    ("POST", "/cancel"),
    ("POST", "/continue"),
    ("GET", "/concepts"),
    ("DELETE", "/concepts/cat"),
    ("POST", "/concepts/cat/restore"),
    ("POST", "/compare"),
    ("GET", "/compare"),
    ("POST", "/compare/cancel"),
    ("POST", "/evaluate"),
    ("GET", "/evaluate"),
    ("GET", "/evaluate/report"),
    ("POST", "/evaluate/cancel"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_refuses_before_it_reads_anything(desk, place, method, path):
    put(place.embeddings, "cat")
    before = everything_in(place.embeddings)
    client = client_of(desk, lambda request: False)
    for content in (b"", b'{"how"', b"[" * 10_000):
        answer = client.request(method, V1 + path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Basic"
    assert (desk.job, everything_in(place.embeddings)) == (None, before)


def test_these_are_all_routes(client):
    found = {
        (method.upper(), path.removeprefix(V1).replace("{name}", "cat"))
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert found == set(ROUTES)


def test_mounting_twice_adds_nothing(desk):
    app = FastAPI()
    api.mount(app, desk, lambda request: True)
    count = len(app.routes)
    api.mount(app, desk, lambda request: True)
    assert len(app.routes) == count


def flags(**values):
    return SimpleNamespace(**{"api_auth": None, "gradio_auth": None, "gradio_auth_path": None} | values)


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class TestDoor:
    @pytest.fixture
    def knock(self, desk):
        def status(cmd_opts, headers=None, **app_has):
            app = FastAPI()
            for name, value in app_has.items():
                setattr(app, name, value)
            api.mount(app, desk, webui_door(app, cmd_opts))
            return TestClient(app).get(f"{V1}/status", headers=headers or {}).status_code

        return status

    def test_it_is_open_where_the_webui_has_no_accounts(self, knock):
        assert knock(flags()) == 200
        assert knock(flags(api_auth="")) == 200
        assert knock(flags(), auth=None) == 200

    @pytest.mark.parametrize("flag", ["api_auth", "gradio_auth"])
    def test_accounts_of_either_flag(self, knock, flag):
        locked = flags(**{flag: "me:secret,you:pass:word"})
        assert knock(locked) == 401
        assert knock(locked, basic("me", "secret")) == 200
        assert knock(locked, basic("you", "pass:word")) == 200
        for wrong in (("me", "pass:word"), ("me", ""), ("", ""), ("secret", "me"), ("ME", "secret"), ("mé", "ß")):
            assert knock(locked, basic(*wrong)) == 401

    def test_accounts_of_a_file(self, knock, tmp_path):
        (tmp_path / "accounts").write_text(" a:1 , b:2\n\nç:ü\nd:3\u20284\n", encoding="utf-8")
        locked = flags(gradio_auth_path=str(tmp_path / "accounts"))
        assert knock(locked) == 401
        for account in (("a", "1"), ("b", "2"), ("ç", "ü"), ("d", "3\u20284")):
            assert knock(locked, basic(*account)) == 200

    def test_an_empty_file_of_accounts_lets_nobody_in(self, knock, tmp_path):
        (tmp_path / "accounts").write_text("\n")
        assert knock(flags(gradio_auth_path=str(tmp_path / "accounts"))) == 401
        assert knock(flags(gradio_auth_path=str(tmp_path / "accounts")), basic("", "")) == 401

    def test_accounts_that_gradio_has_from_elsewhere(self, knock):
        assert knock(flags(), auth={"x": "y"}) == 401

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Basic",
            "Basic ",
            "Basic ***",
            "Bearer bWU6c2VjcmV0",
            "bWU6c2VjcmV0",
            "Basic bWU=",
            "Basic " + "A" * 9999,
        ],
    )
    def test_other_headers(self, knock, header):
        assert knock(flags(api_auth="me:secret"), {"Authorization": header}) == 401

    def test_a_login_on_the_page(self, knock):
        locked, logins = flags(gradio_auth="me:secret"), {"token123": "me"}
        for name in ("access-token", "access-token-unsecure"):
            assert knock(locked, {"Cookie": f"{name}=token123"}, tokens=logins) == 200
            assert knock(locked, {"Cookie": f"{name}=token124"}, tokens=logins) == 401
            assert knock(locked, {"Cookie": f"{name}="}, tokens={"": "x"}) == 401
        assert knock(locked, {"Cookie": "other=token123"}, tokens=logins) == 401
        assert knock(locked, {"Cookie": "access-token-x1=token123"}, tokens=logins, cookie_id="x1") == 200
        assert knock(locked, {"Cookie": "access-token=token123"}, tokens=logins, cookie_id="x1") == 401

    @pytest.mark.parametrize(
        ("site", "status"), [("same-origin", 200), ("none", 200), ("same-site", 401), ("cross-site", 401)]
    )
    def test_a_login_does_not_count_for_other_sites(self, knock, site, status):
        headers = {"Cookie": "access-token=t", "Sec-Fetch-Site": site}
        assert knock(flags(gradio_auth="me:secret"), headers, tokens={"t": "me"}) == status
        assert knock(flags(gradio_auth="me:secret"), headers | basic("me", "secret"), tokens={"t": "me"}) == 200

    def test_entries_are_read_as_the_webui_reads_them(self, tmp_path):
        assert webui_accounts("a:1,b:2", None, None) == (("a", "1"), ("b", "2"))
        assert webui_accounts(None, " a:1 , ,b:2:3", None) == (("a", "1"), ("b", "2:3"))
        assert webui_accounts("a:1,a:2", None, None) == (("a", "2"),)
        assert webui_accounts("nobody", "nobody", None) == ()
        assert not has_account(basic("nobody", "")["Authorization"], webui_accounts("nobody", None, None))

    def test_sdnexts_flags_are_read_as_it_reads_them(self, tmp_path, knock):
        (tmp_path / "accounts").write_text("c:3\n d : 4:5 \n", encoding="utf-8")
        assert sdnext_accounts('"a:1, b:2"', str(tmp_path / "accounts")) == (
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("d", "4:5"),
        )
        assert sdnext_accounts("nobody", str(tmp_path / "none")) == ()
        assert knock(flags(auth="me:secret"), basic("me", "secret")) == 200
        assert knock(flags(auth="me:secret"), basic("me", "other")) == knock(flags(auth="me:secret"), {}) == 401
        assert knock(flags(auth_file=str(tmp_path / "accounts")), basic("d", "4:5")) == 200
        assert knock(flags(auth_file=str(tmp_path / "accounts")), {}) == 401


class TestInTheWebUI:
    """`mount_in_webui` asks the WebUI's own flags."""

    @pytest.mark.parametrize(
        ("values", "status"),
        [
            ({"api": False, "nowebui": False}, 404),
            ({"api": True, "nowebui": False}, 200),
            ({"api": False, "nowebui": True}, 200),
            ({"api": True, "nowebui": False, "api_auth": "me:secret"}, 401),
            ({"api": False, "nowebui": True, "gradio_auth": "me:secret"}, 401),
            ({"api": False, "nowebui": False, "api_auth": "me:secret"}, 404),
        ],
    )
    def test_routes_are_there_where_the_webuis_own_are(self, desk, monkeypatch, values, status):
        shared = SimpleNamespace(cmd_opts=flags(**values))
        monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(shared=shared))
        monkeypatch.setitem(sys.modules, "modules.shared", shared)
        app = FastAPI()
        api.mount_in_webui(app, desk)
        assert TestClient(app).get(f"{V1}/status").status_code == status
