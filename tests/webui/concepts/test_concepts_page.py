"""My concepts in a real browser, standing alone: cards, what their buttons do, and that strangers' names are text."""

from __future__ import annotations

import pytest
import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair

from ..compare.test_compare_page import put_pair
from ..test_page import WAIT, browser, field, has_value, in_the_prompt, opened, served, shot  # noqa: F401 (fixtures)

pytestmark = pytest.mark.browser

EVIL = [
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "'quotes' onmouseover='window.hacked=1'",
    "\u202egnp.live",
    "long" * 50,
]


def put(folder, name, file_name=""):
    halves = [{"clip": torch.randn(2, 256, generator=torch.Generator().manual_seed(n))} for n in (1, 2)]
    about = {"settings": '{"use_negative": true}', "model": EVIL[0], "version": EVIL[1]}
    first, second = save_pair(EmbeddingPair(name, halves[0], halves[1], 7, about), folder)
    if file_name:
        first.rename(folder / f"{file_name}.pt")
        second.rename(folder / f"{file_name}-neg.pt")


def open_concepts(page):
    page.locator("button").get_by_text("My concepts", exact=True).last.click()
    page.wait_for_selector(
        "#dreamartist_concepts .dreamartist-cards, #dreamartist_concepts .dreamartist-message", timeout=WAIT
    )


def card(page, name):
    return page.locator(".dreamartist-card", has=page.get_by_text(name, exact=True))


def says(page, words):
    page.locator("#dreamartist_concepts_says").get_by_text(words).wait_for(timeout=WAIT)


def test_use_rename_delete_undo_and_reunite(browser, served):  # noqa: F811
    url, folder = served
    embeddings = folder / "embeddings"
    put(embeddings, "mycat")
    put(embeddings, "dog")
    (embeddings / "dog.pt").rename(embeddings / "hound.pt")
    with opened(browser, url) as page:
        open_concepts(page)
        card(page, "mycat").get_by_role("button", name="Use").click()
        in_the_prompt(page, "mycat")
        open_concepts(page)
        card(page, "mycat").get_by_text("Rename", exact=True).first.click()
        card(page, "mycat").locator("input[type=text]").fill("tom cat")
        card(page, "mycat").locator("input[type=text]").press("Enter")
        card(page, "mycat").get_by_text("must be letters a-z").wait_for(timeout=WAIT)
        card(page, "mycat").get_by_text("Rename", exact=True).first.click()
        card(page, "mycat").locator("input[type=text]").fill("tom")
        card(page, "mycat").get_by_role("button", name="Rename").click()
        says(page, "mycat is called tom now.")
        assert (embeddings / "tom-neg.pt").is_file()
        card(page, "tom").get_by_role("button", name="Delete").click()
        says(page, "tom is in the trash.")
        card(page, "tom").wait_for(state="detached", timeout=WAIT)
        assert not (embeddings / "tom.pt").exists()
        page.locator("#dreamartist_concepts_says").get_by_role("button", name="Undo").click()
        says(page, "tom is back.")
        assert (embeddings / "tom.pt").is_file()
        card(page, "hound").get_by_role("button", name="Reunite").click()
        says(page, "hound is a pair again.")
        assert (embeddings / "hound-neg.pt").is_file()
        shot(page, "concepts")
        assert not page.problems


def test_a_name_that_is_being_typed_outlives_new_cards(browser, served):  # noqa: F811
    url, folder = served
    for name in ("typed", "untyped"):
        put(folder / "embeddings", name)
    with opened(browser, url) as page:
        open_concepts(page)
        card(page, "typed").get_by_text("Rename", exact=True).first.click()
        card(page, "typed").locator("input[type=text]").fill("half a na")
        field(page, "search").fill("typed")
        page.get_by_text("2 in all").wait_for()
        kept = card(page, "typed").locator("input[type=text]")
        kept.wait_for()
        assert kept.input_value() == "half a na"
        assert not card(page, "untyped").locator("input[type=text]").is_visible()
        assert not page.problems


def test_a_card_is_drawn_when_asked_and_fills_the_form(browser, served):  # noqa: F811
    url, folder = served
    put_pair(folder / "embeddings", "drawable")
    with opened(browser, url) as page:
        open_concepts(page)
        card(page, "drawable").get_by_role("button", name="Draw it").click()
        card(page, "drawable").get_by_text("as soon as the model is free").wait_for(timeout=WAIT)
        card(page, "drawable").locator("img").wait_for(timeout=4 * WAIT)
        shot(page, "concepts-drawn")
        card(page, "drawable").get_by_role("button", name="Train again").click()
        filled = page.locator("#dreamartist_says").get_by_text("The form has the settings, but no picture, of drawable")
        filled.wait_for(timeout=WAIT)
        has_value(page, "name", "drawable")
        has_value(page, "start", "lion")
        assert not page.problems


def test_what_strangers_write_is_shown_as_text(browser, served):  # noqa: F811
    url, folder = served
    for number, name in enumerate(EVIL):
        put(folder / "embeddings", f"evil{number}", name)
    (folder / "embeddings" / "broken.pt").write_bytes(b"no embedding")
    with opened(browser, url) as page:
        open_concepts(page)
        page.get_by_text(EVIL[0], exact=True).first.wait_for(timeout=WAIT)
        assert page.get_by_text("\ufffdgnp.live", exact=True).count() == 1
        card(page, EVIL[1]).get_by_role("button", name="Delete").click()
        says(page, EVIL[1])
        page.locator("#dreamartist_concepts_says").get_by_role("button", name="Undo").click()
        says(page, "is back.")
        card(page, EVIL[2]).get_by_role("button", name="Use").click()
        has_value(page, "try_prompt", EVIL[2])
        open_concepts(page)
        field(page, "search").fill("long")
        page.get_by_text("1 in all").wait_for(timeout=WAIT)
        widths = page.evaluate(
            "[...document.querySelectorAll('.dreamartist-card')].map(e => e.scrollWidth - e.clientWidth)"
        )
        assert max(widths) <= 2, "a long name stays in its card"
        assert page.evaluate("window.hacked") is None
        assert page.locator("#dreamartist_concepts [onerror], #dreamartist_concepts [onload]").count() == 0
        assert not page.problems
