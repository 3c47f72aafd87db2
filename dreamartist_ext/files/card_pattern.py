"""What stands on the card of a concept that has no picture: soft colours that belong to its pair alone."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

_SPOTS = 6
_SIDE = 256


def pattern_of(pair: str) -> Image.Image:
    """A square picture by a pair's id (hexadecimal): the same id, the same picture."""
    random = np.random.default_rng(int(pair, 16))
    hue = random.random()
    ground = np.array(colorsys.hsv_to_rgb(hue, 0.55, 0.35))
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE
    pixels = np.broadcast_to(ground, (_SIDE, _SIDE, 3)).copy()
    for _ in range(_SPOTS):
        colour = np.array(colorsys.hsv_to_rgb((hue + random.normal(0, 0.09)) % 1, 0.35 + 0.4 * random.random(), 0.95))
        middle, reach = random.random(2), 0.16 + 0.22 * random.random()
        share = 0.85 * np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / (2 * reach**2))[..., None]
        pixels = (1 - share) * pixels + share * colour
    return Image.fromarray((255 * pixels).round().astype(np.uint8))
