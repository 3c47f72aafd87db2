"""A world that prompts can name: backgrounds, places, sizes, positions, two and three of a thing, two things, colours.

`a_scene` throws the dice, `painted` draws what it holds, `described` says it in words, with parts dropped at random. A
scene is data, so that captions can be made anew in every step, and a code can stand in the place of a thing's name.
"""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreamartist_ext.evaluation.backgrounds import BACKGROUND_NAMES, BACKGROUND_RGB

from .drawings import premultiplied
from .shapes import PICTURE_SIZE

PATTERNS = ("striped", "dotted", "chequered", "gradient")
PLACES = ("grass", "snow", "sea", "night sky", "brick wall", "desert")
TINTS = {"red": 0.0, "orange": 0.08, "yellow": 0.15, "green": 0.35, "blue": 0.60, "purple": 0.78, "pink": 0.92}  # hues
SIZES = {"small": (0.35, 0.45), "": (0.62, 0.75), "big": (0.9, 0.98)}  # share of the picture's side
# Where one thing stands, as shares of half the picture from the middle.
POSITIONS = {
    "": (0.0, 0.0),
    "on the left": (-0.5, 0.0),
    "on the right": (0.5, 0.0),
    "at the top": (0.0, -0.5),
    "at the bottom": (0.0, 0.5),
}
COUNTS = {2: "two", 3: "three"}
SPOTS = {2: ((-0.5, 0.0), (0.5, 0.0)), 3: ((-0.5, 0.42), (0.5, 0.42), (0.0, -0.45))}  # where two or three stand
RELATIONS = ("beside", "above", "in front of")
COLOURFUL = 0.25  # mean saturation of a drawing whose colour can be changed honestly


@dataclass(frozen=True)
class Background:
    """A flat colour, a pattern of two colours, or a place."""

    kind: str  # "flat", one of PATTERNS or of PLACES
    colours: tuple[str, ...] = ()

    def words(self) -> str:
        """ "a red background", "a striped red and white background", "a brick wall" """
        if self.kind == "flat":
            return f"on a {self.colours[0]} background"
        if self.kind in PATTERNS:
            return f"on a {self.kind} {self.colours[0]} and {self.colours[1]} background"
        return {
            "grass": "on grass",
            "snow": "in the snow",
            "sea": "in the sea",
            "night sky": "in the night sky",
            "brick wall": "in front of a brick wall",
            "desert": "in the sand",
        }[self.kind]


@dataclass(frozen=True)
class Placed:
    """A drawing (its number), where its middle is (shares of half the picture), and its size (share of the side)."""

    drawing: int
    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Scene:
    """things: in the order in which they are drawn. What is empty is not said."""

    background: Background
    things: tuple[Placed, ...]
    size: str = ""
    position: str = ""
    count: int = 1
    relation: str = ""
    tint: str = ""


def a_background(dice: random.Random) -> Background:
    kind = dice.choices(["flat", "pattern", "place"], [0.4, 0.3, 0.3])[0]
    return background_of(kind if kind == "flat" else dice.choice(PATTERNS if kind == "pattern" else PLACES), dice)


def background_of(kind: str, dice: random.Random) -> Background:
    """kind: "flat", one of PATTERNS or of PLACES"""
    if kind == "flat":
        return Background(kind, (dice.choice(BACKGROUND_NAMES),))
    return Background(kind, tuple(dice.sample(BACKGROUND_NAMES, 2)) if kind in PATTERNS else ())


