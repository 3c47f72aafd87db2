"""The ten background colours that the embedded model was taught, and which of them a picture has."""

from __future__ import annotations

import re

import torch
from torch import Tensor

BACKGROUNDS = {
    "white": (255, 255, 255),
    "black": (20, 20, 20),
    "red": (214, 48, 49),
    "orange": (243, 146, 38),
    "yellow": (250, 216, 62),
    "green": (60, 160, 76),
    "blue": (52, 104, 209),
    "purple": (136, 72, 176),
    "pink": (247, 168, 196),
    "grey": (140, 140, 146),
}
BACKGROUND_NAMES = tuple(BACKGROUNDS)
BACKGROUND_RGB = torch.tensor(list(BACKGROUNDS.values()), dtype=torch.float32)  # (10, 3), 0..255
CORNER, MARGIN = (
    6 / 128,
    2 / 128,
)  # of the side: the patches that show the background, and their distance from the edges


def nearest_background(picture: Tensor) -> str:
    """The colour nearest to the median of the four corner patches; picture (3, H, W) in [-1, 1]."""
    side = min(picture.shape[1:])
    corner, margin = max(round(CORNER * side), 1), round(MARGIN * side)
    low, high = slice(margin, margin + corner), slice(-margin - corner, -margin or None)
    corners = torch.stack([picture[:, y, x].mean((1, 2)) for y in (low, high) for x in (low, high)])  # (4, 3)
    colour = (corners.quantile(0.5, dim=0) + 1) * 127.5
    return BACKGROUND_NAMES[int((BACKGROUND_RGB - colour).square().sum(1).argmin())]


def asked_background(prompt: str) -> str | None:
    """The colour that a prompt asks for, as in "on a red background"; None if it names none of the ten."""
    found = re.search(r"\b(" + "|".join(BACKGROUND_NAMES) + r") background\b", prompt.lower())
    return found[1] if found else None
