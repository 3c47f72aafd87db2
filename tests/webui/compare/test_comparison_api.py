"""/compare and /evaluate, on a tiny model: what they answer and refuse."""

from __future__ import annotations

import base64
import io

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from dreamartist_ext.files.storage import save_pair
from dreamartist_ext.webui import api
from dreamartist_ext.webui.compare.comparison import What, comparer_of
from dreamartist_ext.webui.compare.evaluation import evaluator_of
from dreamartist_ext.webui.training.jobs import Desk

from ...evaluation.studio import a_pair, a_picture
from ..fake_workplace import FakeWorkplace

V1 = api.PREFIX
COMPARE = {"name": "mycat", "prompts": ["a [name]"], "seeds": 1, "steps": 2, "wait": True}
EVALUATE = {
    "names": ["mycat"],
    "prompts": {"subjects": ["a [name]", "[name] on a red background"], "editing": ["a cat => a [name]"]},
    "seeds": [1, 2],
    "guidances": [3],
    "strengths": [0.5],
    "steps": 2,
    "wait": True,
}


def picture() -> str:
    buffer = io.BytesIO()
    a_picture("red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def desk(tmp_path):
    place = FakeWorkplace(tmp_path)
    save_pair(a_pair("mycat", 1), place.embeddings)
    return Desk(place)


@pytest.fixture
def client(desk):
    app = FastAPI()
    api.mount(app, desk, lambda request: True)
    return TestClient(app)


def refused(answer, status, words):
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


def test_a_comparison_answers_with_its_pictures(client):
    assert client.get(f"{V1}/compare").json() == {"comparison": None}
    answer = client.post(f"{V1}/compare", json=COMPARE).json()
    assert answer["status"] == "done", answer
    assert [cell["column"] for cell in answer["cells"]] == answer["columns"] == ["the pair", "positive only", "“thing”"]
    drawn = Image.open(io.BytesIO(base64.b64decode(answer["cells"][0]["pictures"][0])))
    assert drawn.size == (64, 64)
    assert client.get(f"{V1}/compare").json()["comparison"] == answer


def test_an_evaluation_answers_with_its_figures_and_the_page(client, desk):
    refused(client.get(f"{V1}/evaluate/report"), 404, "No report is ready")
    answer = client.post(f"{V1}/evaluate", json={**EVALUATE, "pictures": {"mycat": picture()}}).json()
    assert answer["status"] == "done", answer
    assert {f["way"] for f in answer["figures"] if f["section"] == "subjects"} >= {"pair", "positive only"}
    page = client.get(f"{V1}/evaluate/report")
    assert "How good is mycat?" in page.text
    assert page.headers["content-type"].startswith("text/html")
    written = evaluator_of(desk).current.folder
    assert sorted(path.name for path in written.iterdir()) == ["figures.csv", "figures.json", "report.html"]
    assert desk.workplace.embeddings not in written.parents


@pytest.mark.parametrize(
    ("path", "change", "status", "words"),
    [
        ("compare", {"name": "nobody"}, 400, "There is no embedding nobody"),
        ("compare", {"prompts": ["a cat"]}, 400, "[name] must be in it"),
        ("compare", {"what": "all"}, 400, "What must be ways or steps"),
        ("evaluate", {}, 400, "There is no picture of mycat to compare with"),
        ("evaluate", {"pictures": {"mycat": "?"}}, 400, "The picture of mycat is not base64"),
        ("evaluate", {"pictures": {"mycat": "aaaa"}}, 400, "picture"),
        ("evaluate", {"names": []}, 400, "Names must be 1 to 12"),
        ("evaluate", {"prompts": {"other": ["a [name]"]}}, 400, "Prompts are subjects"),
        ("evaluate", {"seeds": []}, 400, "Seeds must be 1 to 64"),
    ],
)
def test_what_is_wrong_is_said(client, path, change, status, words):
    body = {**(COMPARE if path == "compare" else EVALUATE), **change}
    refused(client.post(f"{V1}/{path}", json=body), status, words)


def test_one_at_a_time_and_nothing_to_stop(client, desk):
    for path in ("compare", "evaluate"):
        refused(client.post(f"{V1}/{path}/cancel", json={}), 409, "Nothing is being")
    comparer_of(desk).prepare("mycat", What.WAYS, ["a [name]"])
    refused(client.post(f"{V1}/compare", json=COMPARE), 409, "Another is under way")
    assert client.post(f"{V1}/compare/cancel", json={}).status_code == 200
    assert comparer_of(desk).current.is_unwanted
