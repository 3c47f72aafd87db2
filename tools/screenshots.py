"""The pictures of the page: `python -m tools.screenshots` clicks from a dropped picture to a drawing.

It starts `dreamartist serve` on a folder of its own, with the shipped pairs in it, and needs Chromium. `--only drop`
writes one of them; `--browser` says where Chromium is. Some six minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "dreamartist_ext" / "assets"
PROMPT = "a [name] on a blue background"
WIDE, HIGH = 1200, 1650  # high enough for the whole form, and for the curve below the previews
FORM = "#dreamartist_train, #dreamartist_memory, #dreamartist_recipe, #dreamartist_recipe_says"
CURVE = "#dreamartist_curve"
SHOTS = ("drop", "training", "done", "use", "concepts", "compare", "moving")
MOVING_WIDTH, FRAME_MS = 800, 1300
LONGEST_MS = 15 * 60 * 1000
BELOW = 24  # pixels that are kept below the last thing of a picture
POINTER = ((0, 0), (0, 34), (9, 26), (15, 40), (21, 37), (15, 24), (26, 24))  # an arrow, its tip at 0, 0
HELD = 72  # pixels of the picture that is being dropped
SHARE_DRAWN = 0.6  # of the training, at which it is shown


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The page's address, while it is served on the embeddings in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dreamartist_ext", "serve", "--port", str(port), "--embeddings", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def wait_for(address: str, process: subprocess.Popen) -> None:
    while not answers(address):
        if process.poll() is not None:
            raise SystemExit("dreamartist serve has ended before it could be seen.")
        time.sleep(0.5)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except OSError:
        return False
    return True


class Shooting:
    """A browser's page, the pictures that are wanted, and the frames of the moving one."""

    def __init__(self, page: Any, out: Path, only: tuple[str, ...], steps: int, sample: str) -> None:
        self.page, self.out, self.only, self.steps = page, out, only, steps
        self.picture, self.name = ASSETS / "samples" / f"{sample}.png", f"my{sample}"
        self.frames: list[Image.Image] = []

    def shot(self, name: str, moves: bool = True, settle_ms: int = 900, last: str = "") -> None:
        """The page as it is now, down to the thing `last`, or all of it."""
        picture = self.seen(settle_ms)
        if moves:
            self.add_frame(picture)
        if name in self.only:
            bottom = self.bottom_of(last) if last else HIGH
            picture.crop((0, 0, WIDE, bottom)).save(self.out / f"page-{name}.webp", quality=80, method=6)

    def seen(self, settle_ms: int) -> Image.Image:
        self.page.mouse.move(0, 0)
        self.page.wait_for_timeout(settle_ms)
        with Image.open(io.BytesIO(self.page.screenshot())) as opened:
            return opened.convert("RGB")

    def bottom_of(self, last: str) -> int:
        boxes = [each.bounding_box() for each in self.page.locator(last).all() if each.is_visible()]
        return min(HIGH, max(round(box["y"] + box["height"]) for box in boxes if box) + BELOW)

    def pointing(self, where: str, holds: bool = False) -> None:
        """A frame with the pointer on something; with the picture that it is about to drop there."""
        picture = self.seen(300)
        box = self.page.locator(where).first.bounding_box()
        x, y = round(box["x"] + 0.6 * box["width"]), round(box["y"] + 0.55 * box["height"])
        if holds:
            with Image.open(self.picture) as opened:
                held = opened.convert("RGBA").resize((HELD, HELD))
            picture.paste(held, (x - HELD // 2, y - HELD // 2), held)
        arrow = [(x + across, y + down) for across, down in POINTER]
        ImageDraw.Draw(picture).polygon(arrow, fill="black", outline="white")
        self.add_frame(picture)

    def add_frame(self, picture: Image.Image) -> None:
        self.frames.append(picture.resize((MOVING_WIDTH, MOVING_WIDTH * HIGH // WIDE), Image.Resampling.LANCZOS))

    def fill(self, where: str, text: str) -> None:
        self.page.locator(f"{where} input, {where} textarea").first.fill(text)

    def open_tab(self, label: str) -> None:
        self.page.get_by_role("tab", name=label, exact=True).click()
        self.page.evaluate("scrollTo(0, 0)")

    def is_at(self, share: float) -> None:
        """Wait until so much of the training is done, or all of it."""
        bar = "document.querySelector('#dreamartist_live [role=progressbar]')?.getAttribute('aria-valuenow')"
        over = "document.querySelector('#dreamartist_live [data-status=done]')"
        self.page.wait_for_function(f"!!{over} || +({bar} ?? 0) >= {100 * share}", timeout=LONGEST_MS, polling=500)

    def train(self) -> None:
        page = self.page
        self.shot("start")
        self.pointing("#dreamartist_picture .dreamartist-drop", holds=True)
        page.locator("#dreamartist_picture input[type=file]").first.set_input_files(str(self.picture))
        page.wait_for_timeout(1500)
        self.shot("dropped")
        self.fill("#dreamartist_name", self.name)
        self.shot("drop", settle_ms=2500, last=FORM)
        self.set_steps()
        self.pointing("#dreamartist_train")
        page.locator("#dreamartist_train").click()
        for share, name in ((0.1, "early"), (SHARE_DRAWN, "training")):
            self.is_at(share)
            page.evaluate("scrollTo(0, 0)")
            self.shot(name, last=f"{FORM}, {CURVE}")
        page.wait_for_selector("#dreamartist_live [data-status=done]", timeout=LONGEST_MS)
        page.wait_for_selector("#dreamartist_use:visible", timeout=LONGEST_MS)
        self.shot("done", settle_ms=4000, last=f"{FORM}, {CURVE}")
        self.pointing("#dreamartist_use")

    def set_steps(self) -> None:
        """Fewer steps than usual, for a machine that is busy."""
        if self.steps:
            for name, value in (("steps", self.steps), ("save_every", max(1, self.steps // 4))):
                if not self.page.locator(f"#dreamartist_{name}").is_visible():
                    self.page.locator("#dreamartist_fold").click()
                self.fill(f"#dreamartist_{name}", str(value))
                self.page.keyboard.press("Tab")
            self.page.locator("#dreamartist_fold").click()
            self.page.wait_for_timeout(1000)

    def use(self) -> None:
        page = self.page
        page.locator("#dreamartist_use").click()
        page.wait_for_timeout(1200)
        self.fill("#dreamartist_try_prompt", PROMPT.replace("[name]", self.name))
        page.locator("#dreamartist_draw").scroll_into_view_if_needed()
        self.pointing("#dreamartist_draw")
        page.locator("#dreamartist_draw").click()
        page.wait_for_selector("#dreamartist_gallery img", timeout=LONGEST_MS)
        self.shot("use", settle_ms=2500, last="#dreamartist_try_says, #dreamartist_gallery")

    def concepts(self) -> None:
        self.open_tab("My concepts")
        self.page.wait_for_selector("#dreamartist_concepts .dreamartist-name", timeout=LONGEST_MS)
        self.shot("concepts", moves=False, settle_ms=2500, last="#dreamartist_concepts")

    def compare(self) -> None:
        self.open_tab("Train")
        self.page.locator("#dreamartist_to_compare").click()  # with the concept that was trained
        self.page.wait_for_timeout(2500)
        self.page.evaluate("scrollTo(0, 0)")
        self.fill("#dreamartist_compare_prompts", f"a [name]\n{PROMPT}")
        self.page.locator("#dreamartist_compare").click()
        self.page.wait_for_function(
            "document.querySelectorAll('#dreamartist_compare_grid img').length >= 12", timeout=LONGEST_MS
        )
        self.shot("compare", moves=False, settle_ms=4000, last="#dreamartist_compare_grid, #dreamartist_compare_stop")

    def moving(self) -> None:
        """The frames as one animated picture."""
        if "moving" in self.only:
            first, *others = self.frames
            times = [FRAME_MS] * len(others) + [2 * FRAME_MS]
            path = self.out / "first-concept.webp"
            first.save(path, save_all=True, append_images=others, duration=times, loop=0, quality=70, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SHOTS, default=list(SHOTS))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    parser.add_argument("--sample", default="pineapple", help="of assets/samples, to learn from")
    parser.add_argument("--steps", type=int, default=0, help="of the training; the model's own number if left out")
    parser.add_argument("--browser", default=shutil.which("chromium") or "")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copytree(ASSETS / "pairs", Path(folder) / "embeddings", ignore=shutil.ignore_patterns("*.md"))
        browser = playwright.chromium.launch(executable_path=arguments.browser or None, args=["--no-sandbox"])
        with served(Path(folder) / "embeddings") as address:
            page = browser.new_page(viewport={"width": WIDE, "height": HIGH}, color_scheme="light")
            page.goto(f"{address}?__theme=light", timeout=LONGEST_MS)
            page.wait_for_selector("#dreamartist_train", timeout=LONGEST_MS)
            shooting = Shooting(page, arguments.out, tuple(arguments.only), arguments.steps, arguments.sample)
            for part in (shooting.train, shooting.use, shooting.concepts, shooting.compare, shooting.moving):
                part()
        browser.close()


if __name__ == "__main__":
    main()
