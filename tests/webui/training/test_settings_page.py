"""Settings in a real browser: kinds and recipes, search, marks and the way back, and settings from a file."""

from __future__ import annotations

import json

import pytest
import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair
from dreamartist_ext.hosts.diffusers.model_files import training_defaults

from ..test_page import WAIT, browser, field, fill, has_value, open_options, opened, served, shot

__all__ = ["browser", "served"]  # fixtures

pytestmark = pytest.mark.browser


def changed(page, words):
    page.wait_for_function(f"document.querySelector('.dreamartist-count').textContent === {words!r}", timeout=WAIT)


def test_what_is_set_by_hand_is_marked_survives_a_kind_and_has_a_way_back(served, browser):
    url, _ = served
    with opened(browser, url) as page:
        open_options(page)
        fill(page, "steps", 77)
        changed(page, "1 changed")
        page.locator("#dreamartist_kind").get_by_text("style", exact=True).click()
        page.get_by_text("How a picture is made").wait_for(timeout=WAIT)
        prompts = "[...document.querySelectorAll('#dreamartist_template textarea, #dreamartist_template input')]"
        page.wait_for_function(f"{prompts}[0].value.includes('style of')", timeout=WAIT)
        has_value(page, "steps", "77")
        changed(page, "1 changed")
        page.fill("#dreamartist_find", "mask")
        page.locator(".dreamartist-settings-search").get_by_text("found").wait_for(timeout=WAIT)
        assert page.locator("#dreamartist_use_mask").is_visible()
        assert not page.locator("#dreamartist_steps").is_visible()
        page.fill("#dreamartist_find", "")
        page.locator("#dreamartist_steps .back").click()
        changed(page, "")
        assert field(page, "steps").input_value() != "77"
        fill(page, "seed", 5)
        fill(page, "vectors", 9)
        changed(page, "2 changed")
        page.get_by_role("button", name="Set all back").click()
        changed(page, "")
        fill(page, "name", "fine")
        fill(page, "steps", -3)
        shot(page, "settings-marked")
        assert not page.problems


def test_a_word_to_go_on_from_sets_the_numbers_of_vectors(served, browser):
    url, folder = served
    pair = EmbeddingPair("before", {"clip": torch.ones(2, 768)}, {"clip": torch.ones(5, 768)})
    save_pair(pair, folder / "embeddings")
    with opened(browser, url) as page:
        open_options(page)
        fill(page, "start_from", "before")
        for name, count in (("vectors", "2"), ("negative_vectors", "5")):
            box = f"document.querySelector('#dreamartist_{name} input')"
            page.wait_for_function(f"{box}.value === '{count}'", timeout=WAIT)
        assert not page.problems


def test_a_recipe_of_ones_own_stands_in_the_list_until_it_is_deleted(served, browser):
    url, folder = served
    with opened(browser, url) as page:
        open_options(page)
        fill(page, "steps", 77)
        page.get_by_text("A recipe of your own", exact=True).last.click()
        fill(page, "recipe_title", "mine")
        page.click("#dreamartist_recipe_save")
        page.get_by_text("mine is among the recipes here").wait_for(timeout=WAIT)
        changed(page, "")
        assert json.loads((folder / "recipes" / "mine.json").read_text()) == {"steps": 77}
        has_value(page, "recipe", "mine (yours)")
        shot(page, "own-recipe")
        page.click("#dreamartist_recipe_delete")
        page.get_by_text("The recipe mine is deleted").wait_for(timeout=WAIT)
        changed(page, "1 changed")
        assert page.problems == []


def test_a_preset_is_saved_and_another_one_fills_the_page(served, browser, tmp_path):
    url, _ = served
    with opened(browser, url) as page:
        fill(page, "name", "mypot")
        open_options(page)
        page.get_by_text("Settings from a file, or into one", exact=True).last.click()
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
        has_value(page, "steps", "123")
        has_value(page, "start", "teapot")
        shot(page, "settings-file")
        assert page.problems == []
