"""A comparison as HTML: a row for each prompt, a column for each way or step. What came from a user is escaped."""

from __future__ import annotations

from html import escape

from ...evaluation.plan import Progress
from ...evaluation.prompt_lists import filled
from ..training.job import Status
from ..training.live_view import duration, message_html, picture_html
from ..training.slider import figure_html
from .comparison import Comparison
from .evaluation import Report

LEAST_SIDE = 56  # pixels of a picture, where there are many columns
WAITING = "Waiting for its turn: a picture or another job is using the model."


def comparison_html(comparison: Comparison | None) -> str:
    if comparison is None:
        return message_html("Nothing has been compared yet.")
    return f'<div data-status="{comparison.status.value}">{_progress(comparison, comparison)}{_grid(comparison)}</div>'


def report_html(report: Report | None) -> str:
    """How far a full report is."""
    if report is None:
        return ""
    return f'<div data-status="{report.status.value}">{_progress(report, report.progress)}</div>'


def _progress(job: Comparison | Report, steps: Comparison | Progress) -> str:
    if job.status is Status.WAITING:
        return message_html(WAITING)
    if job.is_over:
        kind = {Status.FAILED: "error", Status.DONE: "good"}.get(job.status, "info")
        return message_html(job.message, kind)
    share = 100 * steps.done / max(steps.total, 1)
    left = f"{duration(steps.seconds_left)} left" if steps.done else "looking at the model ..."
    return (
        '<div class="dreamartist-bar" role="progressbar" aria-label="drawing" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}"><div style="width:{share:.2f}%"></div></div>'
        f'<div class="dreamartist-facts">{left}</div>'
    )


def _grid(comparison: Comparison) -> str:
    count = len(comparison.columns)
    cells = [f"<b>{escape(column.label)}</b>" for column in comparison.columns]
    for row, line in enumerate(comparison.prompts):
        cells.append(f'<span class="dreamartist-prompt">{escape(filled(line, comparison.name))}</span>')
        cells += [_cell(comparison, row, number) for number in range(count)]
    columns = f"grid-template-columns:repeat({count}, minmax({_least_width(comparison)}px, 1fr))"
    return f'<div class="dreamartist-compared"><div style="{columns}">{"".join(cells)}</div></div>{_slider(comparison)}'


def _slider(comparison: Comparison) -> str:
    """Any two of the grid's pictures on top of each other, once all are drawn."""
    shown = [
        (_label(comparison, row, number, seed), png)
        for row in range(len(comparison.prompts))
        for number in range(len(comparison.columns))
        for seed, png in zip(comparison.seeds, comparison.cells.get((row, number), ()), strict=False)
    ]
    if not comparison.is_over or len(shown) < 2:
        return ""
    other = len(comparison.seeds) if len(comparison.columns) > 1 else 1  # the same seed in the next column
    return figure_html([label for label, _ in shown], (0, other), (shown[0], shown[other]))


def _label(comparison: Comparison, row: int, number: int, seed: int) -> str:
    return f"{filled(comparison.prompts[row], comparison.name)}, {comparison.columns[number].label}, seed {seed}"


def _least_width(comparison: Comparison) -> int:
    return LEAST_SIDE * len(comparison.seeds)


def _enlargeable(png: bytes, label: str) -> str:
    return f'<button type="button" data-dreamartist-large aria-label="enlarge">{picture_html(png, label)}</button>'


def _cell(comparison: Comparison, row: int, number: int) -> str:
    pictures = comparison.cells.get((row, number), ())
    shown = zip(comparison.seeds, pictures, strict=False)
    content = "".join(_enlargeable(png, _label(comparison, row, number, seed)) for seed, png in shown)
    content = content or "<i></i>" * len(comparison.seeds)
    return f'<div class="dreamartist-cell">{content}</div>'
