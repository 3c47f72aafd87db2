"""What all charts that are written to disk share: paper, ink and axes.

Drawn by matplotlib, by its objects alone: pyplot keeps what it draws and belongs to the main thread.

A pixel is a point (72 to the inch), so that sizes mean the same in PNG and SVG. matplotlib is imported when something
is drawn: it costs a second.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 72  # an inch
INK, QUIET, GRID = "#23262b", "#666677", "#ddddee"
SERIES = ("#17804f", "#c05f00", "#5566cc")  # one after the other, for whatever is compared
MARKERS = ("o", "s", "^")  # a shape of its own for each, so that no chart needs its colours to be read
TEXT = 12  # pixels
BESIDE = 76  # pixels, at the left of axes whose ordinate has a title
_ALMOST = 1e-9  # 1000 / 72 * 72 must not become 999 whole pixels


def blank(width: int, height: int) -> Figure:
    """A white picture of so many pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(((width + _ALMOST) / DOTS, (height + _ALMOST) / DOTS), dpi=DOTS, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def axes_in(figure: Figure, left: float, top: float, right: float, bottom: float) -> Axes:
    """Axes with a quiet grid between these pixels, counted from the upper left."""
    width, height = (side * DOTS for side in figure.get_size_inches())
    axes = figure.add_axes((left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height))
    axes.set_facecolor("none")
    axes.grid(color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, labelsize=TEXT, labelcolor=QUIET)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
    return axes


def name_axes(axes: Axes, x_title: str, y_title: str = "") -> None:
    """The title of the ordinate stands where no number reaches, in a margin of BESIDE pixels."""
    axes.set_xlabel(x_title, color=INK, fontsize=TEXT)
    axes.set_ylabel(y_title, color=INK, fontsize=TEXT)
    axes.yaxis.set_label_coords((TEXT + 4 - BESIDE) / axes.bbox.width, 0.5)


def legend_above(axes: Axes) -> None:
    """In a row over the axes, from their left, where it covers nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncol=8,
        frameon=False,
        borderaxespad=0.2,
        borderpad=0.4,
        handletextpad=0.6,
        columnspacing=1.8,
        fontsize=TEXT,
        labelcolor=INK,
    )


def png(figure: Figure) -> bytes:
    """A PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS, metadata={"Software": None})
    return buffer.getvalue()
