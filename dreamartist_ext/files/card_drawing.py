"""What a card looks like: the picture, the word, what it was made with, and the beads. Pillow only."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from .card_marker import BEAD_RADIUS, CARD_ASPECT, bead_places, beads_of

WIDTH, HEIGHT = 768, 1104  # of the finished card; see CARD_ASPECT
_MARGIN, _PICTURE, _RADIUS = 40, 688, 22
_SCALE = 2  # drawn this much larger, so that edges are smooth
_FONTS = ("DejaVuSans.ttf", "arial.ttf", "Helvetica.ttc", "LiberationSans-Regular.ttf")
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class CardText:
    """The words on a card. `facts` are short: at most four stand side by side."""

    name: str
    negative: str  # the other word, or "" for plain inversion
    facts: tuple[tuple[str, str], ...]  # (label, value)
    model: str
    pair: str  # the id, for the beads


@dataclass(frozen=True)
class _Palette:
    top: Colour
    bottom: Colour
    accent: Colour
    ink: Colour = (246, 244, 240)


def draw_card(picture: Image.Image, text: CardText) -> Image.Image:
    """A card of WIDTH x HEIGHT around the picture, which is cropped to a square and coloured after nothing else."""
    square = ImageOps.fit(picture.convert("RGB"), (_PICTURE * _SCALE,) * 2, Image.Resampling.LANCZOS)
    palette = _palette(square)
    card = _ground(palette, square)
    _frame(card, square, palette)
    _words(card, text, palette)
    _beads(card, text.pair, palette)
    return card.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def picture_on_card(card: Image.Image) -> Image.Image:
    """The picture that a card was drawn around; any other picture as it is."""
    if abs(card.width / card.height / CARD_ASPECT - 1) > 0.02:
        return card
    edge, side = (round(n * card.width / WIDTH) for n in (_MARGIN, _PICTURE))
    return card.crop((edge, edge, edge + side, edge + side))


def _palette(picture: Image.Image) -> _Palette:
    """A dark ground and a bright accent of the hue that the picture's colours lean to; grey for a grey picture."""
    pixels = np.asarray(picture.resize((48, 48)).convert("HSV"), dtype=np.float64).reshape(-1, 3) / 255
    weight = pixels[:, 1] ** 2 * pixels[:, 2]
    lean = (weight * np.exp(2j * np.pi * pixels[:, 0])).sum() / (weight.sum() + 1e-9)
    hue = float(np.angle(lean) / (2 * np.pi)) % 1
    colour = min(1.0, abs(lean) * float(weight.mean()) * 12)
    return _Palette(_rgb(hue, 0.62 * colour, 0.25), _rgb(hue, 0.7 * colour, 0.1), _rgb(hue, 0.48 * colour, 1.0))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _ground(palette: _Palette, square: Image.Image) -> Image.Image:
    """A vertical shade, with the picture's own light, far out of focus, behind it."""
    size = (WIDTH * _SCALE, HEIGHT * _SCALE)
    shade = Image.linear_gradient("L").resize(size)
    ground = Image.composite(Image.new("RGB", size, palette.bottom), Image.new("RGB", size, palette.top), shade)
    glow = square.resize((32, 32)).filter(ImageFilter.GaussianBlur(5)).resize(size, Image.Resampling.BICUBIC)
    return Image.blend(ground, ImageChops.soft_light(ground, glow), 0.8)


def _frame(card: Image.Image, square: Image.Image, palette: _Palette) -> None:
    """The picture with round corners, a soft shadow under it and a hairline around it."""
    left = top = _MARGIN * _SCALE
    side, radius = _PICTURE * _SCALE, _RADIUS * _SCALE
    mask = Image.new("L", (side, side), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side - 1, side - 1), radius, fill=255)
    shadow = Image.new("L", card.size, 0)
    ImageDraw.Draw(shadow).rounded_rectangle((left, top + 14, left + side, top + side + 22), radius, fill=170)
    card.paste((0, 0, 0), mask=shadow.filter(ImageFilter.GaussianBlur(26)))
    card.paste(square, (left, top), mask)
    line = Image.new("L", card.size, 0)
    box = (left - 1, top - 1, left + side, top + side)
    ImageDraw.Draw(line).rounded_rectangle(box, radius, outline=110, width=_SCALE)
    card.paste(palette.accent, mask=line)


