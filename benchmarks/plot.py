"""The figures and curves of a run as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from dreamartist_ext.files.charts import INK, QUIET, TEXT, axes_in, blank, name_axes, png
from dreamartist_ext.files.storage import write_atomically

from .results import Curve, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

WIDTH, ROW, TITLE, CURVE_HEIGHT, COLUMNS = 1000, 28, 34, 210, 3
MET, MISSED, PLAIN = "#2f9e6e", "#c84632", "#5a78aa"
NAMES, VALUES = 560, 110  # pixels for the names of the figures and for what was measured
NAME, HEADING = 92, 46  # letters in a line of a figure's name and of a curve's reason
MOST = 2.0  # of the aim, where the axis ends


def draw(figures: Sequence[Figure], curves: Sequence[Curve], path: Path) -> None:
    """Ratios as shares of their aims, then the curves."""
    ratios = [f for f in figures if f.unit == "x" and f.aim]
    bars = TITLE + ROW * len(ratios) + 20 if ratios else 0
    picture = blank(WIDTH, bars + CURVE_HEIGHT * math.ceil(len(curves) / COLUMNS) + 10)
    if ratios:
        draw_ratios(picture, ratios)
    width = WIDTH / COLUMNS
    for number, curve in enumerate(curves):
        row, column = divmod(number, COLUMNS)
        left, top = column * width, bars + row * CURVE_HEIGHT
        draw_curve(axes_in(picture, left + 58, top + 50, left + width - 18, top + CURVE_HEIGHT - 46), curve)
    write_atomically(path, png(picture))


def draw_ratios(picture: Picture, ratios: Sequence[Figure]) -> None:
    """A dot with the middle half of its rounds; the line is the aim, and better lies to its left."""
    axes = axes_in(picture, NAMES, TITLE, WIDTH - VALUES, TITLE + ROW * len(ratios))
    axes.set_xlim(0, MOST)
    axes.set_ylim(len(ratios) - 0.5, -0.5)
    names = [fill(f"{ratio.what} / {ratio.against}", NAME) for ratio in ratios]
    axes.set_yticks(range(len(ratios)))
    axes.set_yticklabels(names, fontsize=TEXT - 1, color=INK)
    axes.set_xticks([])
    axes.axvline(1, color=INK, linewidth=1.5)
    axes.text(1, -0.7, "goal", ha="center", fontsize=TEXT, color=INK)
    axes.text(0, -0.7, "better", fontsize=TEXT, color=PLAIN)
    for row, ratio in enumerate(ratios):
        colour = MET if ratio.is_met else MISSED
        spread = ratio.spread
        low, middle, high = (min(share_of_aim(ratio, v), MOST) for v in (spread.low, spread.median, spread.high))
        axes.plot([low, high], [row, row], color=colour, linewidth=2)
        axes.plot(middle, row, "o", color=colour, markersize=8, clip_on=False)
        said = f"{spread.median:.3g} of {ratio.aim:g}"
        axes.text(MOST * 1.03, row, said, color=colour, fontsize=TEXT, va="center")


def draw_curve(axes: Axes, curve: Curve) -> None:
    """From nought, so that what is flat looks flat."""
    xs, ys = zip(*curve.points, strict=True)
    axes.plot(xs, ys, "o-", color=PLAIN, linewidth=2, markersize=6, clip_on=False)
    axes.set_xlim(0, max(xs) or 1)
    axes.set_ylim(0, max(ys) * 1.1 or 1)
    axes.locator_params(nbins=4)
    axes.set_title(f"{curve.title}\n", loc="left", fontsize=TEXT, color=INK)
    axes.text(0, 1.04, fill(curve.reason, HEADING), transform=axes.transAxes, fontsize=TEXT - 1, color=QUIET)
    name_axes(axes, f"{curve.x}; {curve.y}")


def share_of_aim(figure: Figure, value: float) -> float:
    """Below 1 is better than asked for, whichever way the aim points."""
    assert figure.aim
    return figure.aim / max(value, 1e-9) if figure.at_least else value / figure.aim