def a_scene(dice: random.Random, drawings: int, colourful: Sequence[bool]) -> Scene:
    """Of drawings numbered 0 to `drawings` - 1; `colourful` says whose colour can be changed."""
    background = a_background(dice)
    kind = dice.choices(["one", "sized", "placed", "counted", "two", "tinted"], [0.25, 0.15, 0.15, 0.15, 0.2, 0.1])[0]
    first = dice.randrange(drawings)

    def placed(drawing: int, x: float, y: float, size: tuple[float, float]) -> Placed:
        jitter = [dice.uniform(-0.04, 0.04) for _ in "xy"]
        return Placed(drawing, x + jitter[0], y + jitter[1], dice.uniform(*size))

    if kind == "sized":
        size = dice.choice(["small", "big"])
        return Scene(background, (placed(first, 0, 0, SIZES[size]),), size=size)
    if kind == "placed":
        position = dice.choice([name for name in POSITIONS if name])
        return Scene(background, (placed(first, *POSITIONS[position], (0.42, 0.5)),), position=position)
    if kind == "counted":
        count = dice.choice([2, 3])
        return Scene(background, tuple(placed(first, *spot, (0.42, 0.48)) for spot in SPOTS[count]), count=count)
    if kind == "two":
        second = dice.choice([i for i in range(drawings) if i != first])
        relation = dice.choice(RELATIONS)
        spots = {
            "beside": [(-0.5, 0.0, (0.42, 0.48)), (0.5, 0.0, (0.42, 0.48))],
            "above": [(0.0, -0.5, (0.42, 0.48)), (0.0, 0.5, (0.42, 0.48))],
            "in front of": [(0.15, 0.35, (0.42, 0.48)), (-0.1, -0.15, (0.68, 0.75))],
        }[relation]
        things = [placed(drawing, *spot) for drawing, spot in zip((first, second), spots, strict=True)]
        return Scene(background, tuple(things), relation=relation)
    one = (placed(first, 0, 0, SIZES[""]),)
    tint = dice.choice(list(TINTS)) if kind == "tinted" and colourful[first] else ""
    return Scene(background, one, tint=tint)


class World:
    """Scenes by number, from all drawings (N, S, S, 4): the same number is always the same scene."""

    def __init__(self, rgba: Tensor) -> None:
        self.rgba = rgba
        self.colourful = [is_colourful(drawing) for drawing in rgba]

    def scene(self, number: int) -> Scene:
        return a_scene(random.Random(f"scene {number}"), len(self.rgba), self.colourful)

    def painted(self, number: int) -> Tensor:
        """(3, S, S) in [-1, 1]"""
        return painted(self.scene(number), self.rgba, random.Random(f"picture {number}"))


def said(scene: Scene, names: Sequence[str]) -> str:
    """The scene in words, but for its background; `names`: what to call each thing, such as "cat" or a code's place."""
    first = names[0]
    if scene.count > 1:
        return f"{COUNTS[scene.count]} {first}"
    if scene.relation:
        return f"a {first} {scene.relation} a {names[1]}"
    return " ".join(part for part in ("a", scene.size, scene.tint, first, scene.position) if part)


def described(scene: Scene, names: Sequence[str], dice: random.Random) -> str:
    """A caption; one in five leaves the background out."""
    words = said(scene, names)
    return words if dice.random() < 0.2 else f"{words} {scene.background.words()}"


def painted(scene: Scene, rgba: Tensor, dice: random.Random) -> Tensor:
    """rgba (N, S, S, 4) uint8, all drawings -> (3, S, S) in [-1, 1]. The first thing is in front of the others."""
    picture = _background(scene.background, dice)
    for thing in reversed(scene.things):
        drawing = rgba[thing.drawing]
        if scene.tint:
            drawing = tinted(drawing, TINTS[scene.tint])
        picture = _put(picture, drawing, thing)
    return picture * 2 - 1


def _put(picture: Tensor, drawing: Tensor, thing: Placed) -> Tensor:
    """A drawing (S, S, 4) uint8 over a picture (3, S, S) in [0, 1]."""
    pixels = premultiplied(drawing[None])
    transform = torch.tensor([[[1 / thing.size, 0, -thing.x / thing.size], [0, 1 / thing.size, -thing.y / thing.size]]])
    grid = torch.nn.functional.affine_grid(transform, list(pixels.shape), align_corners=False)
    side = max(1, round(thing.size * PICTURE_SIZE))  # made smaller first, so that fine lines do not break
    small = torch.nn.functional.interpolate(pixels, size=side, mode="bilinear", antialias=True, align_corners=False)
    placed = torch.nn.functional.grid_sample(small, grid, align_corners=False)[0]
    return placed[:3] + (1 - placed[3:]) * picture


def tinted(drawing: Tensor, hue: float) -> Tensor:
    """Every colour at one hue, as light and as saturated as it was; greys, whites and blacks stay. (S, S, 4) uint8"""
    rgb = drawing[..., :3].float() / 255
    light, dark = rgb.amax(-1), rgb.amin(-1)
    pure = torch.tensor(colorsys.hsv_to_rgb(hue, 1, 1))
    coloured = dark[..., None] + (light - dark)[..., None] * pure
    return torch.cat([(coloured * 255).round().to(torch.uint8), drawing[..., 3:]], -1)


def is_colourful(drawing: Tensor) -> bool:
    """Whether enough of a drawing (S, S, 4) has a colour of its own that another can take its place."""
    rgb, alpha = drawing[..., :3].float() / 255, drawing[..., 3] > 127
    saturation = (rgb.amax(-1) - rgb.amin(-1))[alpha]
    return bool(len(saturation)) and float(saturation.mean()) >= COLOURFUL


