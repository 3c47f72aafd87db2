"""A row of beads at the foot of a card: what survives when a website turns the PNG into a JPEG or another size.

It says "this was a DreamArtist card", and the first 16 bits of the pair's id. 48 beads: 16 that are always the same, 16
for the id, 16 for its check sum.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

CARD_ASPECT = 768 / 1104  # width / height
_FIXED = (1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0)
BEADS = 48
# in parts of the card's width and height
FIRST_X, LAST_X, CENTER_Y = 0.058, 0.942, 0.9655
BEAD_RADIUS = 0.0056  # of the width
_WRONG_AT_MOST = 1  # of the fixed beads
_CONTRAST_AT_LEAST = 12.0  # grey levels between the mean bright and the mean dark bead
_READ_WIDTH = 960


def bead_places() -> list[tuple[float, float]]:
    """The centres, in parts of the card's width and height."""
    step = (LAST_X - FIRST_X) / (BEADS - 1)
    return [(FIRST_X + i * step, CENTER_Y) for i in range(BEADS)]


def beads_of(pair: str) -> list[bool]:
    """Which beads are bright for a pair's id (hexadecimal)."""
    number = int(pair[:4], 16)
    return [bool(bit) for bit in (*_FIXED, *_bits(number), *_bits(_check(number)))]


def read_beads(picture: Image.Image) -> str | None:
    """The first four hexadecimal digits of the id of the pair whose card this picture is or was; None for others."""
    width, height = picture.size
    if min(width, height) < 96 or abs(width / height / CARD_ASPECT - 1) > 0.02:
        return None
    grey = picture.convert("L").resize((_READ_WIDTH, round(_READ_WIDTH / CARD_ASPECT)), Image.Resampling.BILINEAR)
    levels = _levels(np.asarray(grey, dtype=np.float32))
    fixed = np.array(_FIXED, dtype=bool)
    bright, dark = levels[:16][fixed].mean(), levels[:16][~fixed].mean()
    if bright - dark < _CONTRAST_AT_LEAST:
        return None
    bits = levels > (bright + dark) / 2
    number, check = (_number(bits[start : start + 16]) for start in (16, 32))
    if int((bits[:16] != fixed).sum()) > _WRONG_AT_MOST or check != _check(number):
        return None
    return f"{number:04x}"


def _levels(grey: np.ndarray) -> np.ndarray:
    """(H, W) -> the mean grey of each bead's middle."""
    height, width = grey.shape
    reach = max(1, round(BEAD_RADIUS * width * 0.5))
    places = [(round(x * width), round(y * height)) for x, y in bead_places()]
    return np.array([grey[y - reach : y + reach + 1, x - reach : x + reach + 1].mean() for x, y in places])


def _bits(number: int) -> list[int]:
    return [number >> i & 1 for i in reversed(range(16))]


def _number(bits: Sequence[bool] | np.ndarray) -> int:
    return sum(int(bit) << (15 - i) for i, bit in enumerate(bits))


def _check(number: int) -> int:
    return zlib.crc32(b"dreamartist" + number.to_bytes(2, "big")) & 0xFFFF
