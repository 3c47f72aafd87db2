"""The tab in a real browser, standing alone on the embedded model; and the same in a real WebUI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from dreamartist_ext.engine.embedding import pair_id
from dreamartist_ext.files.card import read_card
from dreamartist_ext.files.picture_files import find_mask
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_pair
from dreamartist_ext.webui.training.jobs import kept_pictures
from testbed.webui import PATIENCE, free_port

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "dreamartist_ext" / "assets" / "samples" / "teapot.png"
SHOTS = os.environ.get("DREAMARTIST_SHOTS")  # a folder, to keep the pictures of every state
SHOT_STEPS = int(os.environ.get("DREAMARTIST_SHOT_STEPS", "4"))  # more make a picture for the README
SHOWN_OPTIONS = {  # of the embedded model's recipe, what has a field to type in
    "learning_rate": 0.01,
    "guidance": 2,
    "negative_lr_ratio": 0.25,
    "noisy_weight": 0.5,
    "timestep_exponent": 0.65,
}
SERVER_PYTHON = os.environ.get("DREAMARTIST_SERVER_PYTHON", sys.executable)  # with another gradio, say
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
WAIT = 40_000 * PATIENCE  # milliseconds
UNPAINTED = 64  # the mask's grey where nothing was painted


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright; pip install playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium; apt install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@contextmanager
def opened(browser, url, width=1300, height=1000):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(WAIT)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(url, timeout=WAIT)
    page.wait_for_selector("#dreamartist_train", state="attached", timeout=WAIT)
    try:
        yield page
    finally:
        page.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    pytest.importorskip("gradio", reason='no gradio; pip install "dreamartist[serve]"')
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [SERVER_PYTHON, "-m", "dreamartist_ext", "serve", "--port", str(port)],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1", "DREAMARTIST_RECIPES": str(folder / "recipes")},
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}/"
    wait_until_it_answers(url, process, folder / "log.txt")
    yield url, folder
    process.terminate()
    process.wait(20)


def wait_until_it_answers(url, process, log):
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(240):
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            opener.open(url, timeout=5)
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(log.read_text(errors="replace")[-2000:])


def shot(page, name):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def field(page, name):
    return page.locator(f"#dreamartist_{name} textarea, #dreamartist_{name} input").first


def fill(page, name, value):
    field(page, name).fill(str(value))
    field(page, name).blur()


def drop_picture(page, *paths):
    page.locator("#dreamartist_picture input[type=file]").set_input_files([str(path) for path in paths or (PICTURE,)])
    page.wait_for_selector("#dreamartist_picture .dreamartist-stage canvas", timeout=WAIT)
    page.wait_for_function("document.querySelector('.dreamartist-tray-says').textContent === ''", timeout=WAIT)


def drop_folder(page, selector, folder):
    """As a user drags one from the desktop; a file field's own way is files."""
    box = page.locator(selector).first.bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    browser = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        browser.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})


def open_options(page):
    page.click("#dreamartist_fold")
    field(page, "steps").wait_for(state="visible", timeout=WAIT)


def close_options(page):
    page.click("#dreamartist_fold")


def ask_for(page, name, steps, save_every=2, batch=1):
    drop_picture(page)
    fill(page, "name", name)
    open_options(page)
    fill(page, "steps", steps)
    fill(page, "batch_size", batch)
    fill(page, "save_every", save_every)
    fill(page, "check_every", save_every)


def status(page, name):
    """Of the training of this name; empty while the page shows another one."""
    return page.evaluate(
        """(name) => {
        const live = document.querySelector("#dreamartist_live .dreamartist-live");
        return live?.querySelector("b").textContent === name ? live.dataset.status : "";
    }""",
        name,
    )


def wait_for_status(page, name, *wanted, seconds=150):
    deadline = time.monotonic() + seconds * PATIENCE
    while time.monotonic() < deadline:
        if status(page, name) in wanted:
            return
        page.wait_for_timeout(200)
    pytest.fail(f"{name} is {status(page, name)!r}, not {wanted}: {page.inner_text('#dreamartist_live')}")


def has_value(page, name, value):
    """A field that the server fills has this value now, or gets it."""
    fields = f"#dreamartist_{name} textarea, #dreamartist_{name} input"
    page.wait_for_function("([fields, value]) => document.querySelector(fields)?.value === value", arg=[fields, value])


def has_at_least(page, count, selector):
    page.wait_for_function(
        "([selector, count]) => document.querySelectorAll(selector).length >= count", arg=[selector, count]
    )


