"""The noise schedule in a real WebUI: what trainings use, its own sampler uses, and the checkpoint says."""

from __future__ import annotations

import base64

import pytest

from .family_folder import HERE, load
from .test_a1111_host import PICTURE, left
from .test_families_in_webui import SETTINGS

pytestmark = pytest.mark.webui

USUAL = {"sd_noise_schedule": "Default", "use_downcasted_alpha_bar": False}
ZERO, HALF = {"sd_noise_schedule": "Zero Terminal SNR"}, {"use_downcasted_alpha_bar": True}


@pytest.fixture(autouse=True)
def usual_settings(families):
    yield
    families.probe("options", **USUAL)


@pytest.mark.parametrize("family", [each for each in HERE if "ztsnr" not in each])
@pytest.mark.parametrize("settings", [{}, ZERO, HALF, ZERO | HALF], ids=["usual", "zero", "half", "zero and half"])
def test_trainings_have_the_schedule_that_pictures_are_drawn_with(families, family, settings):
    load(families, family)
    families.probe("options", **settings)
    found = families.probe("schedules")
    # In half precision the sampler divides and takes roots of rounded numbers, up to 65504.
    tolerance = {"rel": 2e-2, "abs": 2e-5} if HALF.items() <= settings.items() else {"rel": 1e-4}
    assert found["ours"] == pytest.approx(found["theirs"], **tolerance)
    assert (found["ours"][-1] < 1e-6) is ("sd_noise_schedule" in settings)


def test_a_checkpoint_that_says_zero_terminal_snr_is_trained_so_whatever_the_settings(families):
    load(families, "sdxl-v-ztsnr")
    usual = families.probe("schedules")
    assert usual["ours"][-1] < 1e-6 < usual["theirs"][-1]
    families.probe("options", **ZERO)
    there = families.probe("schedules")
    assert usual["ours"] == there["ours"] == pytest.approx(there["theirs"], rel=1e-4)


def test_the_page_says_that_pictures_need_another_setting(families):
    load(families, "sdxl-v-ztsnr")
    assert "set Settings > Sampler parameters" in trained(families, "ztsnr1")["notice"]
    families.probe("options", **ZERO)
    assert trained(families, "ztsnr2")["notice"] == ""


def trained(webui, name):
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    settings = {"steps": 2, "save_every": 0, "width": 64, "height": 64}
    job = {"name": name, "pictures": [picture], "settings": settings, "previews": False, "wait": True}
    answer = webui.post("/dreamartist/v1/train", job)
    assert answer["status"] == "done", answer
    return answer


def test_a_training_leaves_the_schedule_of_the_pictures_alone(families):
    load(families, "sdxl-v-ztsnr")
    first, _ = families.picture("a lion", "blurry")
    before = families.probe("state")
    families.probe("train", settings=SETTINGS | {"steps": 2}, picture=str(PICTURE))
    assert left(before, families.probe("state")) == set()
    assert families.picture("a lion", "blurry")[0] == first
    families.probe("options", **ZERO)
    assert families.picture("a lion", "blurry")[0] != first
