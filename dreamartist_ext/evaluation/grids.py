"""Pictures of one size on one page."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image


def grid(
    rows: Sequence[Sequence[Image.Image]], gap: tuple[int, int] = (0, 0), margin: tuple[int, int] = (0, 0)
) -> Image.Image:
    """Rows of pictures on white. In pixels: `gap` right of and below each picture, `margin` left of and above all."""
    width, height = (side + between for side, between in zip(rows[0][0].size, gap, strict=True))
    left, top = margin
    page = Image.new("RGB", (left + width * max(map(len, rows)), top + height * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            page.paste(picture, (left + x * width, top + y * height))
    return page
