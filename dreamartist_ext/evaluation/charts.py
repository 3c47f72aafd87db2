"""Charts as inline SVG, in the colours of the page they stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..engine.stopping import Check

SIZE = (560, 400)
MARGIN = (58, 16, 18, 48)  # left, top, right, bottom
CURVE_SIZE = (420, 170)


@dataclass(frozen=True)
class Mark:
    """A point with its intervals, (low, high); `label` stands beside it."""

    x: float
    y: float
    x_interval: tuple[float, float]
    y_interval: tuple[float, float]
    label: str


@dataclass(frozen=True)
class Axes:
    """From figures to places on a chart of `size`."""

    x: tuple[float, float]
    y: tuple[float, float]
    size: tuple[int, int] = SIZE

    def place(self, x: float, y: float) -> tuple[float, float]:
        left, top, right, bottom = MARGIN
        width, height = self.size[0] - left - right, self.size[1] - top - bottom
        across = left + width * (x - self.x[0]) / (self.x[1] - self.x[0])
        return round(across, 1), round(top + height * (self.y[1] - y) / (self.y[1] - self.y[0]), 1)


def plane_svg(series: Mapping[str, Sequence[Mark]], x_title: str, y_title: str) -> str:
    """A line of marks for each way of drawing. Up and to the right is better."""
    marks = [mark for line in series.values() for mark in line]
    axes = Axes(
        _range([v for mark in marks for v in mark.x_interval], 0.02),
        _range([v for mark in marks for v in mark.y_interval], 0.02),
    )
    parts = [_frame(axes, x_title, y_title)]
    for number, (name, line) in enumerate(series.items()):
        places = [axes.place(mark.x, mark.y) for mark in line]
        path = " ".join(f"{x},{y}" for x, y in places)
        drawn = [_whiskers(axes, mark) for mark in line]
        drawn.append(f'<polyline points="{path}"/>')
        drawn += [_dot(number, place, f"{name}, {mark.label}") for place, mark in zip(places, line, strict=True)]
        drawn += [
            f'<text x="{x + 9}" y="{y - 8}">{escape(mark.label)}</text>'
            for (x, y), mark in zip(places, line, strict=True)
        ]
        parts.append(f'<g class="way{number}">{"".join(drawn)}</g>')
    return _svg(SIZE, f"{x_title} against {y_title}", parts)


def legend_html(names: Sequence[str]) -> str:
    """What the shapes and colours stand for."""
    items = (
        f'<span><svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><g class="way{number}">'
        f"{_dot(number, (8.0, 8.0), name)}</g></svg> {escape(name)}</span>"
        for number, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(items)}</p>'


def curve_svg(checks: Sequence[Check], used_step: int) -> str:
    """The check loss over the steps, the step in use marked, and the empty prompt's loss as a dashed line."""
    values = [check.loss for check in checks] + [checks[-1].baseline]
    axes = Axes((0, max(check.step for check in checks)), _range(values, 1e-3), CURVE_SIZE)
    (x1, y), (x2, _) = axes.place(0, checks[-1].baseline), axes.place(axes.x[1], checks[-1].baseline)
    path = " ".join("{},{}".format(*axes.place(check.step, check.loss)) for check in checks)
    parts = [
        _frame(axes, "steps", "check loss", digits=3),
        f'<line class="dashed" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}"/>',
        f'<g class="way0"><polyline points="{path}"/>',
    ]
    for check in checks:
        x, y = axes.place(check.step, check.loss)
        parts.append(f'<circle cx="{x}" cy="{y}" r="{5 if check.step == used_step else 3}"/>')
    return _svg(CURVE_SIZE, "check loss over steps", [*parts, "</g>"])


def _range(values: Sequence[float], least_room: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max((high - low) * 0.08, least_room)
    return low - room, high + room


def _svg(size: tuple[int, int], label: str, parts: Sequence[str]) -> str:
    head = f'<svg class="chart" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(label)}">'
    return "".join([head, *parts, "</svg>"])


def _frame(axes: Axes, x_title: str, y_title: str, digits: int = 2) -> str:
    left, top, right, bottom = MARGIN
    width, height = axes.size
    parts = [f'<rect x="{left}" y="{top}" width="{width - left - right}" height="{height - top - bottom}"/>']
    for share in (0.1, 0.5, 0.9):
        x, y = (low + share * (high - low) for low, high in (axes.x, axes.y))
        across, up = axes.place(x, y)
        shown = f"{x:.0f}" if x > 20 else f"{x:.{digits}f}"
        parts.append(f'<text class="tick" x="{across}" y="{height - bottom + 17}" text-anchor="middle">{shown}</text>')
        parts.append(f'<text class="tick" x="{left - 7}" y="{up + 4}" text-anchor="end">{y:.{digits}f}</text>')
        parts.append(f'<line class="grid" x1="{across}" y1="{top}" x2="{across}" y2="{height - bottom}"/>')
        parts.append(f'<line class="grid" x1="{left}" y1="{up}" x2="{width - right}" y2="{up}"/>')
    middle = top + (height - top - bottom) / 2
    parts.append(
        f'<text x="{left + (width - left - right) / 2}" y="{height - 8}" text-anchor="middle">{escape(x_title)}</text>'
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
    )
    return f'<g class="frame">{"".join(parts)}</g>'


def _whiskers(axes: Axes, mark: Mark) -> str:
    ends = [axes.place(x, mark.y) for x in mark.x_interval], [axes.place(mark.x, y) for y in mark.y_interval]
    return "".join(f'<line class="whisker" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>' for (x1, y1), (x2, y2) in ends)


def _dot(number: int, place: tuple[float, float], title: str) -> str:
    """A shape of its own for each way, so that the chart needs no colours to be read."""
    x, y = place
    shapes = (
        f'<circle cx="{x}" cy="{y}" r="6">',
        f'<rect x="{x - 5}" y="{y - 5}" width="10" height="10">',
        f'<path d="M{x} {y - 7}L{x + 7} {y + 5}L{x - 7} {y + 5}Z">',
    )
    shape = shapes[number % len(shapes)]
    return f"{shape}<title>{escape(title)}</title></{shape[1:].split()[0]}>"
