"""A newcomer's way in each WebUI's own page: from a dropped picture to a picture drawn with the word; and axe on it."""

from __future__ import annotations

import base64
import re

import pytest

from testbed.webui import PROMPT

from .conftest import SIDES
from .test_a1111_host import STATE_OF_A_PICTURE, left
from .test_in_every_webui import IN_SDNEXT_TOO
from .test_page import (
    PICTURE,
    SHOT_STEPS,
    SHOTS,
    WAIT,
    browser,
    close_options,
    fill,
    fill_shown_options,
    in_txt2img,
    open_options,
    open_tab,
    opened,
    shot,
    wait_for_status,
)
from .training.test_accessible_page import findings, open_sub_tab
from .training.test_memory_page import said

__all__ = ["browser"]  # a fixture

pytestmark = pytest.mark.browser

DRAWN = {"steps": 4, "width": 64, "height": 64}
DROP = """([content, name]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0)), given = new DataTransfer();
    given.items.add(new File([bytes], name, {type: "image/png"}));
    const place = document.querySelector("#dreamartist_picture .dreamartist-drop");
    place.dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true}));
}"""


def drop(page):
    """As the mouse does, not by the file chooser."""
    page.evaluate(DROP, [base64.b64encode(PICTURE.read_bytes()).decode(), PICTURE.name])
    page.wait_for_selector("#dreamartist_picture .dreamartist-stage canvas", timeout=WAIT)


def choose_size(page, side):
    fill(page, "width", side)
    fill(page, "height", side)


def open_picture_options(page):
    """Where the size is; open at once only where the model's own recipe sets it."""
    open_options(page)
    if not page.locator("#dreamartist_width").is_visible():
        page.locator("#dreamartist_options").get_by_text("Picture", exact=True).first.click()


def draw(page):
    """By the WebUI's own button, small; the picture's infotext as the page shows it."""
    for name, value in DRAWN.items():
        number = page.locator(f"#txt2img_{name} input[type=number]")
        number.fill(str(value))
        number.blur()
    page.click("#txt2img_generate")
    page.wait_for_selector("#txt2img_gallery img", timeout=4 * WAIT)
    page.locator("#html_info_txt2img", has_text="Steps: 4").first.wait_for(state="attached", timeout=WAIT)
    return page.text_content("#html_info_txt2img")  # SD.Next shows a table that it makes of it


@IN_SDNEXT_TOO
def test_from_a_dropped_picture_to_a_picture_with_the_word(anywhere, browser):
    kind, side = anywhere.kind.marker, SIDES[anywhere.kind.checkpoint]
    name, before, state = f"{kind}pot", anywhere.picture(PROMPT), anywhere.probe("state")
    with opened(browser, anywhere.url) as page:
        open_tab(page)
        shot(page, f"{kind}-idle")
        drop(page)
        fill(page, "name", name)
        page.locator("#dreamartist_name_says").get_by_text(re.compile(r"\b[Ff]ree\.")).wait_for(timeout=WAIT)
        open_picture_options(page)
        choose_size(page, 1024)
        said(page, r"1024x1024: a step keeps about [\d.]+ GB")
        choose_size(page, side)
        fill(page, "steps", SHOT_STEPS)
        fill(page, "save_every", SHOT_STEPS // 2)
        fill(page, "check_every", SHOT_STEPS // 2)
        fill_shown_options(page)
        close_options(page)
        page.click("#dreamartist_estimate")
        measured = re.compile(rf"About [\d:]+ at {side}x{side}: {SHOT_STEPS} steps of [\d.]+ s")
        page.locator("#dreamartist_measured").get_by_text(measured).wait_for(timeout=4 * WAIT)
        shot(page, f"{kind}-measured")
        page.click("#dreamartist_train")
        wait_for_status(page, name, "waiting", "running", "done")
        if SHOTS:
            page.wait_for_selector("#dreamartist_previews img", timeout=4 * WAIT)
        shot(page, f"{kind}-training")
        wait_for_status(page, name, "done", seconds=400)
        page.wait_for_selector("#dreamartist_previews img", timeout=WAIT)
        shot(page, f"{kind}-done")
        page.click("#dreamartist_use")
        in_txt2img(page, name)
        assert not page.problems  # reForge's own page throws two when Generate is pressed, without our extension too
        infotext = draw(page)
        shot(page, f"{kind}-drawn")
        assert re.search(rf"(?s)\b{name}\b.*Negative prompt: {name}-neg\b", infotext), infotext
    assert anywhere.probe("vectors", name=name) is not None
    after = anywhere.probe("state")
    assert left(state, after) <= {"embeddings", "lookup", *STATE_OF_A_PICTURE}
    assert anywhere.picture(PROMPT) == before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_that_is_ours(anywhere, browser, theme):
    with opened(browser, f"{anywhere.url}/?__theme={theme}") as page:
        open_tab(page)
        drop(page)
        open_options(page)
        page.wait_for_timeout(700)
        shot(page, f"{anywhere.kind.marker}-axe-{theme}")
        found = {"Train": findings(page)}
        for label in ("My concepts", "Compare"):
            open_sub_tab(page, label)
            page.wait_for_timeout(700)
            found[label] = findings(page)
        assert {label: each for label, each in found.items() if each} == {}
