"""The curve of a training as a table and as a picture: check loss, the empty prompt's, and the steps' mean loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..engine.stopping import Check, best_of
from .charts import axes_in, blank, legend_above, name_axes, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 900, 450  # pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 50, 30, 50  # margins
_PAIR, _BASELINE, _TRAINING, _BEST = "#2f9e6e", "#6e6e6e", "#96b4d7", "#e08a1e"
_FEW = 60  # checks, each of which gets a dot


def curve_csv(checks: Sequence[Check]) -> bytes:
    """A row per check; the mean loss of the steps since the check before is empty where it is not known."""
    rows = ["step,check_loss,empty_prompt_loss,mean_training_loss"]
    for check in checks:
        mean = "" if check.training_loss is None else f"{check.training_loss:.6g}"
        rows.append(f"{check.step},{check.loss:.6g},{check.baseline:.6g},{mean}")
    return ("\n".join(rows) + "\n").encode()


def curve_png(checks: Sequence[Check], steps: int) -> bytes:
    """A PNG file of WIDTH x HEIGHT pixels; the best check is marked."""
    figure = blank(WIDTH, HEIGHT)
    axes = axes_in(figure, _LEFT, _TOP, WIDTH - _RIGHT, HEIGHT - _BOTTOM)
    places = [check.step for check in checks]
    losses, means = [_drawn(check.loss) for check in checks], [_drawn(check.training_loss) for check in checks]
    baseline = _drawn(checks[-1].baseline if checks else None)
    dot = "o" if len(checks) <= _FEW else ""
    pair: dict[str, Any] = {"color": _PAIR, "linewidth": 3, "marker": dot, "markersize": 6, "zorder": 3}
    mean: dict[str, Any] = {"color": _TRAINING, "linewidth": 2, "marker": dot, "markersize": 4}
    axes.plot(places, losses, label="check loss of the pair", clip_on=False, **pair)
    axes.plot([0, steps], [baseline] * 2, "--", label="of the empty prompt", color=_BASELINE, linewidth=2)
    axes.plot(places, means, label="mean of the steps", clip_on=False, **mean)
    best = best_of(checks)
    if best is not None:
        where, words = (places[best], losses[best]), f"best: step {places[best]} ({losses[best]:.4f})"
        axes.plot(*where, "o", color=_BEST, markersize=12, zorder=4, label=words, clip_on=False)
    _frame(axes, steps, [value for value in (*losses, *means, baseline) if math.isfinite(value)])
    return png(figure)


def _frame(axes: Axes, steps: int, values: Sequence[float]) -> None:
    """Room for all the values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = max(0.08 * (high - low), 1e-4)
    axes.set_xlim(0, steps)
    axes.set_ylim(low - room, high + room)
    name_axes(axes, "steps")
    legend_above(axes)


def _drawn(loss: float | None) -> float:
    """What cannot be drawn is not a number: it leaves a gap."""
    return loss if loss is not None and math.isfinite(loss) else math.nan
