"""What a run writes into docs/evidence/speed.md: a table of figures and a picture, with the run they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from dreamartist_ext.files.storage import write_atomically

from .plot import draw
from .results import Answer, Figure

UNITS = {"x": "", "": "", "bytes": " B", "MiB": " MiB", "s": " s"}
NOTHING = 1e-9
MOST_SAID = 160  # characters of a reason; all of it is in the run's file


def write_page(answers: Sequence[Answer], size: str, page: Path) -> None:
    """Put the answers of one size between their marks in the page, and the picture beside it.

    Raises ValueError when the page has no such marks.
    """
    picture = page.with_name(f"{page.stem}-{size}.png")
    figures, curves = ([x for a in answers for x in getattr(a, kind)] for kind in ("figures", "curves"))
    draw(figures, curves, picture)
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {size} -->", f"<!-- end of {size} -->"
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"{page} has no place for {size}: {begin} and {end}.")
    write_atomically(page, "".join([head, begin, "\n", table(answers, size, picture.name), end, tail]).encode())


def table(answers: Sequence[Answer], size: str, picture: str) -> str:
    command = f"python -m benchmarks --size {size} --as-kept --page docs/evidence/speed.md"
    made = [f"<!-- made by: {command} -->", f"![The same, and the curves]({picture})", ""]
    return "\n".join([*rows_of(answers, made), ""])


def rows_of(answers: Sequence[Answer], below: Sequence[str] = ()) -> list[str]:
    """The lines of a table of all figures, then `below`, then what was not measured, and the runs."""
    lines = ["| what | against | measured | middle half of the rounds | goal | |", "|---|---|---|---|---|---|"]
    lines += [row(figure) for answer in answers for figure in answer.figures]
    left_out = [(answer.question, shorten(reason, MOST_SAID)) for answer in answers for reason in answer.left_out]
    missing = [f"- Not measured ({question}): {reason}" for question, reason in left_out]
    return [*lines, "", *below, *missing, *(f"- {where}" for where in runs(answers))]


def row(figure: Figure) -> str:
    spread, unit = figure.spread, UNITS[figure.unit]
    aim = "" if figure.aim is None else f"{'at least' if figure.at_least else 'at most'} {number(figure.aim)}{unit}"
    met = {None: "", True: "met", False: "**missed**"}[figure.is_met]
    rounds = f"{number(spread.low)} to {number(spread.high)} ({spread.rounds})" if spread.rounds > 1 else ""
    what = figure.what + (f" ({figure.note})" if figure.note else "")
    return f"| {what} | {figure.against} | {number(spread.median)}{unit} | {rounds} | {aim} | {met} |"


def number(value: float) -> str:
    """Three digits, more where a whole number has them; what subtracting left of nothing is 0."""
    if abs(value) < NOTHING:
        return "0"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def runs(answers: Sequence[Answer]) -> list[str]:
    """A sentence for each run, with the questions that it answered."""
    by_run: dict[str, list[Answer]] = {}
    for answer in answers:
        by_run.setdefault(answer.run, []).append(answer)
    return [sentence(run, members) for run, members in by_run.items()]


def sentence(run: str, answers: Sequence[Answer]) -> str:
    where = answers[0].machine
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    took = sum(answer.seconds for answer in answers) / 60
    threads = f"{where['threads']} thread{'s' * (where['threads'] > 1)}"
    return (
        f"Run `{run}` ({', '.join(answer.question for answer in answers)}): {where['model']}, {where['side']} pixels, "
        f"{where['precision']}, {where['device']} ({where['processor']}, {where['cores']} cores, "
        f"{threads}), load {where['load']} when it began; Python {where['python']}, {versions}; {took:.1f} minutes."
    )
