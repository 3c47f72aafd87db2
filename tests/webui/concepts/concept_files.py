"""What the browser tests of My concepts share, standing alone and in a WebUI."""

from __future__ import annotations

import re
from contextlib import contextmanager

from PIL import Image

from dreamartist_ext.engine.embedding import pair_id
from dreamartist_ext.files.card import card_bytes, read_card
from dreamartist_ext.files.storage import load_pair, save_pair

from ..test_page import WAIT, drop_folder, shot
from .test_concepts_page import card, open_concepts, says


@contextmanager
def concepts_page(browser, url, opened):
    with opened(browser, url) as page:
        if page.locator("#tabs").count():
            page.locator("#tabs > .tab-nav button").get_by_text("DreamArtist", exact=True).click()
            page.wait_for_selector("#dreamartist_train", state="visible", timeout=WAIT)
        open_concepts(page)
        yield page


def drop(page, *paths):
    """As a user does: on the open accordion; what lay there before goes."""
    box = page.locator("#dreamartist_import")
    if not box.locator(".dreamartist-import").is_visible():
        box.get_by_text("Import a card or embedding files").click()
        box.locator(".dreamartist-import").wait_for(timeout=WAIT)
    box.locator("input[type=file]").set_input_files([str(path) for path in paths])


def import_folder(page, folder, pair):
    """All that can be imported in it is offered."""
    folder.mkdir()
    save_pair(pair, folder)
    (folder / "notes.md").write_text("nothing to import")
    drop_folder(page, ".dreamartist-import", folder)
    assert "a pair" in offer(page, f"{pair.name}.pt").inner_text()
    assert page.locator(".dreamartist-offer").count() == 1
    assert "notes.md" not in page.inner_text("#dreamartist_offers")


def draw(page, embeddings, name):
    """A card without a picture gets one, which the WebUI's own card of the word shows too."""
    card(page, name).get_by_role("button", name="Draw it").click()
    card(page, name).locator("img").wait_for(timeout=4 * WAIT)
    assert (embeddings / f"{name}.preview.png").is_file()
    shot(page, "concepts-drawn-in-a-webui")
    page.locator("#tabs > .tab-nav button").get_by_text("txt2img", exact=True).click()
    page.locator("#txt2img_extra_tabs .tab-nav button").get_by_text("Textual Inversion", exact=True).click()
    page.locator("#txt2img_textual_inversion_extra_refresh").first.click()
    own = page.locator(f"#txt2img_textual_inversion_cards .card[data-name='{name}'] img.preview")
    own.wait_for(timeout=WAIT)
    assert f"{name}.preview.png" in own.get_attribute("src")
    shot(page, "textual-inversion-cards")


def offer(page, words):
    found = page.locator(".dreamartist-offer", has_text=words)
    found.first.wait_for(timeout=WAIT)
    return found.first


def press(offered, label, name=""):
    if name:
        offered.locator("input[type=text]").fill(name)
    offered.get_by_role("button", name=label, exact=True).click()


def share_and_import(page, folder, embeddings, name, pair):
    """Share NAME as a card, import the card as another word, replace that by two files: with the page alone."""
    page.locator("#dreamartist_concepts").get_by_text(name, exact=True).first.wait_for(timeout=WAIT)
    card(page, name).get_by_role("button", name="Share").click()
    link = page.locator("#dreamartist_concepts_says a[download$='.png']")
    link.wait_for(timeout=WAIT)
    with page.expect_download() as download:
        link.click()
    saved = folder / download.value.suggested_filename
    download.value.save_as(saved)
    assert pair_id(read_card(saved)) == pair_id(pair)
    shot(page, f"share-{folder.name}")
    drop(page, saved)
    shot(page, f"import-{folder.name}")
    press(offer(page, f"{name}.png"), "Import", "fromcard")
    says(page, "fromcard is here")
    assert pair_id(load_pair(embeddings, "fromcard")) == pair_id(pair)
    card(page, "fromcard").locator("img").first.wait_for(timeout=WAIT)


def refuse_and_replace(page, folder, embeddings, other):
    """A zip, a picture and a damaged card are refused; two files replace a concept only when asked."""
    (folder / "x.zip").write_bytes(b"PK\3\4")
    (folder / "card.png").write_bytes(card_bytes(other, Image.new("RGB", (64, 64), "teal")))
    Image.open(folder / "card.png").convert("RGB").resize((480, 690)).save(folder / "posted.jpg", quality=80)
    before = sorted(path.name for path in embeddings.iterdir())
    drop(page, folder / "x.zip", folder / "posted.jpg")
    for words in ("x.zip cannot be imported", "posted.jpg was a DreamArtist card"):
        page.locator("#dreamartist_offers").get_by_text(re.compile(re.escape(words))).wait_for(timeout=WAIT)
    assert sorted(path.name for path in embeddings.iterdir()) == before
    drop(page, *save_pair(other, folder / "sent"))
    found = offer(page, "a pair")
    press(found, "Import", "fromcard")
    says(page, "is taken by fromcard.pt")
    press(offer(page, "a pair"), "Import", "again")
    says(page, "again is here")
    assert pair_id(load_pair(embeddings, "again")) == pair_id(other)


def rename_delete_undo(page, embeddings):
    card(page, "again").get_by_text("Rename", exact=True).first.click()
    card(page, "again").locator("input[type=text]").fill("tom")
    card(page, "again").get_by_role("button", name="Rename").click()
    says(page, "again is called tom now.")
    assert (embeddings / "tom-neg.pt").is_file()
    card(page, "tom").get_by_role("button", name="Delete").click()
    says(page, "tom is in the trash.")
    assert not (embeddings / "tom.pt").exists()
    page.locator("#dreamartist_concepts_says").get_by_role("button", name="Undo").click()
    says(page, "tom is back.")
    assert (embeddings / "tom.pt").is_file()


def reunite_and_unpack(page, embeddings, renamed, packed):
    """A pair of which a half was renamed by hand, and a card that lies among the embeddings."""
    card(page, renamed).get_by_role("button", name="Reunite").click()
    says(page, f"{renamed} is a pair again.")
    assert (embeddings / f"{renamed}-neg.pt").is_file()
    card(page, packed).get_by_role("button", name="Unpack").click()
    says(page, f"{packed} is unpacked")
    assert (embeddings / f"{packed}-neg.pt").is_file()
