"""The check loss over the steps as a picture to read: a grid, a smooth line, the best step marked, numbers on hover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

SIZE = (600, 240)
MARGIN = (56, 14, 16, 34)  # left, top, right, bottom
SMOOTH = 0.6  # share of the line before, in the smooth one
FEW = 6  # points that a smooth line would only lead away from
MOST_POINTS = 60  # dots and numbers on hover
LINES = 4  # of the grid, about

Point = tuple[int, float]


def curve_svg(points: Sequence[Point], steps: int, baseline: float | None, best: int | None) -> str:
    """points: (step, loss), finite. With `baseline`, the loss without the word, as a dashed line."""
    plane = _Plane(points, steps, baseline)
    label = f"loss over {steps} steps"
    parts = [f'<svg viewBox="0 0 {SIZE[0]} {SIZE[1]}" role="img" aria-label="{label}">', _grid(plane)]
    if baseline is not None:
        parts.append(_baseline(plane, baseline))
    line = smoothed(points) if len(points) > FEW else points
    parts.append(f'<polyline class="raw" points="{plane.line(points)}"/>' if len(points) > FEW else "")
    parts.append(f'<polyline class="smooth" points="{plane.line(line)}"/>')
    if baseline is None:  # single steps: noise, in which no dot means anything
        return "".join([*parts, "</svg>"])
    shown = points if len(points) <= MOST_POINTS else points[:: math.ceil(len(points) / MOST_POINTS)]
    parts += [_dot(plane, step, value, step == best, baseline) for step, value in shown]
    return "".join([*parts, "</svg>"])


def smoothed(points: Sequence[Point]) -> list[Point]:
    """A running mean that starts at the first point."""
    found: list[Point] = []
    for step, value in points:
        found.append((step, SMOOTH * found[-1][1] + (1 - SMOOTH) * value if found else value))
    return found


def ticks(low: float, high: float, wanted: int = LINES) -> list[float]:
    """Round numbers between two, about so many."""
    raw = (high - low) / wanted
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


class _Plane:
    """Where a step and a loss are on the picture."""

    def __init__(self, points: Sequence[Point], steps: int, baseline: float | None) -> None:
        values = [value for _, value in points] + ([] if baseline is None else [baseline])
        room = max((max(values) - min(values)) * 0.12, 1e-4)
        self.low, self.high, self.steps = min(values) - room, max(values) + room, steps

    def x(self, step: float) -> float:
        return round(MARGIN[0] + (SIZE[0] - MARGIN[0] - MARGIN[2]) * step / self.steps, 1)

    def y(self, value: float) -> float:
        share = (self.high - value) / (self.high - self.low)
        return round(MARGIN[1] + (SIZE[1] - MARGIN[1] - MARGIN[3]) * share, 1)

    def line(self, points: Sequence[Point]) -> str:
        return " ".join(f"{self.x(step)},{self.y(value)}" for step, value in points)


def _grid(plane: _Plane) -> str:
    right, bottom = SIZE[0] - MARGIN[2], SIZE[1] - MARGIN[3]
    parts = []
    for value in ticks(plane.low, plane.high):
        y = plane.y(value)
        parts.append(f'<line class="grid" x1="{MARGIN[0]}" y1="{y}" x2="{right}" y2="{y}"/>')
        parts.append(f'<text x="{MARGIN[0] - 7}" y="{y + 4}" text-anchor="end">{value:.4g}</text>')
    for value in ticks(0, plane.steps, 5):
        x = plane.x(value)
        parts.append(f'<line class="grid" x1="{x}" y1="{MARGIN[1]}" x2="{x}" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{value:.0f}</text>')
    parts.append(f'<text x="{(MARGIN[0] + right) / 2}" y="{SIZE[1] - 3}" text-anchor="middle">step</text>')
    return "".join(parts)


def _baseline(plane: _Plane, value: float) -> str:
    y, right = plane.y(value), SIZE[0] - MARGIN[2]
    line = f'<line class="baseline" x1="{MARGIN[0]}" y1="{y}" x2="{right}" y2="{y}"/>'
    return f'{line}<text x="{right}" y="{y - 5}" text-anchor="end">without the word</text>'


def _dot(plane: _Plane, step: int, value: float, is_best: bool, baseline: float | None) -> str:
    """The dot, and its numbers, which show while the pointer is near."""
    x, y = plane.x(step), plane.y(value)
    gain = f", {1 - value / baseline:+.1%} better than without" if baseline and value < baseline else ""
    words = escape(f"step {step}: {value:.4f}{gain}{' (best)' if is_best else ''}")
    width = max(8.0, (SIZE[0] - MARGIN[0] - MARGIN[2]) / MOST_POINTS)
    bottom = SIZE[1] - MARGIN[3]
    anchor = "start" if x < SIZE[0] / 3 else "end" if x > SIZE[0] * 2 / 3 else "middle"
    above = y - 12 if y > MARGIN[1] + 24 else y + 22
    return (
        f'<g class="point"><rect x="{x - width / 2:.1f}" y="{MARGIN[1]}" width="{width:.1f}" '
        f'height="{bottom - MARGIN[1]}"/><circle{" class=" + chr(34) + "best" + chr(34) if is_best else ""} cx="{x}" '
        f'cy="{y}" r="{6 if is_best else 3}"/><text x="{x}" y="{above:.1f}" text-anchor="{anchor}">{words}</text></g>'
    )