def _background(background: Background, dice: random.Random) -> Tensor:
    """(3, S, S) in [0, 1]"""
    grid = np.mgrid[:PICTURE_SIZE, :PICTURE_SIZE].astype(np.float32)
    rows, columns = grid
    if background.kind in PLACES:
        return torch.from_numpy(_place(background.kind, rows, columns, dice))
    colours = [_colour(name, dice) for name in background.colours]
    if background.kind == "flat":
        mix = np.zeros_like(rows)
    elif background.kind == "striped":
        width, turned = dice.choice([16, 24, 32]), dice.choice([rows, columns, rows + columns])
        mix = (turned // (width / 2)) % 2
    elif background.kind == "chequered":
        width = dice.choice([12, 16, 24])
        mix = (rows // width + columns // width) % 2
    elif background.kind == "dotted":
        apart = dice.choice([20, 26, 32])
        near = np.hypot(rows % apart - apart / 2, columns % apart - apart / 2)
        mix = np.clip(apart * 0.28 - near + 0.5, 0, 1)
    else:
        mix = dice.choice([rows, columns, (rows + columns) / 2]) / (PICTURE_SIZE - 1)
    last = colours[-1]
    return torch.from_numpy(colours[0][:, None, None] * (1 - mix) + last[:, None, None] * mix)


def _colour(name: str, dice: random.Random) -> np.ndarray:
    rgb = BACKGROUND_RGB[BACKGROUND_NAMES.index(name)].numpy() + [dice.gauss(0, 4) for _ in "rgb"]
    return (np.clip(rgb, 0, 255) / 255).astype(np.float32)


def _place(kind: str, rows: np.ndarray, columns: np.ndarray, dice: random.Random) -> np.ndarray:
    """Simple drawn places, (3, S, S) in [0, 1]"""

    def rgb(*values: int) -> np.ndarray:
        return np.array(values, np.float32)[:, None, None] / 255

    side, wave = PICTURE_SIZE, dice.uniform(0, 6.28)
    seen = np.random.default_rng(dice.randrange(2**31))
    horizon = side * dice.uniform(0.45, 0.6)
    if kind == "night sky":
        sky = rgb(16, 20, 62) * (1 - rows / side) + rgb(48, 44, 110) * (rows / side)
        stars = np.zeros_like(rows)
        for _ in range(26):
            y, x, size = seen.uniform(0, side), seen.uniform(0, side), seen.uniform(0.7, 1.9)
            stars = np.maximum(stars, np.clip(size + 0.5 - np.hypot(rows - y, columns - x), 0, 1))
        return (sky * (1 - stars) + rgb(255, 250, 210) * stars).astype(np.float32)
    if kind == "brick wall":
        course = rows // 16
        seam = (rows % 16 < 2) | ((columns + 16 * (course % 2)) % 32 < 2)
        shade = seen.uniform(0.85, 1.1, (side // 16, side // 32 + 2))
        bricks = shade[course.astype(int), ((columns + 16 * (course % 2)) // 32).astype(int)]
        return np.where(seam, rgb(205, 195, 185), np.clip(rgb(170, 74, 58) * bricks, 0, 1)).astype(np.float32)
    ground = rows > horizon + 3 * np.sin(columns / 15 + wave)
    below, above = {
        "grass": (rgb(96, 168, 66), rgb(160, 215, 245)),
        "snow": (rgb(240, 244, 250), rgb(150, 175, 205)),
        "sea": (rgb(38, 110, 178), rgb(170, 220, 245)),
        "desert": (rgb(232, 196, 120), rgb(250, 226, 170)),
    }[kind]
    picture = np.where(ground, below, above)
    if kind == "sea":
        crest = ground & ((rows + 2.5 * np.sin(columns / 6 + wave + rows)) % 14 < 2)
        picture = np.where(crest, rgb(120, 180, 225), picture)
    elif kind == "grass":
        blades = ground & (seen.random(rows.shape) < 0.06)
        picture = np.where(blades, rgb(64, 132, 44), picture)
    elif kind == "snow":
        flakes = np.zeros_like(rows)
        for _ in range(24):
            flakes = np.maximum(
                flakes, np.clip(2.2 - np.hypot(rows - seen.uniform(0, side), columns - seen.uniform(0, side)), 0, 1)
            )
        picture = picture * (1 - flakes) + flakes
    return picture.astype(np.float32)
