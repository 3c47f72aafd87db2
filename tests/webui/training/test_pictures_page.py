"""Dropping pictures, in a real browser: several, huge, tiny, transparent, cut off, and what is no picture at all."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dreamartist_ext.files.picture_files import find_caption, find_mask
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.webui.training.kept_pictures import kept_pictures

from ..test_page import (
    PATIENCE,
    PICTURE,
    WAIT,
    ask_for,
    browser,
    drop_folder,
    drop_picture,
    opened,
    paint,
    served,
    shot,
    wait_for_status,
)

__all__ = ["browser", "served"]  # fixtures

pytestmark = pytest.mark.browser
FREEZE = 400 * PATIENCE  # milliseconds that the page may not answer


def watch_for_freezes(page):
    page.evaluate("""() => {
        window.longest = 0;
        let last = performance.now();
        setInterval(() => {
            const now = performance.now();
            window.longest = Math.max(window.longest, now - last);
            last = now;
        }, 20);
    }""")


def tray_says(page, words):
    page.locator(".dreamartist-tray-says").get_by_text(words).wait_for(timeout=3 * WAIT)


def give(page, *paths):
    page.locator("#dreamartist_picture input[type=file]").set_input_files([str(path) for path in paths])


def thumbs(page, count):
    page.wait_for_function(f"document.querySelectorAll('.dreamartist-thumbs li').length === {count}", timeout=3 * WAIT)


def test_what_is_dropped_is_looked_at_before_anything_freezes(browser, served, tmp_path):
    url, _ = served
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    Image.fromarray(noise).resize((8000, 6000)).save(tmp_path / "huge.jpg", quality=60)
    (tmp_path / "notes.png").write_text("no picture at all")
    Image.new("RGB", (12, 9)).save(tmp_path / "tiny.png")
    Image.new("RGB", (64, 400), "red").save(tmp_path / "tall.png")
    clear = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    clear.paste((255, 0, 0, 255), (60, 60, 180, 180))
    clear.save(tmp_path / "clear.png")
    with opened(browser, url) as page:
        watch_for_freezes(page)
        give(page, tmp_path / "notes.png", tmp_path / "tiny.png")
        tray_says(page, '"notes.png" cannot be opened as a picture')
        tray_says(page, '"tiny.png" is too small at 12x9')
        assert page.locator(".dreamartist-thumbs li").count() == 0
        give(page, tmp_path / "huge.jpg")
        thumbs(page, 1)
        page.get_by_text("It was 8000x6000, and is scaled down to 2309x1732").wait_for(timeout=WAIT)
        assert page.evaluate("window.longest") < FREEZE
        give(page, tmp_path / "tall.png", tmp_path / "clear.png")
        thumbs(page, 3)
        page.locator(".dreamartist-thumbs .pick").nth(1).click()
        page.get_by_text("84 % of it is cut off").wait_for(timeout=WAIT)
        page.get_by_role("button", name="Keep all of it").click()
        page.get_by_text("84 % of it is cut off").wait_for(state="detached", timeout=WAIT)
        page.locator(".dreamartist-thumbs .pick").nth(2).click()
        page.get_by_text("Its transparent parts become white.").wait_for(timeout=WAIT)
        shot(page, "pictures")
        page.get_by_role("button", name="Ignore them instead").click()
        page.get_by_text("Its transparent parts become white.").wait_for(state="detached", timeout=WAIT)
        page.locator(".dreamartist-count").get_by_text("2 changed").wait_for(timeout=WAIT)
        page.locator(".dreamartist-thumbs .drop").first.click()
        thumbs(page, 2)
        for number in range(50):
            Image.new("RGB", (200, 200), (number, 0, 0)).save(tmp_path / f"p{number}.png")
        page.evaluate("window.longest = 0")
        give(page, *(tmp_path / f"p{number}.png" for number in range(50)))
        thumbs(page, 52)
        assert page.evaluate("window.longest") < FREEZE
        assert not page.problems


SHARE_PAINTED = """async () => {
    const [item] = JSON.parse(await dreamartistPictures());
    if (!item.mask) return 0;
    const image = await createImageBitmap(await (await fetch(item.mask)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height), draw = canvas.getContext("2d");
    draw.drawImage(image, 0, 0);
    const alpha = draw.getImageData(0, 0, image.width, image.height).data.filter((_, at) => at % 4 === 3);
    return alpha.filter((each) => each > 127).length / alpha.length;
}"""


def test_an_even_background_is_masked_by_a_click_and_comes_back_by_another(browser, served, tmp_path):
    url, _ = served
    shown = Image.new("RGB", (300, 300), (240, 240, 235))
    shown.paste((200, 30, 40), (100, 50, 200, 200))
    shown.paste((240, 240, 235), (140, 100, 160, 120))  # of the background's colour, but inside
    shown.save(tmp_path / "even.png")
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "busy.png")
    with opened(browser, url) as page:
        drop_picture(page, tmp_path / "even.png")
        page.get_by_role("button", name="Background away").click()
        page.get_by_text("The background, 83 % of the picture, counts less now.").wait_for(timeout=WAIT)
        assert abs(page.evaluate(SHARE_PAINTED) - 1 / 6) < 0.01
        shot(page, "background-away")
        page.get_by_role("button", name="Undo", exact=True).click()
        assert page.evaluate(SHARE_PAINTED) == 0
        page.locator(".dreamartist-thumbs .drop").first.click()
        drop_picture(page, tmp_path / "busy.png")
        page.get_by_role("button", name="Background away").click()
        page.get_by_text("not even enough to be told apart").wait_for(timeout=WAIT)
        assert page.evaluate(SHARE_PAINTED) == 0
        assert not page.problems


def test_each_picture_has_its_mask_and_caption(browser, served):
    url, folder = served
    with opened(browser, url) as page:
        ask_for(page, "twopots", steps=2)
        drop_picture(page, PICTURE.with_name("owl.png"))
        thumbs(page, 2)
        page.locator(".dreamartist-thumbs .pick").nth(1).click()
        page.locator(".dreamartist-editor .caption").fill("an owl")
        paint(page)
        shot(page, "two-pictures")
        page.click("#dreamartist_train")
        wait_for_status(page, "twopots", "done")
        page.click("#dreamartist_again")
        page.locator("#dreamartist_says").get_by_text("The form has the picture and the settings of twopots").wait_for()
        thumbs(page, 2)
        page.locator(".dreamartist-thumbs .pick").nth(1).click()
        assert page.locator(".dreamartist-editor .caption").input_value() == "an owl"
        assert not page.problems
    first, second = kept_pictures(RunFiles(folder / "embeddings", "twopots"))
    assert (find_mask(first), find_caption(first)) == (None, None)
    assert find_caption(second).read_text() == "an owl"
    assert max(Image.open(find_mask(second)).convert("L").tobytes()) == 255


def test_of_a_folder_the_pictures_and_their_captions_are_taken(browser, served, tmp_path):
    url, _ = served
    for name in ("one", "two"):
        Image.open(PICTURE).save(tmp_path / f"{name}.png")
    (tmp_path / "one.txt").write_text("a red pot")
    (tmp_path / "notes.md").write_text("no picture")
    with opened(browser, url) as page:
        drop_folder(page, ".dreamartist-tray .dreamartist-drop", tmp_path)
        thumbs(page, 2)
        taken = page.evaluate("dreamartistWork.then(() => dreamartistTray.map((item) => [item.name, item.caption]))")
        assert taken == [["one.png", "a red pot"], ["two.png", ""]]
        assert not page.inner_text(".dreamartist-tray-says")
        assert not page.problems
