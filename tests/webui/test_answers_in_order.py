"""What is asked at each change, in a real browser whose first answer is late: the page shows what holds for the last
change. Gradio 3 drops a question while an earlier one waits; today's takes both, and the older answer may come last."""

from __future__ import annotations

import pytest
import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair

from .concepts.concept_files import drop
from .concepts.test_concepts_page import open_concepts
from .test_page import WAIT, browser, field, fill, open_tab, opened, served

__all__ = ["browser", "served"]  # fixtures

pytestmark = pytest.mark.browser
OTHERS_COME = 1500  # milliseconds, in which an answer that is not held comes


@pytest.fixture(params=["serve", pytest.param("webui", marks=pytest.mark.webui)])
def place(request):
    """The address of the page, and its folder of embeddings."""
    if request.param == "webui":
        webui = request.getfixturevalue("webui")
        return webui.url, webui.embeddings
    url, folder = request.getfixturevalue("served")
    return url, folder / "embeddings"


@pytest.fixture
def page(place, browser):
    with opened(browser, place[0]) as page:
        if page.locator("#tabs").count():
            open_tab(page)
        yield page


class Held:
    """What is sent with these words, or to such an address, is held until the end of the block."""

    def __init__(self, page, words):
        self.page, self.words, self.held, self.is_over = page, words, [], False

    def __enter__(self):
        self.page.wait_for_timeout(OTHERS_COME)  # what the page asks when it is opened
        self.page.route("**/*", self._take)
        return self

    def _take(self, route):
        sent = route.request.post_data_buffer or b""
        if not self.is_over and (self.words in route.request.url or self.words.encode() in sent):
            self.held.append(route)
        else:
            route.continue_()

    def wait(self):
        for _ in range(100):
            if self.held:
                return
            self.page.wait_for_timeout(100)
        pytest.fail(f"nothing was sent with {self.words}")

    def __exit__(self, *_):
        self.page.wait_for_timeout(OTHERS_COME)
        self.is_over = True
        for route in self.held:
            route.continue_()
        self.page.wait_for_timeout(OTHERS_COME)


def test_what_is_said_of_a_name_is_of_the_name_that_stands_there(page):
    with Held(page, '"x-neg"') as first:
        fill(page, "name", "x-neg")
        first.wait()
        fill(page, "name", "mypot")
    page.locator("#dreamartist_name_says").get_by_text("mypot is free.").wait_for(timeout=WAIT)


def test_the_settings_are_of_the_kind_that_is_chosen(page):
    choose = page.locator("#dreamartist_kind")
    with Held(page, '"style"') as first:
        choose.get_by_text("style", exact=True).click()
        first.wait()
        choose.get_by_text("photo", exact=True).click()
    template = "document.querySelector('#dreamartist_template textarea, #dreamartist_template input').value"
    page.wait_for_function(f"{template}.includes('photo of')", timeout=WAIT)
    assert "style of" not in page.evaluate(template)
    assert "photo" in page.inner_text("#dreamartist_kind_says").lower()


def test_the_cards_are_those_that_are_searched_for(page, place):
    for name in ("orderone", "ordertwo"):
        save_pair(EmbeddingPair(name, {"clip": torch.ones(2, 8)}, {"clip": torch.ones(2, 8)}), place[1])
    open_concepts(page)
    cards = page.locator("#dreamartist_concepts")
    cards.get_by_text("orderone", exact=True).first.wait_for(timeout=WAIT)
    with Held(page, '"orderone"') as first:
        field(page, "search").fill("orderone")
        first.wait()
        field(page, "search").fill("ordertwo")
    cards.get_by_text("ordertwo", exact=True).first.wait_for(timeout=WAIT)
    assert not cards.get_by_text("orderone", exact=True).count()


def test_what_is_dropped_is_looked_at_whatever_else_changes_meanwhile(page, tmp_path):
    """As while a training goes on: the page is brought up to date every second."""
    (tmp_path / "x.zip").write_bytes(b"PK\3\4")
    open_concepts(page)
    with Held(page, "upload") as upload:
        drop(page, tmp_path / "x.zip")
        page.wait_for_timeout(OTHERS_COME)
        field(page, "search").fill("other")
    assert upload.held or page.locator(".dreamartist-import").count(), "neither gradio's field nor ours"
    page.locator("#dreamartist_offers").get_by_text("x.zip cannot be imported").wait_for(timeout=WAIT)
