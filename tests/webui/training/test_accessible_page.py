"""axe on the page at three widths, light and dark; and a first training by keyboard alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ..compare.test_compare_page import compare, put_pair
from ..test_page import (
    PICTURE,
    ROOT,
    WAIT,
    ask_for,
    browser,
    close_options,
    field,
    in_the_prompt,
    opened,
    served,
    shot,
    wait_for_status,
)

__all__ = ["browser", "served"]  # fixtures

pytestmark = pytest.mark.browser
AXE = Path(os.environ.get("DREAMARTIST_AXE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
OURS = "#dreamartist_tabs"
# What gradio makes of its own parts, which no page of it can change.
THEIRS = (
    "#dreamartist_tabs > .tab-wrapper",
    "[data-testid=status-tracker]",
    ".gallery-container",
    ".thumbnail-item",
    "input[data-testid=number-input]:not([aria-label])",  # of gradio 3's sliders
    ".tab-nav",
    ".empty",
)
FIND = """async ([include, exclude]) => {
    const where = {include: [[include]], exclude: exclude.map((each) => [each])};
    const found = await axe.run(where, {resultTypes: ["violations"]});
    const about = (node) => `${node.html.slice(0, 160)} ${node.any[0]?.message || ""}`;
    return found.violations.filter((each) => ["serious", "critical"].includes(each.impact))
        .map((each) => `${each.id}: ${each.nodes.map(about).join(" | ")}`);
}"""


def findings(page):
    if not AXE.is_file():
        pytest.skip("no axe; npm install axe-core, or set DREAMARTIST_AXE to its axe.min.js")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    return page.evaluate(FIND, [OURS, list(THEIRS)])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_that_is_ours(browser, served, theme):
    url, _ = served
    for width in (1400, 1000, 390):
        with opened(browser, f"{url}?__theme={theme}", width=width, height=900) as page:
            page.locator("#dreamartist_picture input[type=file]").set_input_files(str(PICTURE))
            page.wait_for_selector(".dreamartist-stage canvas", timeout=WAIT)
            field(page, "name").fill("cat")
            page.locator("#dreamartist_name_says").get_by_text("ordinary word").wait_for(timeout=WAIT)
            page.click("#dreamartist_fold")
            page.wait_for_timeout(700)
            shot(page, f"axe-{theme}-{width}")
            assert findings(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def lived_in(browser, served):
    """A page with something in every part: a training that is over, concepts whole and broken, a grid of pictures."""
    url, folder = served
    put_pair(folder / "embeddings", "lionlike")
    (folder / "embeddings" / "broken.pt").write_bytes(b"no embedding")
    with opened(browser, url) as page:
        ask_for(page, "axepot", steps=2, save_every=1)
        close_options(page)
        page.click("#dreamartist_train")
        wait_for_status(page, "axepot", "done")
        open_sub_tab(page, "Compare")
        page.wait_for_function("document.querySelector('#dreamartist_compare_name input').value !== ''", timeout=WAIT)
        field(page, "compare_prompts").fill("a [name]")
        compare(page, "axe-compared")
    return url


def open_sub_tab(page, label):
    tabs = page.locator("#dreamartist_tabs .tab-nav button, #dreamartist_tabs button[role=tab]")
    tabs.get_by_text(label, exact=True).first.click()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_sub_tab(browser, lived_in, theme):
    for width in (1400, 1000, 390):
        with opened(browser, f"{lived_in}?__theme={theme}", width=width, height=900) as page:
            page.wait_for_selector("#dreamartist_slider img, #dreamartist_curve svg", timeout=WAIT)
            found = {"Train": findings(page)}
            for label, sign in (
                ("My concepts", ".dreamartist-card"),
                ("Compare", "#dreamartist_compare_grid img"),
                ("Try it", "#dreamartist_try_prompt"),
            ):
                open_sub_tab(page, label)
                page.wait_for_selector(sign, timeout=WAIT)
                page.wait_for_timeout(500)
                shot(page, f"axe-{label}-{theme}-{width}")
                found[label] = findings(page)
            assert {label: each for label, each in found.items() if each} == {}, (theme, width)


def choose_by_keyboard(page, picture):
    """The page may still be putting itself together when the first key is pressed; and on a busy machine a key may open
    the chooser late. Where nobody listens by then, Chromium opens one of its own, and no other one after it."""
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # Playwright marks what it calls
    until = time.monotonic() + WAIT / 1000
    while not choosers:
        assert time.monotonic() < until, "no key opens the chooser"
        page.locator("#dreamartist_picture input[type=file]").focus()
        page.keyboard.press("Enter")
        for _ in range(25):
            if not choosers:
                page.wait_for_timeout(200)
    choosers[0].set_files(str(picture))


def test_a_first_training_by_keyboard_alone(browser, served):
    url, folder = served
    with opened(browser, url) as page:
        choose_by_keyboard(page, PICTURE)
        page.wait_for_selector(".dreamartist-stage canvas", timeout=WAIT)

        def tab_to(selector):
            for _ in range(200):
                page.keyboard.press("Tab")
                if page.evaluate(f"document.activeElement?.closest({selector!r}) !== null"):
                    return
            pytest.fail(f"no way to {selector} by keyboard")

        tab_to("#dreamartist_name")
        page.keyboard.type("keypot")
        tab_to("#dreamartist_fold")
        page.keyboard.press("Enter")
        tab_to("#dreamartist_steps")
        page.keyboard.press("Control+A")
        page.keyboard.type("2")
        page.locator("#dreamartist_train").focus()
        page.keyboard.press("Enter")
        wait_for_status(page, "keypot", "done")
        page.wait_for_selector("#dreamartist_use", state="visible")
        tab_to("#dreamartist_use")
        page.keyboard.press("Enter")
        in_the_prompt(page, "keypot")
        page.wait_for_function("document.activeElement.closest('#dreamartist_try_prompt') !== null", timeout=WAIT)
        hidden = page.evaluate(
            "[...document.querySelectorAll('.dreamartist-hidden button, button.dreamartist-hidden')]"
            ".filter((each) => each.offsetParent !== null).length"
        )
        assert hidden == 0, "what only the script presses cannot be tabbed to"
    assert (folder / "embeddings" / "keypot.pt").is_file()
