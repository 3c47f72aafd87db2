"""The report's charts: likeness against control, and check losses, as inline SVG in the colours of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

from ..engine.stopping import Check
from ..files.charts import BESIDE, MARKERS, QUIET, SERIES, TEXT, axes_in, blank, legend_above, name_axes
from .inline_svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE, CURVE_SIZE = (560, 430), (420, 180)
DOT, THIN = 11, 4  # pixels: of a mark, of a line
LEADER = {"arrowstyle": "-", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0}
_LETTER = (0.65 * TEXT, 1.2 * TEXT)  # pixels, a little more than a digit takes
_AROUND = [(x, y) for x, y in product((1, 0, -1), (1, -1, 0)) if x or y]  # where a label may stand, the best first


@dataclass(frozen=True)
class Mark:
    """A point with its intervals, (low, high); `label` stands beside it."""

    x: float
    y: float
    x_interval: tuple[float, float]
    y_interval: tuple[float, float]
    label: str


def plane_svg(series: Mapping[str, Sequence[Mark]], x_title: str, y_title: str, key: str) -> str:
    """A line of marks for each way of drawing. Up and to the right is better. `key`: see inline_svg."""
    figure = blank(*SIZE)
    axes = axes_in(figure, BESIDE, 40, SIZE[0] - 18, SIZE[1] - 48)
    titles = draw_plane(axes, series, x_title, y_title)
    legend_above(axes)
    return inline_svg(figure, key, f"{x_title} against {y_title}", titles)


def draw_plane(axes: Axes, series: Mapping[str, Sequence[Mark]], x_title: str, y_title: str) -> dict[str, str]:
    """A line for each of the series, three at most. Returns what each mark is, by the id that it has in an SVG."""
    titles: dict[str, str] = {}
    marks = [mark for line in series.values() for mark in line]
    axes.locator_params(nbins=6)
    axes.set_xlim(_range([v for mark in marks for v in mark.x_interval], 0.02))
    axes.set_ylim(_range([v for mark in marks for v in mark.y_interval], 0.02))
    name_axes(axes, x_title, y_title)
    for (name, line), colour, shape in zip(series.items(), SERIES, MARKERS, strict=False):
        axes.plot([mark.x for mark in line], [mark.y for mark in line], color=colour, linewidth=2)
        axes.plot([], [], marker=shape, color=colour, linewidth=2, markersize=DOT - 2, label=name)  # in the legend
        for mark in line:
            axes.plot(mark.x_interval, [mark.y] * 2, color=colour, linewidth=1, alpha=0.45)
            axes.plot([mark.x] * 2, mark.y_interval, color=colour, linewidth=1, alpha=0.45)
            key = f"mark{len(titles)}"
            titles[key] = f"{name}, {mark.label}"
            axes.plot(mark.x, mark.y, shape, color=colour, markersize=DOT, zorder=3, gid=key)
    _label(axes, series)
    return titles


def _label(axes: Axes, series: Mapping[str, Sequence[Mark]]) -> None:
    """Each mark's label beside it, or, where others stand there already, further out at the end of a thin line."""
    lines = [[axes.transData.transform((mark.x, mark.y)).tolist() for mark in line] for line in series.values()]
    taken = [box for line in lines for box in _boxes_on(line)]
    across, up = axes.bbox.get_points().mean(axis=0).tolist()
    frame = Box(across, up, axes.bbox.width, axes.bbox.height)
    for line, points, colour in zip(series.values(), lines, SERIES, strict=False):
        for mark, (x, y) in zip(line, points, strict=True):
            wanted = list(_boxes_around(x, y, len(mark.label)))
            free = (n for n, box in enumerate(wanted) if frame.holds(box) and not any(map(box.meets, taken)))
            number = next(free, 0)
            box = wanted[number]
            taken.append(box)
            axes.annotate(
                mark.label,
                (mark.x, mark.y),
                (box.x - x, box.y - y),
                textcoords="offset points",
                ha="center",
                va="center",
                color=colour,
                fontsize=TEXT,
                arrowprops={**LEADER, "color": colour} if number >= len(_AROUND) else None,
            )


@dataclass(frozen=True)
class Box:
    """Around a middle; pixels."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        near_across = 2 * abs(self.x - other.x) < self.width + other.width
        return near_across and 2 * abs(self.y - other.y) < self.height + other.height

    def holds(self, other: Box) -> bool:
        fits_across = 2 * abs(self.x - other.x) <= self.width - other.width
        return fits_across and 2 * abs(self.y - other.y) <= self.height - other.height


def _boxes_on(line: Sequence[Sequence[float]]) -> list[Box]:
    """What its marks, and the line between them, cover."""
    boxes = [Box(x, y, DOT, DOT) for x, y in line]
    for (x1, y1), (x2, y2) in pairwise(line):
        count = int(max(abs(x2 - x1), abs(y2 - y1)) / THIN) + 1
        boxes += [Box(x1 + (x2 - x1) * n / count, y1 + (y2 - y1) * n / count, THIN, THIN) for n in range(count)]
    return boxes


def _boxes_around(x: float, y: float, letters: int) -> Iterator[Box]:
    """Places for a label of so many letters, the nearest first."""
    width, height = letters * _LETTER[0] + 4, _LETTER[1]
    for further in range(0, 120, 12):
        for across, up in _AROUND:
            away = (DOT + width) / 2 + 1 + further, (DOT + height) / 2 - 1 + further
            yield Box(x + across * away[0], y + up * away[1], width, height)


def curve_svg(checks: Sequence[Check], used_step: int, key: str) -> str:
    """The check loss over the steps, the step in use marked, and the empty prompt's loss as a dashed line."""
    figure = blank(*CURVE_SIZE)
    axes = axes_in(figure, BESIDE, 10, CURVE_SIZE[0] - 18, CURVE_SIZE[1] - 46)
    steps, losses, baseline = [check.step for check in checks], [check.loss for check in checks], checks[-1].baseline
    axes.set_xlim(0, max(steps))
    axes.set_ylim(_range([*losses, baseline], 1e-3))
    axes.locator_params(nbins=5)
    name_axes(axes, "steps", "check loss")
    axes.axhline(baseline, color=QUIET, linewidth=1.5, linestyle="--")
    axes.plot(steps, losses, "o-", color=SERIES[0], linewidth=2, markersize=6, clip_on=False)
    used = [(step, loss) for step, loss in zip(steps, losses, strict=True) if step == used_step]
    for step, loss in used:
        axes.plot(step, loss, "o", color=SERIES[0], markersize=10, clip_on=False)
    return inline_svg(figure, key, "check loss over steps")


def _range(values: Sequence[float], least_room: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max((high - low) * 0.08, least_room)
    return low - room, high + room
