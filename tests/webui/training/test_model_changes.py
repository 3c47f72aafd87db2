"""What a user may do to the model in the middle of a training, and the WebUI's flags for small GPUs."""

from __future__ import annotations

import base64
import threading
import time

import pytest

from testbed.webui import PATIENCE, make_data_folder, running

from ..test_a1111_host import PICTURE, SETTINGS

pytestmark = pytest.mark.webui

V1 = "/dreamartist/v1"


def begin(webui, name, steps):
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    settings = {"steps": steps, "save_every": 0, "template": "a [name]"}
    webui.post(f"{V1}/train", {"name": name, "pictures": [picture], "settings": settings, "previews": False})
    wait(webui, lambda job: job["step"] >= 2)


def wait(webui, condition, seconds=90):
    deadline = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < deadline:
        job = webui.get(f"{V1}/status")["job"]
        if condition(job):
            return job
        time.sleep(0.1)
    return pytest.fail(str(job))


@pytest.fixture
def first_checkpoint(webui):
    """Loaded again afterwards, whatever a test has chosen."""
    yield
    webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "embedded.safetensors"})


def test_another_checkpoint_waits_for_the_training_and_the_page_says_so(webui, first_checkpoint):
    before, _ = webui.picture("a noto emoji of a lion")
    begin(webui, "waiting", 400)
    chosen = threading.Thread(
        target=lambda: webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "second.safetensors"})
    )
    chosen.start()
    job = wait(webui, lambda job: job["message"])
    assert job["status"] == "running", "the training goes on with its own model"
    assert job["message"] == "second was chosen meanwhile: it is loaded when this training is over."
    webui.post(f"{V1}/cancel", {"how": "stop"})
    job = wait(webui, lambda job: job["status"] == "stopped" and job["message"])
    assert "is kept as it was at step" in job["message"]
    chosen.join(60)
    assert webui.picture("a noto emoji of a lion")[0] != before, "the other checkpoint came after it"
    webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "embedded.safetensors"})
    assert webui.picture("a noto emoji of a lion")[0] == before


def test_the_unload_button_costs_no_training_and_no_picture(webui):
    """It does not wait in the WebUI's queue; on a CPU the model stays where it is."""
    before, _ = webui.picture("a noto emoji of a lion")
    begin(webui, "unloaded", 400)
    webui.post("/sdapi/v1/unload-checkpoint", {})
    webui.post(f"{V1}/cancel", {"how": "pause"})
    wait(webui, lambda job: job["status"] in ("paused", "failed"))
    webui.post("/sdapi/v1/reload-checkpoint", {})
    assert webui.probe("state")["gradients"] == 0
    assert webui.picture("a noto emoji of a lion")[0] == before
    webui.post(f"{V1}/continue", {"name": "unloaded", "wait": False})
    wait(webui, lambda job: job["status"] == "running")
    webui.post(f"{V1}/cancel", {"how": "discard"})
    wait(webui, lambda job: job["status"] == "discarded")


def test_a_model_that_is_gone_is_a_sentence(webui):
    before = webui.probe("state")
    said = webui.probe("train_without_model", settings=SETTINGS | {"steps": 6}, picture=str(PICTURE))
    assert said.startswith("ModelError: the checkpoint was unloaded or changed during the training")
    after = webui.probe("state")
    assert {key for key in before if before[key] != after[key]} == set()


@pytest.mark.parametrize("flag", ["--medvram", "--lowvram"])
def test_flags_for_small_gpus_change_neither_the_training_nor_the_model(flag, webui, tmp_path):
    expected = webui.probe("train", settings=SETTINGS | {"steps": 3}, picture=str(PICTURE))
    make_data_folder(tmp_path / "data")
    with running(tmp_path / "data", "--api", flag) as small:
        picture, _ = small.picture("a noto emoji of a lion")
        before = small.probe("state")
        found = small.probe("train", settings=SETTINGS | {"steps": 3}, picture=str(PICTURE))
        after = small.probe("state")
        assert found["losses"] == pytest.approx(expected["losses"], rel=1e-4)
        assert {key for key in before if before[key] != after[key]} <= {"lowvram"}
        assert sum(before["hooks"]) > sum(webui.probe("state")["hooks"]), "the flag is in force"
        assert small.picture("a noto emoji of a lion")[0] == picture
