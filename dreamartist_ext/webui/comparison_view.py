"""A comparison as HTML: a row for each prompt, a column for each way or step. What came from a user is escaped."""

from __future__ import annotations

from html import escape

from ..evaluation.prompt_lists import filled
from .comparison import Comparison
from .jobs import Status
from .live_view import _picture, duration, message_html

WAITING = "Waiting for its turn: a picture or another job is using the model."


def comparison_html(comparison: Comparison | None) -> str:
    if comparison is None:
        return message_html("Nothing has been compared yet.")
    return f'<div data-status="{comparison.status.value}">{_facts(comparison)}{_grid(comparison)}</div>'


def _facts(comparison: Comparison) -> str:
    if comparison.status is Status.WAITING:
        return message_html(WAITING)
    if comparison.is_over:
        return message_html(comparison.message, "error" if comparison.status is Status.FAILED else "info")
    share = 100 * comparison.done / comparison.total
    left = f"{duration(comparison.seconds_left)} left" if comparison.done else "looking at the model ..."
    return (
        '<div class="dreamartist-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}"><div style="width:{share:.2f}%"></div></div>'
        f'<div class="dreamartist-facts">{left}</div>'
    )


def _grid(comparison: Comparison) -> str:
    heads = "".join(f"<th>{escape(column.label)}</th>" for column in comparison.columns)
    rows = []
    for row, line in enumerate(comparison.prompts):
        prompt = escape(filled(line, comparison.name))
        cells = "".join(_cell(comparison, row, number) for number in range(len(comparison.columns)))
        rows.append(f'<tr><td colspan="{len(comparison.columns)}">{prompt}</td></tr><tr>{cells}</tr>')
    return f'<div class="dreamartist-compared"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


def _cell(comparison: Comparison, row: int, number: int) -> str:
    pictures = comparison.cells.get((row, number), ())
    label = f"{comparison.prompts[row]}, {comparison.columns[number].label}"
    content = "".join(_picture(png, label) for png in pictures) or "<i></i>" * len(comparison.seeds)
    return f"<td><div>{content}</div></td>"


STYLE = """<style>
.dreamartist-compared { overflow-x: auto; margin-top: 8px } .dreamartist-compared table { border-collapse: collapse }
.dreamartist-compared th { text-align: left; font-weight: 600; padding: 2px 10px 4px 0; border: 0 }
.dreamartist-compared td { padding: 4px 10px 0 0; border: 0; font-size: 13px; vertical-align: top }
.dreamartist-compared div { display: flex; gap: 3px }
.dreamartist-compared img, .dreamartist-compared i { width: 96px; height: 96px; object-fit: contain; border-radius: 4px;
  margin: 0; flex: none; background: rgba(128, 128, 128, .15) }
</style>"""