def _words(card: Image.Image, text: CardText, palette: _Palette) -> None:
    left, right = _MARGIN, WIDTH - _MARGIN
    faint = _mix(palette.ink, palette.bottom, 0.55)
    _write(card, (left - 2, 812), text.name, 60, palette.ink, right - left - 170)
    _write(card, (right, 812), "DreamArtist", 21, palette.accent, 140, anchor="rs")
    brings = f"brings {text.negative} along by itself" if text.negative else "textual inversion, without a negative"
    _write(card, (left, 850), brings, 22, _mix(palette.ink, palette.bottom, 0.75), right - left)
    ImageDraw.Draw(card).line(
        tuple(n * _SCALE for n in (left, 880, right, 880)), fill=_mix(palette.accent, palette.bottom, 0.28), width=2
    )
    column = (right - left) / max(1, len(text.facts))
    for i, (label, value) in enumerate(text.facts):
        x = round(left + i * column)
        _write(card, (x, 914), label.upper(), 15, faint, column - 14)
        _write(card, (x, 946), value, 27, palette.ink, column - 14)
    if text.model:
        _write(card, (left, 984), f"learned on {text.model}", 20, _mix(palette.ink, palette.bottom, 0.75), right - left)
    _write(card, (left, 1028), "The embedding is inside this PNG file: pass on the file itself.", 17, faint, 688)


def _beads(card: Image.Image, pair: str, palette: _Palette) -> None:
    """Bright and dark beads on a dark band, which keeps the contrast whatever the picture's colours are."""
    draw = ImageDraw.Draw(card)
    width, height = card.size
    radius = BEAD_RADIUS * width
    off = _mix(palette.accent, palette.bottom, 0.2)
    for (x, y), is_bright in zip(bead_places(), beads_of(pair), strict=True):
        middle = x * width, y * height
        box = (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius)
        draw.ellipse(box, fill=palette.accent if is_bright else off)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _write(
    card: Image.Image, place: tuple[float, float], text: str, size: int, colour: Colour, most: float, anchor: str = "ls"
) -> None:
    """Write text on its base line. It is made smaller to fit into `most`; if it were too small to read, it is cut."""
    x, y = (round(n * _SCALE) for n in place)
    for smaller in (1.0, 0.85, 0.7, 0.6):
        mask = _text_mask(text, round(size * smaller))
        if mask.width <= most * _SCALE:
            break
    while mask.width > most * _SCALE and len(text) > 4:
        text = text[: max(1, min(len(text) - 4, int(len(text) * most * _SCALE / mask.width) - 3))] + "..."
        mask = _text_mask(text, round(size * 0.6))
    card.paste(colour, (x if anchor[0] == "l" else x - mask.width, y - _ascent(mask)), mask)


def _ascent(mask: Image.Image) -> int:
    return int(mask.info["ascent"])


def _text_mask(text: str, size: int) -> Image.Image:
    """White on black, as wide as the text; `info["ascent"]` is the base line's distance from the top."""
    font = font_of(size * _SCALE)
    _, _, right, bottom = font.getbbox(text)
    if isinstance(font, ImageFont.FreeTypeFont):
        ascent, descent = font.getmetrics()
        mask = Image.new("L", (max(1, round(right)), ascent + descent), 0)
        ImageDraw.Draw(mask).text((0, 0), text, font=font, fill=255)
        mask.info["ascent"] = ascent
        return mask
    # Pillow before 10.1 has one small bitmap font: drawn small, then enlarged
    small = Image.new("L", (max(1, round(right)), round(bottom)), 0)
    ImageDraw.Draw(small).text((0, 0), text, font=font, fill=255)
    factor = size * _SCALE / 11
    mask = small.resize((round(small.width * factor), round(small.height * factor)), Image.Resampling.BICUBIC)
    mask.info["ascent"] = round(9 * factor)
    return mask


@lru_cache(maxsize=64)
def font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own scalable font, or one of the system's where Pillow is older than 10.1."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        found = (_system_font(name, size) for name in _FONTS)
        return next(filter(None, found), None) or ImageFont.load_default()


def _system_font(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    with suppress(OSError):
        return ImageFont.truetype(name, size)
    return None


def facts_in_words(family: str, step: int, vectors: Sequence[int], made: str) -> tuple[tuple[str, str], ...]:
    """The labels and values of `CardText.facts`; what is not known is left out."""
    facts = [
        ("model family", family),
        ("steps", f"{step:,}" if step else ""),
        ("vectors", " + ".join(map(str, vectors))),
    ]
    return tuple((label, value) for label, value in [*facts, ("made", made)] if value)