def test_a_dark_page_is_known_by_its_background(browser, served):
    """SD.Next's themes are dark without the class that gradio has for it."""
    url, _ = served

    def text():
        return page.evaluate(
            "getComputedStyle(document.querySelector('#dreamartist_tabs')).getPropertyValue('--da-text')"
        )

    with opened(browser, f"{url}?__theme=light") as page:
        page.wait_for_timeout(1500)
        light = text()
        page.add_style_tag(
            content="* { background-color: transparent !important } body { background: #101014 !important }"
        )
        page.wait_for_selector("#dreamartist_tabs.dreamartist-dark", timeout=WAIT)
        dark = text()
        page.add_style_tag(content="body { background: #fafafa !important }")
        page.wait_for_selector("#dreamartist_tabs:not(.dreamartist-dark)", timeout=WAIT)
        assert text() == light
    assert [int(colour.strip()[1:3], 16) > 128 for colour in (light, dark)] == [False, True]


def test_from_a_picture_to_a_word(browser, served):
    url, folder = served
    with opened(browser, url) as page:
        page.wait_for_timeout(1500)
        shot(page, "serve-idle")
        ask_for(page, "mypot", steps=6)
        page.get_by_text("mypot is free.").wait_for(timeout=WAIT)
        close_options(page)
        acknowledged_at_once(page, "#dreamartist_train", "Starting ...")
        page.locator("#dreamartist_train:disabled", has_text="Training").wait_for(timeout=WAIT)
        page.wait_for_function("document.title.endsWith('% mypot')", timeout=WAIT)
        wait_for_status(page, "mypot", "done")
        assert re.search("mypot is learned|mypot has not learned", page.inner_text("#dreamartist_live"))
        page.wait_for_function("document.title === 'DreamArtist'", timeout=WAIT)
        assert (folder / "embeddings" / "mypot.pt").is_file()
        assert (folder / "embeddings" / "mypot-neg.pt").is_file()
        has_at_least(page, 3, "#dreamartist_curve svg circle")
        assert page.locator("#dreamartist_curve svg circle").count() == 3
        has_at_least(page, 3 * 3, "#dreamartist_previews img")
        has_at_least(page, 2, "#dreamartist_slider img")
        assert page.locator("#dreamartist_slider img").count() == 2
        is_still(page)
        page.click("#dreamartist_share")
        link = page.locator("#dreamartist_shared a[download='mypot.png']")
        link.wait_for(timeout=WAIT)
        with page.expect_download() as download:
            link.click()
        download.value.save_as(folder / "mypot.png")
        assert pair_id(read_card(folder / "mypot.png")) == pair_id(load_pair(folder / "embeddings", "mypot"))
        shot(page, "serve-done")
        page.click("#dreamartist_use")
        in_the_prompt(page, "mypot")
        page.click("#dreamartist_draw")
        page.get_by_text("Added to the negative prompt: mypot-neg.").wait_for(timeout=WAIT)
        page.wait_for_selector("#dreamartist_gallery img", timeout=WAIT)
        shot(page, "serve-tried")
        assert not page.problems


def acknowledged_at_once(page, button, words):
    """Within 0.2 s, measured in the page itself, of a click there."""
    page.evaluate(
        """([selector, words]) => {
        const button = document.querySelector(selector);
        window.seen = -1;
        const began = performance.now();
        new MutationObserver(() => {
            if (button.dataset.busy === words && window.seen < 0) window.seen = performance.now() - began;
        }).observe(button, {attributes: true});
        button.click();
    }""",
        [button, words],
    )
    page.wait_for_function("window.seen >= 0", timeout=WAIT)
    assert page.evaluate("window.seen") < 200


def in_the_prompt(page, word):
    """Of the sub-tab "Try it", which is opened first."""
    fields = "#dreamartist_try_prompt textarea, #dreamartist_try_prompt input"
    page.wait_for_function(f"document.querySelector('{fields}')?.value === '{word}'", timeout=WAIT)


def in_txt2img(page, word):
    page.wait_for_function(f"document.querySelector('#txt2img_prompt textarea').value === '{word}'", timeout=WAIT)


def is_still(page):
    """Nothing is asked for while nothing is trained, once all that was asked before has been answered."""
    page.wait_for_function(
        "Date.now() > dreamartistPoll.soon && !Object.values(dreamartistAsked).some((it) => it.waits)"
    )
    page.evaluate("() => { window.asked = 0; document.querySelector('#dreamartist_refresh').onclick = () => asked++ }")
    page.wait_for_timeout(4000)
    assert page.evaluate("window.asked") == 0


IN_SIGHT = """(selector) => {
    const {top, bottom} = document.querySelector(selector).getBoundingClientRect();
    return top > -1 && bottom < innerHeight + 1; // fractions of a pixel
}"""


