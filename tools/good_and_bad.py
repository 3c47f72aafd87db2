"""Good and bad pictures to learn from: `python -m tools.good_and_bad --out docs/pictures/good-and-bad.webp`."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from dreamartist_ext.evaluation.grids import grid

SAMPLES = Path(__file__).parents[1] / "dreamartist_ext" / "assets" / "samples"
SIDE, GAP, FOOT = 192, 12, 30
GREEN, RED = "#2f9e6e", "#d6453d"


def on_white(name: str, side: int = SIDE) -> Image.Image:
    with Image.open(SAMPLES / f"{name}.png") as opened:
        picture = opened.convert("RGBA").resize((side, side), Image.Resampling.LANCZOS)
    page = Image.new("RGBA", picture.size, "white")
    page.alpha_composite(picture)
    return page.convert("RGB")


def cut_off() -> Image.Image:
    return on_white("pineapple", 2 * SIDE).crop((SIDE, SIDE // 2, 2 * SIDE, 3 * SIDE // 2))


def tiny() -> Image.Image:
    page = Image.new("RGB", (SIDE, SIDE), "white")
    page.paste(on_white("pineapple", SIDE // 4), (SIDE // 2, SIDE // 2))
    return page


def crowd() -> Image.Image:
    return grid(
        [[on_white(name, SIDE // 2) for name in row] for row in (("pineapple", "teapot"), ("crown", "penguin"))]
    )


def pictures() -> list[tuple[str, str, Image.Image]]:
    """What to say below each, in which colour, and the picture."""
    return [
        ("good: one thing, whole, sharp", GREEN, on_white("pineapple")),
        ("bad: cut off", RED, cut_off()),
        ("bad: small in the frame", RED, tiny()),
        ("bad: several things", RED, crowd()),
        ("bad: blurred", RED, on_white("pineapple").filter(ImageFilter.GaussianBlur(7))),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/good-and-bad.webp"))
    out = parser.parse_args().out
    shown = pictures()
    page = grid([[picture for _, _, picture in shown]], (GAP, FOOT), (GAP, GAP))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, (said, colour, _) in enumerate(shown):
        left = GAP + number * (SIDE + GAP)
        pen.rectangle((left - 2, GAP - 2, left + SIDE + 1, GAP + SIDE + 1), outline=colour, width=2)
        pen.text((left, GAP + SIDE + 8), said, colour, font)
    page.save(out, quality=88, method=6)


if __name__ == "__main__":
    main()
