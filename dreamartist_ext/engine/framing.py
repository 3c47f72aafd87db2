"""Which part of a picture is shown, and at which size: buckets, crops, padding, mirroring. Nothing is stretched."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from PIL import Image

from .draws import seed_for

AREA_TOLERANCE = 0.2  # of a bucket: closer proportions are worth a somewhat smaller or larger picture
MAX_RATIO = 4.0  # of a bucket's sides; pictures beyond it lose their ends
AREA_WORTH = 0.1  # a bucket of another area is as bad as one whose proportions are off by this share of that

Size = tuple[int, int]  # width, height
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Framing:
    """`box` is left, top, right, bottom in the picture's pixels; what it holds is shown at width x height.

    A box that reaches beyond the picture pads it.
    """

    box: Box
    width: int
    height: int
    mirrored: bool = False

    def scaled(self, picture: Size, other: Size) -> Framing:
        """The same framing for a picture of another resolution, such as a mask."""
        across, down = other[0] / picture[0], other[1] / picture[1]
        left, top, right, bottom = self.box
        return replace(self, box=(left * across, top * down, right * across, bottom * down))

    def reaches_beyond(self, picture: Size) -> bool:
        return _inside(self.box, picture) != self.box

    def show(self, picture: Image.Image, resample: Image.Resampling, beyond: int | tuple[int, ...] = 0) -> Image.Image:
        """The framed part at width x height; `beyond` is the colour of what lies outside of the picture."""
        inner = _inside(self.box, picture.size)
        if inner == self.box:
            shown = picture.resize((self.width, self.height), resample, box=inner)
        else:
            left, top, right, bottom = self.box
            across, down = self.width / (right - left), self.height / (bottom - top)
            place = [round((inner[0] - left) * across), round((inner[1] - top) * down)]
            place += [round((inner[2] - left) * across), round((inner[3] - top) * down)]
            shown = Image.new(picture.mode, (self.width, self.height), beyond)
            size = max(1, place[2] - place[0]), max(1, place[3] - place[1])
            shown.paste(picture.resize(size, resample, box=inner), (place[0], place[1]))
        return shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else shown


def _inside(box: Box, picture: Size) -> Box:
    """The part of a box that lies in the picture."""
    left, top, right, bottom = box
    return max(left, 0), max(top, 0), min(right, picture[0]), min(bottom, picture[1])


def cover(picture: Size, width: int, height: int) -> tuple[float, float]:
    """Width and height of the largest box of the proportions width:height within a picture."""
    wanted, given = width / height, picture[0] / picture[1]
    if given == wanted:
        return picture
    return (wanted * picture[1], picture[1]) if given > wanted else (picture[0], picture[0] / wanted)


def contain(picture: Size, width: int, height: int) -> tuple[float, float]:
    """Width and height of the smallest box of the proportions width:height around a picture."""
    wanted, given = width / height, picture[0] / picture[1]
    if given == wanted:
        return picture
    return (picture[0], picture[0] / wanted) if given > wanted else (wanted * picture[1], picture[1])


def bucket_sizes(width: int, height: int, unit: int) -> list[Size]:
    """Sizes in multiples of `unit` pixels, of nearly the area width x height and no longer than 4:1."""
    area, limit = width * height, math.log(1 + AREA_TOLERANCE)
    most = int(math.sqrt(area * MAX_RATIO * (1 + AREA_TOLERANCE))) // unit
    sides = [unit * n for n in range(1, most + 1)]
    near = [(w, h) for w in sides for h in sides if abs(math.log(w * h / area)) <= limit]
    return [size for size in near if max(size) <= MAX_RATIO * min(size)] or [(width, height)]


def bucket_for(picture: Size, width: int, height: int, unit: int) -> Size:
    """The bucket whose proportions are nearest to the picture's, weighed against its area."""

    def distance(size: Size) -> float:
        shape = math.log(size[0] * picture[1] / (size[1] * picture[0]))
        return abs(shape) + AREA_WORTH * abs(math.log(size[0] * size[1] / (width * height)))

    return min(bucket_sizes(width, height, unit), key=distance)


@dataclass(frozen=True)
class Views:
    """How pictures are framed. `fit`: crop, bucket or pad, to about width x height; `count` views of each picture.

    The first view shows the picture as it is, in the middle. The others lose up to the share `crop` of each side, at a
    place drawn from `seed`. With `mirror` every second view is mirrored.
    """

    width: int
    height: int
    unit: int = 64
    fit: str = "crop"
    crop: float = 0.0
    mirror: bool = False
    count: int = 1
    seed: int = 0

    def of(self, picture: Size, index: int) -> list[Framing]:
        """The views of the picture of this size (width, height) and place among the pictures."""
        width, height = self.width, self.height
        if self.fit == "bucket":
            width, height = bucket_for(picture, width, height, self.unit)
        whole = (contain if self.fit == "pad" else cover)(picture, width, height)
        generator = torch.Generator().manual_seed(seed_for(self.seed, "views", index))
        draws = torch.rand(self.count, 3, generator=generator, dtype=torch.float64).tolist()
        if not self.crop:
            draws = [[0.0, 0.5, 0.5]] * self.count
        draws[0] = [0.0, 0.5, 0.5]
        return [
            Framing(
                _placed(whole, picture, 1 - self.crop * cut, across, down), width, height, self.mirror and k % 2 == 1
            )
            for k, (cut, across, down) in enumerate(draws)
        ]


def _placed(whole: tuple[float, float], picture: Size, scale: float, across: float, down: float) -> Box:
    """A box of the scaled size whose place runs with 0..1 from one end of the picture to the other."""
    width, height = whole[0] * scale, whole[1] * scale
    left, top = (picture[0] - width) * across, (picture[1] - height) * down
    right, bottom = left + width, top + height
    # A box that fits exactly must not reach beyond the picture by rounding.
    if width <= picture[0]:
        right = min(right, picture[0])
    if height <= picture[1]:
        bottom = min(bottom, picture[1])
    return left, top, right, bottom