def see_the_mask_spread(page):
    assert not page.locator("#dreamartist_spread").is_visible(), "nothing is painted yet"
    paint(page)
    page.click("#dreamartist_spread")
    page.wait_for_selector("#dreamartist_spread_says img", timeout=WAIT)
    assert page.locator("#dreamartist_spread_says img").count() in (1, 2), "one where all parts look alike"
    sizes = page.locator("#dreamartist_spread_says img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert min(sizes) > 0


def test_a_painted_mask_is_seen_before_training(browser, served):
    url, _ = served
    with opened(browser, url) as page:
        drop_picture(page)
        see_the_mask_spread(page)
        shot(page, "serve-mask")
        open_options(page)
        has_value(page, "spread_mask", "1")
        shot(page, "serve-mask-options")
        assert not page.problems


def test_a_bad_name_and_a_missing_picture_are_said(browser, served):
    url, folder = served
    with opened(browser, url) as page:
        for name, words in (("../../x", "letters a-z"), ("x-neg", "must not end with"), ("con", "Windows reserves")):
            fill(page, "name", name)
            page.locator("#dreamartist_name_says").get_by_text(words).wait_for(timeout=WAIT)
        fill(page, "name", "fine")
        page.click("#dreamartist_train")
        says = page.locator("#dreamartist_pictures_says")
        says.get_by_text("There is no picture to learn from").wait_for(timeout=WAIT)
        shot(page, "serve-failing")
        assert not (folder / "embeddings" / "fine.pt").exists()


def test_a_training_survives_a_reload_and_is_paused_and_continued(browser, served):
    url, folder = served
    with opened(browser, url, height=600) as page:
        ask_for(page, "slowpot", steps=20000, save_every=20000)  # more than any machine makes meanwhile
        field(page, "start").scroll_into_view_if_needed()
        assert not page.evaluate(IN_SIGHT, "#dreamartist_live")
        page.click("#dreamartist_train")
        wait_for_status(page, "slowpot", "running")
        page.wait_for_function(f"({IN_SIGHT})('#dreamartist_live')", timeout=WAIT)
        shot(page, "serve-training")
    with opened(browser, url, width=420, height=900) as page:
        wait_for_status(page, "slowpot", "running")
        has_at_least(page, 1, "#dreamartist_live .dreamartist-learned img")
        shot(page, "serve-narrow")
        assert page.locator("#dreamartist_live .dreamartist-learned img").count() == 1, "its picture, from the disk"
        page.route("**/*", lambda route: route.abort())  # as if the server were gone
        page.get_by_text("The server does not answer").wait_for(timeout=WAIT)
        page.unroute("**/*")
        page.get_by_text("The server does not answer").wait_for(state="detached", timeout=WAIT)
        page.click("#dreamartist_pause")
        wait_for_status(page, "slowpot", "paused")
        assert not (folder / "embeddings" / "slowpot.pt").exists()
        page.locator("#dreamartist_continue").wait_for(timeout=WAIT)
        page.click("#dreamartist_continue")
        wait_for_status(page, "slowpot", "running")
        page.click("#dreamartist_stop")
        wait_for_status(page, "slowpot", "stopped")
        assert "slowpot is kept as it was at step" in page.inner_text("#dreamartist_live")
        assert (folder / "embeddings" / "slowpot-neg.pt").is_file()
        assert not page.problems


def fill_shown_options(page):
    """For the README's pictures only."""
    for name, value in SHOWN_OPTIONS.items() if SHOTS else ():
        fill(page, name, value)


def open_tab(page):
    page.wait_for_selector("#txt2img_generate", state="visible", timeout=WAIT)
    page.locator("#tabs > .tab-nav button").get_by_text("DreamArtist", exact=True).click()
    page.wait_for_selector("#dreamartist_train", state="visible", timeout=WAIT)


@pytest.mark.webui
def test_in_the_webui_from_a_picture_to_a_picture_with_the_word(browser, webui):
    before, _ = webui.picture("a noto emoji of a lion")
    state = webui.probe("state")
    with opened(browser, webui.url) as page:
        open_tab(page)
        shot(page, "webui-idle")
        ask_for(page, "wuipot", steps=SHOT_STEPS, save_every=SHOT_STEPS // 2)
        fill_shown_options(page)
        page.locator("#dreamartist_name_says").get_by_text("is free.").wait_for(timeout=WAIT)
        page.click("#dreamartist_train")
        wait_for_status(page, "wuipot", "done")
        page.wait_for_selector("#dreamartist_previews img", timeout=WAIT)
        label, first = (
            page.locator(f"#dreamartist_previews {each}").first.bounding_box()
            for each in ("[data-testid=block-label]", "img")
        )
        assert first["y"] >= label["y"] + label["height"], "the label covers no picture"
        close_options(page)
        shot(page, "webui-done")
        page.click("#dreamartist_use")
        in_txt2img(page, "wuipot")
        shot(page, "webui-used")
        assert not page.problems
    assert (webui.embeddings / "wuipot-neg.pt").is_file()
    assert webui.probe("vectors", name="wuipot") is not None
    after = webui.probe("state")
    changed = {key for key in state if state[key] != after[key]}
    assert changed == {"embeddings", "lookup"}
    assert webui.picture("a noto emoji of a lion")[0] == before


@pytest.mark.webui
def test_in_the_webui_a_painted_mask_is_seen_before_training(browser, webui):
    state = webui.probe("state")
    with opened(browser, webui.url) as page:
        open_tab(page)
        drop_picture(page)
        see_the_mask_spread(page)
        shot(page, "webui-mask")
        assert not page.problems
    assert webui.probe("state") == state


@pytest.mark.webui
def test_in_the_webui_a_picture_waits_and_interrupt_stops(browser, webui):
    import threading

    with opened(browser, webui.url) as page:
        open_tab(page)
        ask_for(page, "slowwui", steps=500, save_every=SHOT_STEPS if SHOTS else 400)
        fill_shown_options(page)
        close_options(page)
        page.click("#dreamartist_train")
        wait_for_status(page, "slowwui", "running")
        if SHOTS:
            page.wait_for_selector("#dreamartist_previews img", timeout=4 * WAIT)
        shot(page, "webui-training")
        drawn = {}
        waiting = threading.Thread(target=lambda: drawn.update(picture=webui.picture("a lion")[0]))
        waiting.start()
        page.wait_for_timeout(2000)
        assert not drawn, "the picture waits for its turn"
        webui.post("/sdapi/v1/interrupt", {})
        page.wait_for_timeout(3000)
        assert status(page, "slowwui") == "running", "it was meant for the picture that waits"
        webui.post("/sdapi/v1/interrupt", {})  # nothing waits that is not called off already
        wait_for_status(page, "slowwui", "stopped")
        waiting.join(60)
        assert not drawn, "it was called off: there is no picture in the answer"
        assert "is kept as it was at step" in page.inner_text("#dreamartist_live")
        fill(page, "name", "other")
        fill(page, "name", "slowwui")
        page.locator("#dreamartist_name_says").get_by_text("taken").wait_for(timeout=WAIT)
        fill(page, "name", "my cat!")
        page.locator("#dreamartist_name_says").get_by_text('got "my cat!"').wait_for(timeout=WAIT)
        page.click("#dreamartist_train")
        page.locator("#dreamartist_name_says").get_by_text("Must be letters").wait_for(timeout=WAIT)
        shot(page, "webui-failing")


def paint(page):
    """A stroke over the middle of the picture."""
    page.locator("#dreamartist_picture .paint").scroll_into_view_if_needed()
    box = page.locator("#dreamartist_picture .paint").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=8)
    page.mouse.up()
    page.wait_for_selector("#dreamartist_spread", state="visible", timeout=WAIT)


@pytest.mark.webui
def test_in_the_webui_paint_is_a_mask_and_a_reload_and_an_undo_find_the_training(browser, webui):
    training = webui.data / "embeddings-training" / "painted"
    with opened(browser, webui.url) as page:
        open_tab(page)
        ask_for(page, "painted", steps=500, save_every=400)
        paint(page)
        page.click("#dreamartist_estimate")
        measured = page.locator("#dreamartist_measured")
        measured.get_by_text(re.compile(r"About [\d:]+ at \d+x\d+: 500 steps of")).wait_for(timeout=2 * WAIT)
        assert not training.exists()
        page.click("#dreamartist_train")
        wait_for_status(page, "painted", "running")
        page.set_viewport_size({"width": 420, "height": 900})
        page.reload()
        open_tab(page)
        wait_for_status(page, "painted", "running")
        page.wait_for_timeout(2000)
        shot(page, "webui-narrow")
        page.click("#dreamartist_discard")
        wait_for_status(page, "painted", "discarded")
        assert not training.exists()
        page.click("#dreamartist_undo")
        page.locator("#dreamartist_says").get_by_text("painted is back").wait_for(timeout=WAIT)
        webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "second.safetensors"})
        page.click("#dreamartist_continue")
        page.locator("#dreamartist_says").get_by_text("second is loaded; load embedded to go on").wait_for(timeout=WAIT)
        page.wait_for_function(f"({IN_SIGHT})('#dreamartist_says')", timeout=WAIT)
        webui.post("/sdapi/v1/options", {"sd_model_checkpoint": "embedded.safetensors"})
        assert not page.problems
    (picture,) = kept_pictures(RunFiles(webui.embeddings, "painted"))
    mask = Image.open(find_mask(picture)).convert("L")
    assert mask.size == Image.open(picture).size
    assert set(mask.tobytes()) == {UNPAINTED, 255}
    assert mask.getpixel((mask.width // 2, mask.height // 2)) == 255
    assert mask.getpixel((2, 2)) == UNPAINTED
