"""Settings from a file and into one, in a real browser."""

from __future__ import annotations

import json

import pytest

from dreamartist_ext.hosts.diffusers.model_files import training_defaults

from ..test_page import browser, field, fill, opened, served, shot  # noqa: F401 (fixtures)

pytestmark = pytest.mark.browser


def test_a_preset_is_saved_and_another_one_fills_the_page(served, browser, tmp_path):  # noqa: F811
    url, _ = served
    with opened(browser, url) as page:
        fill(page, "name", "mypot")
        page.get_by_text("All options").click()
        for group in ("Training", "Settings from a file, or into one"):
            page.get_by_text(group, exact=True).last.click()
        fill(page, "steps", 77)
        page.locator("#dreamartist_settings_save").click()
        with page.expect_download() as downloading:
            page.get_by_text("Save this preset").click()
        saved = json.loads(downloading.value.path().read_text())
        assert downloading.value.suggested_filename == "mypot-preset.json"
        assert (saved["steps"], saved["guidance"]) == (77, training_defaults()["guidance"])
        assert "name" not in saved
        (tmp_path / "mine.json").write_text(json.dumps({"steps": 123, "initialization_text": "teapot"}))
        page.locator("#dreamartist_settings_file input[type=file]").set_input_files(tmp_path / "mine.json")
        page.get_by_text("2 settings are those of mine.json.").wait_for()
        assert (field(page, "steps").input_value(), field(page, "start").input_value()) == ("123", "teapot")
        shot(page, "settings-file")
        assert page.problems == []
