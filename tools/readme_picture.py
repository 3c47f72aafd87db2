"""The picture at the top of the README: a shipped pair on the backgrounds that prompts name.

    python -m tools.readme_picture pineapple --out docs/pictures/pineapple.webp

draws `dreamartist_ext/assets/pairs/NAME` on the embedded model, the same seeds in every column.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dreamartist_ext.evaluation.grids import grid
from dreamartist_ext.hosts.diffusers.generation import draw, with_learned_words
from dreamartist_ext.hosts.diffusers.model_files import load_host, quiet_libraries

ASSETS = Path(__file__).parents[1] / "dreamartist_ext" / "assets"
PLACES = (" on a white background", " on a blue background", " on a red background", " on a purple background")
SEEDS = (0, 1)
STEPS, GUIDANCE = 25, 2.5
CELL, GAP, HEAD, LEFT = 192, 10, 48, 240


def columns(name: str) -> list[list[Image.Image]]:
    """The drawings of each prompt, one a seed."""
    quiet_libraries()
    host = load_host()
    prompts = [f"a {name}{place}" for place in PLACES]
    words = [with_learned_words(host, ASSETS / "pairs", prompt, "") for prompt in prompts]
    return [list(draw(host, each, SEEDS, STEPS, GUIDANCE)) for each in words]


def sheet(reference: Image.Image, drawn: list[list[Image.Image]], name: str) -> Image.Image:
    """The picture that was learned at the left, a column for each prompt."""
    shown = [[picture.resize((CELL, CELL), Image.Resampling.BICUBIC) for picture in column] for column in drawn]
    page = grid(list(zip(*shown, strict=True)), (GAP, GAP), (LEFT, HEAD))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    pen.text((10, 5), "learned from this", "black", font)
    page.paste(reference.resize((CELL, CELL), Image.Resampling.LANCZOS), (10, HEAD))
    for column, place in enumerate(PLACES):
        pen.multiline_text((LEFT + column * (CELL + GAP), 5), f"a {name}\n{place.strip()}", "black", font)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="pineapple")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/pineapple.webp"))
    arguments = parser.parse_args()
    with Image.open(ASSETS / "samples" / f"{arguments.name}.png") as opened:
        picture = opened.convert("RGBA")
    reference = Image.new("RGBA", picture.size, "white")
    reference.alpha_composite(picture)
    sheet(reference.convert("RGB"), columns(arguments.name), arguments.name).save(arguments.out, quality=88, method=6)


if __name__ == "__main__":
    main()
