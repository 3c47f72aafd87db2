"""How pictures are looked at: one network for what is in them, one for how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..files.picture_files import to_pixels
from .clip import ClipNet
from .features import FeatureNet

SIDE = 224  # pixels; larger pictures are scaled down before they are looked at
CROP = 0.6  # of a side: parts of a picture in which a thing is looked for
RIM, MIDDLE = 0.15, 0.25  # of a side: how far the rim reaches in, and where the middle begins


@dataclass(frozen=True)
class Look:
    """`content` (N, D) unit length, what is in the pictures; `maps` of early layers, each (N, C, h, w), and
    `statistics` (N, S) of them, how they are drawn."""

    content: Tensor
    maps: tuple[Tensor, ...]
    statistics: Tensor


class Eyes:
    """CLIP for the content where its weights were given, else the network that ships in a package."""

    def __init__(self, network: FeatureNet, clip: ClipNet | None = None) -> None:
        self.network, self.clip = network, clip
        self.name = clip.name if clip else network.name

    def __call__(self, pictures: Sequence[Image.Image]) -> Look:
        pixels = stacked(pictures)
        features = self.network(pixels)
        content = self.clip.pictures(pixels) if self.clip else features.deep
        return Look(content, features.maps, features.statistics())

    def texts(self, prompts: Sequence[str]) -> Tensor | None:
        """(N, D), comparable with `content`; None without CLIP."""
        return self.clip.texts(prompts) if self.clip else None

    def parts(self, picture: Image.Image) -> Tensor:
        """(9, D): the content of the whole, its halves and its corners, each looked at in the whole's size."""
        boxes = [picture.crop(box).resize(picture.size, Image.Resampling.BICUBIC) for box in part_boxes(picture.size)]
        return self.clip.pictures(stacked(boxes)) if self.clip else self.network(stacked(boxes)).deep


def stacked(pictures: Sequence[Image.Image]) -> Tensor:
    """(N, 3, H, W) in [-1, 1], sides at most SIDE"""
    pixels = torch.stack([to_pixels(picture) for picture in pictures])
    if max(pixels.shape[2:]) <= SIDE:
        return pixels
    return interpolate(pixels, scale_factor=SIDE / max(pixels.shape[2:]), mode="bilinear", antialias=True).clamp(-1, 1)


def part_boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of the whole, the four overlapping halves, and the four corners."""
    width, height = size
    spans = {
        side: ((0, length), (0, round(CROP * length)), (length - round(CROP * length), length))
        for side, length in (("x", width), ("y", height))
    }
    return [(x[0], y[0], x[1], y[1]) for x in spans["x"] for y in spans["y"]]


def rim(height: int, width: int) -> Tensor:
    """(h, w) 0 or 1: the frame of a picture, where the surroundings of the thing are"""
    weights = torch.ones(height, width)
    y, x = max(round(RIM * height), 1), max(round(RIM * width), 1)
    weights[y:-y, x:-x] = 0
    return weights


def middle(height: int, width: int) -> Tensor:
    """(h, w) 0 or 1: the middle quarter of a picture, where the thing is"""
    weights = torch.zeros(height, width)
    y, x = round(MIDDLE * height), round(MIDDLE * width)
    weights[y : height - y, x : width - x] = 1
    return weights
