"""The figures and curves of a run as one picture, drawn with Pillow alone."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .results import Curve, Figure

OVER = 2  # drawn so much larger, for smooth lines
WIDTH, ROW, TITLE, CURVE_HEIGHT, COLUMNS = 1000, 26, 34, 190, 3
INK, GRID, MET, MISSED, PLAIN = (40, 40, 40), (225, 225, 225), (47, 158, 110), (200, 70, 50), (90, 120, 170)
NAMES = 560  # pixels for the names of the figures
MOST = 2.0  # of the aim, where the axis ends


def draw(figures: Sequence[Figure], curves: Sequence[Curve], path: Path) -> None:
    """Ratios as shares of their aims, then the curves."""
    ratios = [f for f in figures if f.unit == "x" and f.aim]
    bars = TITLE + ROW * len(ratios) + 20 if ratios else 0
    height = bars + CURVE_HEIGHT * math.ceil(len(curves) / COLUMNS) + 10
    sheet = _Sheet(height)
    if ratios:
        sheet.ratios(ratios)
    width = WIDTH // COLUMNS
    for number, curve in enumerate(curves):
        row, column = divmod(number, COLUMNS)
        sheet.curve(curve, (column * width, bars + row * CURVE_HEIGHT), (width, CURVE_HEIGHT))
    sheet.save(path)


class _Sheet:
    """A white picture WIDTH wide; places are in its final pixels."""

    def __init__(self, height: int) -> None:
        self.picture = Image.new("RGB", (WIDTH * OVER, max(height, 1) * OVER), "white")
        self.pen = ImageDraw.Draw(self.picture)
        sized = "size" in inspect.signature(ImageFont.load_default).parameters  # since Pillow 10.1
        self.font: Any = ImageFont.load_default(12 * OVER) if sized else ImageFont.load_default()

    def text(self, x: float, y: float, words: str, share: float = 0.0, colour: Any = INK) -> None:
        """share: how much of the words lies to the left of x; y is their middle."""
        left, top, right, bottom = self.pen.textbbox((0, 0), words, font=self.font)
        place = (x * OVER - share * (right - left), y * OVER - (top + bottom) / 2)
        self.pen.text(place, words, colour, font=self.font)

    def line(self, points: Sequence[tuple[float, float]], colour: Any, width: float = 1) -> None:
        self.pen.line([(x * OVER, y * OVER) for x, y in points], colour, round(width * OVER), joint="curve")

    def dot(self, x: float, y: float, colour: Any, radius: float = 3) -> None:
        box = [(v + sign * radius) * OVER for sign in (-1, 1) for v in (x, y)]
        self.pen.ellipse(box, colour)

    def ratios(self, figures: Sequence[Figure]) -> None:
        """A dot with the middle half of its rounds; the line is the aim, and better lies to its left."""
        left, right = NAMES, WIDTH - 90
        bottom = TITLE + ROW * len(figures)

        def across(share: float) -> float:
            return left + (right - left) * min(share, MOST) / MOST

        self.text(across(1), 14, "aim", 0.5)
        self.text(left, 14, "better", 0.0, PLAIN)
        self.line([(across(1), TITLE - 8), (across(1), bottom)], INK, 1.5)
        for number, figure in enumerate(figures):
            y = TITLE + ROW * number + ROW / 2
            colour = MET if figure.is_met else MISSED
            low, middle, high = (
                share_of_aim(figure, v) for v in (figure.spread.low, figure.spread.median, figure.spread.high)
            )
            self.line([(left, y + ROW / 2), (right, y + ROW / 2)], GRID)
            self.text(left - 12, y, f"{figure.what} / {figure.against}"[:92], 1.0)
            self.line([(across(low), y), (across(high), y)], colour, 2)
            self.dot(across(middle), y, colour, 4)
            self.text(right + 10, y, f"{figure.spread.median:.3g} of {figure.aim:g}", 0.0, colour)

    def curve(self, curve: Curve, at: tuple[float, float], size: tuple[float, float]) -> None:
        left, top = at[0] + 58, at[1] + 30
        right, bottom = at[0] + size[0] - 14, at[1] + size[1] - 38
        xs, ys = zip(*curve.points, strict=True)
        most_x, most_y = max(xs) or 1, max(ys) * 1.1 or 1

        def place(x: float, y: float) -> tuple[float, float]:
            return left + (right - left) * x / most_x, bottom - (bottom - top) * y / most_y

        self.text((left + right) / 2, at[1] + 14, f"{curve.title} ({curve.reason})", 0.5)
        for share in (0, 0.5, 1):
            y = place(0, share * most_y)[1]
            self.line([(left, y), (right, y)], GRID)
            self.text(left - 6, y, f"{share * most_y:.3g}", 1.0)
            self.text(place(share * most_x, 0)[0], bottom + 11, f"{share * most_x:g}", 0.5)
        self.text((left + right) / 2, bottom + 26, f"{curve.x}; {curve.y}", 0.5)
        places = [place(x, y) for x, y in curve.points]
        self.line(places, PLAIN, 2)
        for x, y in places:
            self.dot(x, y, PLAIN)

    def save(self, path: Path) -> None:
        size = self.picture.width // OVER, self.picture.height // OVER
        self.picture.resize(size, Image.Resampling.LANCZOS).save(path)


def share_of_aim(figure: Figure, value: float) -> float:
    """Below 1 is better than asked for, whichever way the aim points."""
    assert figure.aim
    return figure.aim / max(value, 1e-9) if figure.at_least else value / figure.aim
