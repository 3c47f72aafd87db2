"""Cards are shared and imported in a real browser; strangers' words are text; 2,000 embeddings take no second."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.storage import save_pair

from ..test_page import PATIENCE, WAIT, browser, field, opened, served, shot  # noqa: F401 (fixtures)
from .concept_files import concepts_page, drop, offer, press, refuse_and_replace, rename_delete_undo, share_and_import
from .test_concepts_page import EVIL, says

pytestmark = pytest.mark.browser
MANY = 2000


def pair_of(name, seed=0, about=(), width=256):
    halves = [{"clip": torch.randn(2, width, generator=torch.Generator().manual_seed(seed + n))} for n in (1, 2)]
    settings = {"settings": '{"use_negative": true}', "model": "v1-5", "made": "2026-11-24"}
    return EmbeddingPair(name, halves[0], halves[1], 100, settings | dict(about))


def test_share_import_refuse_replace(browser, served, tmp_path):  # noqa: F811
    url, folder = served
    save_pair(pair_of("mycat"), folder / "embeddings")
    with concepts_page(browser, url, opened) as page:
        share_and_import(page, tmp_path, folder / "embeddings", "mycat", pair_of("mycat"))
        refuse_and_replace(page, tmp_path, folder / "embeddings", pair_of("other", 7))
        rename_delete_undo(page, folder / "embeddings")
        assert not page.problems


def test_strangers_words_in_a_file_are_text(browser, served, tmp_path):  # noqa: F811
    url, _ = served
    about = {"model": EVIL[0], "made": EVIL[1], "version": EVIL[2]}
    (tmp_path / "evil.png").write_bytes(card_bytes(pair_of("evil", 3, about), Image.new("RGB", (64, 64))))
    evil = save_pair(pair_of("x", 4, about), tmp_path)[0].rename(tmp_path / f"{EVIL[0]}.pt")
    with concepts_page(browser, url, opened) as page:
        drop(page, tmp_path / "evil.png", evil)
        assert EVIL[0] in offer(page, "evil.png").inner_text()
        press(offer(page, "evil.png"), "Import")
        says(page, "evil is here")
        page.locator("#dreamartist_concepts").get_by_text(EVIL[0], exact=True).first.wait_for(timeout=WAIT)
        assert page.evaluate("window.hacked") is None
        assert page.locator("[onerror], [onload]").count() == 0
        assert not page.problems


def seconds_of_the_page(browser, url, cards):  # noqa: F811
    """From the click on the tab to the cards on the screen, three times, as the page itself sees it."""
    found = []
    for _ in range(3):
        with opened(browser, url) as page:
            page.wait_for_timeout(1500)
            page.evaluate(SEE, cards)
            page.locator("button").get_by_text("My concepts", exact=True).last.click()
            page.wait_for_function("window.painted", timeout=WAIT)
            found.append(page.evaluate("(window.painted - window.clicked) / 1000"))
            shot(page, f"many-{cards}")
    return found


SEE = """cards => {
    const buttons = [...document.querySelectorAll("button")].filter(e => e.textContent.trim() === "My concepts");
    buttons.pop().addEventListener("click", () => { window.clicked = performance.now(); }, true);
    const look = () => {
        if (!window.painted && document.querySelectorAll(".dreamartist-card").length === cards) {
            requestAnimationFrame(() => requestAnimationFrame(() => { window.painted = performance.now(); }));
        }
    };
    new MutationObserver(look).observe(document.body, {subtree: true, childList: true});
}"""


def test_a_folder_of_two_thousand_is_shown(browser, served):  # noqa: F811
    url, folder = served
    for path in (folder / "embeddings").iterdir():
        path.unlink()
    save_pair(pair_of("single", 3), folder / "embeddings")
    alone = seconds_of_the_page(browser, url, 1)
    template = [path.read_bytes() for path in save_pair(pair_of("template", 9), folder / "embeddings")]
    for number in range(MANY // 2):
        for ending, content in zip(("", "-neg"), template, strict=True):
            (folder / "embeddings" / f"many{number}{ending}.pt").write_bytes(content)
    seconds = seconds_of_the_page(browser, url, 48)
    for count, each in ((2, alone), (MANY, seconds)):
        print(f"{count} files: the page in {', '.join(f'{one:.2f} s' for one in each)}, the first one cold")
    assert min(seconds) < PATIENCE
