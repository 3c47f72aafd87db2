"""Compare in a real browser: standing alone on the embedded model, and in a real WebUI."""

from __future__ import annotations

import pytest
import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair, save_pair
from testbed.embedded import WIDTH

from ..test_page import PATIENCE, WAIT, browser, field, open_tab, opened, served, shot

__all__ = ["browser", "served"]  # fixtures

pytestmark = pytest.mark.browser
DRAWN = 180_000 * PATIENCE  # milliseconds for a grid

DONE = '#dreamartist_compare_grid [data-status="done"]:not([data-earlier])'


def put_pair(embeddings, name, seed=0):
    """A pair in the folder, and two steps of its training."""
    generator = torch.Generator().manual_seed(seed)

    def pair(step):
        halves = [{"clip": 0.1 * torch.randn(count, WIDTH, generator=generator)} for count in (2, 3)]
        return EmbeddingPair(name, halves[0], halves[1], step, {"settings": '{"initialization_text": "lion"}'})

    files = RunFiles(embeddings, name)
    for step in (10, 20):
        save_pair(pair(step), files.folder, stem=files.step_stem(step))
    save_pair(pair(20), embeddings)
    return files


def begin(page):
    """The grid of an earlier comparison stays until the new one has begun: it does not count."""
    page.evaluate("document.querySelector('#dreamartist_compare_grid [data-status]')?.setAttribute('data-earlier', '')")
    page.click("#dreamartist_compare")


def compare(page, name):
    """Draw the grid, and wait for all of it; returns how many pictures it has."""
    begin(page)
    page.wait_for_selector(DONE, state="attached", timeout=DRAWN)
    shot(page, name)
    return page.locator("#dreamartist_compare_grid .dreamartist-cell img").count()


def look_at_both_grids(page, where):
    tabs = page.locator("#dreamartist_tabs .tab-nav button, #dreamartist_tabs button[role=tab]")
    tabs.get_by_text("Compare", exact=True).first.click()
    page.wait_for_selector("#dreamartist_compare", state="visible", timeout=WAIT)
    page.wait_for_function("document.querySelector('#dreamartist_compare_name input').value !== ''", timeout=WAIT)
    field(page, "compare_prompts").fill("a [name]\na [name] on a red background")
    assert compare(page, f"{where}-compare-ways") == 2 * 3 * 2
    sides = page.locator("#dreamartist_compare_grid .dreamartist-slider select")
    sides.last.select_option("11")
    shown = page.locator("#dreamartist_compare_grid .dreamartist-slider > div img").last
    assert shown.get_attribute("alt").endswith("on a red background, “lion”, seed 1")
    page.locator("#dreamartist_compare_what").get_by_text("Saved steps").click()
    begin(page)
    page.locator("#dreamartist_compare_grid").get_by_text("step 10").wait_for(timeout=WAIT)
    page.wait_for_selector(DONE, state="attached", timeout=DRAWN)
    assert page.locator("#dreamartist_compare_grid .dreamartist-cell img").count() == 2 * 2 * 2
    page.locator("#dreamartist_compare_step input").click()
    page.get_by_role("option", name="10").or_(page.locator("ul.options li", has_text="10")).first.click()
    page.click("#dreamartist_compare_use")
    page.locator("#dreamartist_compare_says").get_by_text("is now the pair of step 10").wait_for(timeout=WAIT)
    shot(page, f"{where}-compare-steps")
    assert not page.problems


def is_step_10(files):
    kept = load_pair(files.folder, files.step_stem(10))
    return torch.equal(load_pair(files.out, files.name).positive["clip"], kept.positive["clip"])


def test_side_by_side(browser, served):
    url, folder = served
    files = put_pair(folder / "embeddings", "lionlike")
    with opened(browser, url) as page:
        look_at_both_grids(page, "serve")
        page.set_viewport_size({"width": 420, "height": 900})
        page.wait_for_timeout(800)
        shot(page, "serve-compare-narrow")
        assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert is_step_10(files)


@pytest.mark.webui
def test_side_by_side_in_the_webui(browser, webui):
    before, _ = webui.picture("a noto emoji of a lion")
    state = webui.probe("state")
    files = put_pair(webui.embeddings, "aaalion")
    with opened(browser, webui.url) as page:
        open_tab(page)
        look_at_both_grids(page, "webui")
    assert is_step_10(files)
    after = webui.probe("state")
    assert {key for key in state if state[key] != after[key]} <= {"embeddings", "lookup"}
    assert webui.picture("a noto emoji of a lion")[0] == before
