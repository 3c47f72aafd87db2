"""Options that only the real WebUI shows to work: reconstruction, a range of timesteps, settings files, the curve's
links."""

from __future__ import annotations

import io
import json
import re

import pytest
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.files.run import RunFiles

from ..test_page import WAIT, ask_for, browser, fill, has_value, open_options, open_tab, opened, shot, wait_for_status  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.webui]


def downloaded(page, label):
    with page.expect_download() as downloading:
        page.locator("#dreamartist_curve").get_by_text(label, exact=True).click()
    return downloading.value.suggested_filename, downloading.value.path().read_bytes()


def test_reconstruction_a_range_of_timesteps_and_the_curves_links(browser, webui):  # noqa: F811
    state = webui.probe("state")
    with opened(browser, webui.url) as page:
        open_tab(page)
        ask_for(page, "recpot", steps=4)
        for name, value in {"reconstruction": 1, "timestep_start": 0.1, "timestep_end": 0.9}.items():
            fill(page, name, value)
        shot(page, "webui-options")
        page.click("#dreamartist_estimate")
        says = page.locator("#dreamartist_measured")
        says.get_by_text(re.compile(r"Reconstruction takes \d+% of a step\.")).wait_for(timeout=2 * WAIT)
        page.click("#dreamartist_train")
        wait_for_status(page, "recpot", "done")
        page.wait_for_selector("#dreamartist_curve svg circle", timeout=WAIT)
        name, table = downloaded(page, "as a table")
        assert (name, len(table.decode().splitlines())) == ("recpot-curve.csv", 3)
        name, drawn = downloaded(page, "as a picture")
        assert (name, Image.open(io.BytesIO(drawn)).size) == ("recpot-curve.png", (900, 450))
        shot(page, "webui-reconstruction")
        assert not page.problems
    settings = TrainConfig.from_json(RunFiles(webui.embeddings, "recpot").last_snapshot().config)
    assert (settings.reconstruction, settings.timestep_start, settings.timestep_end) == (1, 0.1, 0.9)
    after = webui.probe("state")
    assert {key for key in state if state[key] != after[key]} <= {"embeddings", "lookup"}


def test_settings_are_saved_to_a_file_and_taken_from_one(browser, webui, tmp_path):  # noqa: F811
    with opened(browser, webui.url) as page:
        open_tab(page)
        fill(page, "name", "setpot")
        open_options(page)
        page.locator("#dreamartist_options").get_by_text("Settings from a file, or into one", exact=True).last.click()
        fill(page, "steps", 77)
        page.locator("#dreamartist_settings_save").click()
        with page.expect_download() as downloading:
            page.get_by_text("Save this preset").click()
        saved = json.loads(downloading.value.path().read_text())
        assert (downloading.value.suggested_filename, saved["steps"]) == ("setpot-preset.json", 77)
        (tmp_path / "mine.json").write_text(json.dumps({"steps": 123, "timestep_end": 0.5}))
        page.locator("#dreamartist_settings_file input[type=file]").set_input_files(tmp_path / "mine.json")
        page.get_by_text("2 settings are those of mine.json.").wait_for(timeout=WAIT)
        has_value(page, "steps", "123")
        has_value(page, "timestep_end", "0.5")
        shot(page, "webui-settings")
        assert not page.problems
