"""What a training outlives in a real WebUI ("Reload UI", the death of the process), and what it leaves on the disk."""

from __future__ import annotations

import base64

import pytest

from testbed.webui import make_data_folder, running

from .test_a1111_host import PICTURE
from .test_api_in_webui import reload_ui
from .training.test_model_changes import V1, wait

pytestmark = pytest.mark.webui


@pytest.fixture
def data(tmp_path):
    """A folder that no other training has been in."""
    make_data_folder(tmp_path / "data")
    return tmp_path / "data"


def begin(webui, name, steps, **more):
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    settings = {"template": "a [name]", "save_every": 10, "check_every": 10, "steps": steps}
    wish = {"name": name, "pictures": [picture], "settings": settings, "previews": False}
    return webui.post(f"{V1}/train", wish | more)


def names_below(folder):
    """Of all files but those of the WebUI's caches, whose database makes and removes some of its own at any time."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(name) for name in names if name.parts[0] != "cache")


def test_a_training_outlives_two_reloads_and_a_kill_and_ends_with_the_same_bytes(data):
    with running(data, "--api") as webui:
        begin(webui, "survivor", 5000)
        for _ in range(2):
            before = wait(webui, lambda job: job["step"] >= 2)["step"]
            reload_ui(webui)
            job = wait(webui, lambda job, before=before: job["step"] > before or job["status"] != "running")
            assert job["status"] == "running", job
        wait(webui, lambda job: len(job["checks"]) >= 1)
        webui.process.kill()
        webui.process.wait(30)
    assert not list((data / "embeddings").iterdir()), "unfinished: nothing is in use"

    with running(data, "--api") as webui:
        state = webui.get(f"{V1}/status")
        assert state["job"] is None
        [unfinished] = state["unfinished"]
        assert (unfinished["name"], unfinished["steps"]) == ("survivor", 5000)
        assert unfinished["step"] % 10 == 0
        last = unfinished["step"] + 3
        files = names_below(data)
        webui.post(f"{V1}/continue", {"name": "survivor", "steps": last, "wait": True})
        assert webui.get(f"{V1}/status")["job"]["status"] == "done"
        assert webui.probe("vectors", name="survivor") is not None
        continued = {path.name: path.read_bytes() for path in (data / "embeddings").iterdir()}
        assert set(continued) == {"survivor.pt", "survivor-neg.pt"}
        grown = set(names_below(data)) - set(files)
        assert {name for name in grown if "survivor" not in name and not name.endswith(".jpg")} == set()

        begin(webui, "survivor", last, overwrite=True, wait=True)
        assert {path.name: path.read_bytes() for path in (data / "embeddings").iterdir()} == continued


def test_interrupt_still_stops_after_a_reload(data):
    with running(data, "--api") as webui:
        reload_ui(webui)
        begin(webui, "stopped", 5000)
        wait(webui, lambda job: job["step"] >= 2)
        webui.post("/sdapi/v1/interrupt", {})
        job = wait(webui, lambda job: job["status"] != "running")
        assert job["status"] == "stopped"
        assert "is kept as it was at step" in job["message"]


def test_start_takes_hardly_longer_and_reloads_leave_no_files_and_no_callbacks(data):
    with running(data, "--api") as webui:
        record = webui.get("/internal/profile-startup")
        ours = {key: seconds for key, seconds in record["records"].items() if key.endswith("/dreamartist.py")}
        print(f"of {record['total']:.1f} s start: {ours}")
        assert ours
        assert sum(ours.values()) < 0.1 * record["total"]
        callbacks = webui.probe("callbacks")
        events = ("app_started", "before_ui", "ui_settings", "ui_tabs")
        assert [name.partition("/")[2] for name in callbacks] == [f"dreamartist.py/{event}" for event in events]
        files = names_below(data)
        for _ in range(2):
            reload_ui(webui)
        assert names_below(data) == files
        assert webui.probe("callbacks") == callbacks
