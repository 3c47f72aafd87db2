"""The curve of a training as a table and as a picture: check loss, the empty prompt's, and the steps' mean loss."""

from __future__ import annotations

import inspect
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..engine.stopping import Check, best_of

WIDTH, HEIGHT = 900, 450  # pixels
_SIZES = "size" in inspect.signature(ImageFont.load_default).parameters  # before Pillow 10.1 its font has one only
_OVER = 2 if _SIZES else 1  # drawn so much larger, for smooth lines
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 50, 30, 50  # margins
_INK, _GRID = (40, 40, 40), (225, 225, 225)
_PAIR, _BASELINE, _TRAINING, _BEST = (47, 158, 110), (110, 110, 110), (150, 180, 215), (224, 138, 30)


def curve_csv(checks: Sequence[Check]) -> bytes:
    """A row per check; the mean loss of the steps since the check before is empty where it is not known."""
    rows = ["step,check_loss,empty_prompt_loss,mean_training_loss"]
    for check in checks:
        mean = "" if check.training_loss is None else f"{check.training_loss:.6g}"
        rows.append(f"{check.step},{check.loss:.6g},{check.baseline:.6g},{mean}")
    return ("\n".join(rows) + "\n").encode()


def curve_png(checks: Sequence[Check], steps: int) -> bytes:
    """A PNG file of WIDTH x HEIGHT pixels; the best check is marked."""
    values = [value for check in checks for value in (check.loss, check.baseline, check.training_loss)]
    finite = [value for value in values if value is not None and value - value == 0]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    room = max(0.08 * (high - low), 1e-4)
    plot = _Plot(steps, low - room, high + room)
    plot.frame()
    plot.line([(c.step, c.training_loss) for c in checks], _TRAINING, 2)
    plot.dashes(checks[-1].baseline if checks else None)
    plot.line([(c.step, c.loss) for c in checks], _PAIR, 3)
    best = best_of(checks)
    if best is not None:
        plot.dot(checks[best].step, checks[best].loss, _BEST)
    plot.legend(
        [("check loss of the pair", _PAIR), ("of the empty prompt", _BASELINE), ("mean of the steps", _TRAINING)]
    )
    return plot.png()


class _Plot:
    """A picture with a place for every step and loss."""

    def __init__(self, steps: int, low: float, high: float) -> None:
        self.steps, self.low, self.high = steps, low, high
        self.picture = Image.new("RGB", (WIDTH * _OVER, HEIGHT * _OVER), "white")
        self.pen = ImageDraw.Draw(self.picture)
        self.font: Any = ImageFont.load_default(14 * _OVER) if _SIZES else ImageFont.load_default()

    def place(self, step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * step / self.steps
        y = _TOP + (HEIGHT - _TOP - _BOTTOM) * (self.high - value) / (self.high - self.low)
        return x * _OVER, y * _OVER

    def frame(self) -> None:
        for part in range(5):
            value = self.low + (self.high - self.low) * part / 4
            ends = self.place(0, value), self.place(self.steps, value)
            self.pen.line(ends, _GRID, _OVER)
            self.text((ends[0][0] - 8 * _OVER, ends[0][1]), f"{value:.4f}", "right")
            step = round(self.steps * part / 4)
            x, y = self.place(step, self.low)
            words, align = (f"step {step}", "right") if part == 4 else (str(step), "middle")
            self.text((x, y + 18 * _OVER), words, align)

    def text(self, at: tuple[float, float], words: str, align: str, colour: Any = _INK) -> None:
        """`at` is the middle of its height, and the left, middle or right of its width."""
        left, top, right, bottom = self.pen.textbbox((0, 0), words, font=self.font)
        share = {"left": 0.0, "middle": 0.5, "right": 1.0}[align]
        self.pen.text((at[0] - share * (right - left), at[1] - (top + bottom) / 2), words, colour, font=self.font)

    def line(self, points: Sequence[tuple[int, float | None]], colour: Any, width: int) -> None:
        places = [self.place(step, value) for step, value in points if value is not None and value - value == 0]
        if len(places) > 1:
            self.pen.line(places, colour, width * _OVER, joint="curve")
        for x, y in places if len(places) <= 60 else []:
            self._disc(x, y, width * _OVER, colour)

    def dashes(self, value: float | None) -> None:
        if value is None or value - value != 0:
            return
        (left, y), (right, _) = self.place(0, value), self.place(self.steps, value)
        for x in range(round(left), round(right), 14 * _OVER):
            self.pen.line([(x, y), (min(x + 8 * _OVER, right), y)], _BASELINE, 2 * _OVER)

    def dot(self, step: int, value: float, colour: Any) -> None:
        x, y = self.place(step, value)
        self._disc(x, y, 6 * _OVER, colour)
        align = "right" if step > 0.8 * self.steps else "left"
        self.text((x, y - 16 * _OVER), f"best: step {step}", align, colour)

    def _disc(self, x: float, y: float, radius: float, colour: Any) -> None:
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def legend(self, entries: Sequence[tuple[str, Any]]) -> None:
        x: float = _LEFT * _OVER
        for words, colour in entries:
            self.pen.line([(x, 22 * _OVER), (x + 24 * _OVER, 22 * _OVER)], colour, 3 * _OVER)
            self.text((x + 32 * _OVER, 22 * _OVER), words, "left")
            x += 60 * _OVER + self.pen.textlength(words, font=self.font)

    def png(self) -> bytes:
        buffer = io.BytesIO()
        self.picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(buffer, "PNG")
        return buffer.getvalue()
