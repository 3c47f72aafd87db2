"""Memory before the click, in a real browser, on the embedded model."""

from __future__ import annotations

import re

import pytest

from ..test_page import PICTURE, WAIT, browser, drop_picture, fill, open_options, open_tab, opened, served, shot  # noqa: F401

pytestmark = pytest.mark.browser


def said(page, pattern):
    page.locator("#dreamartist_memory").get_by_text(re.compile(pattern)).wait_for(timeout=WAIT)


def test_the_page_says_what_a_step_keeps_as_soon_as_there_is_a_size(browser, served):  # noqa: F811
    url, _ = served
    with opened(browser, url) as page:
        drop_picture(page, PICTURE)
        open_options(page)
        fill(page, "width", 1024)
        fill(page, "height", 1024)
        said(page, r"1024x1024: a step keeps about [\d.]+ GB")
        fill(page, "width", 512)
        said(page, r"512x1024: a step keeps about [\d.]+ GB")
        said(page, r"512x1024 is about 32 times the work of this model's own 128x128")
        page.locator("#dreamartist_memory").scroll_into_view_if_needed()
        shot(page, "memory")


@pytest.mark.webui
def test_in_the_webui_the_page_says_it_too(browser, webui):  # noqa: F811
    with opened(browser, webui.url) as page:
        open_tab(page)
        drop_picture(page)
        open_options(page)
        fill(page, "width", 1024)
        said(page, r"1024x\d+: a step keeps about [\d.]+ GB of the [\d.]+ GB that are free\.")
        shot(page, "webui-memory")
