"""The report's figures, as its template shows them: in plain words, and all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .evaluate import Results
from .figures import DIFFERENCE, EVERYTHING, FIGURES, Figure, Way

SECTIONS = {
    "subjects": "What was asked for",
    "styles": "In other styles",
    "editing": "Changing a picture: another thing put in",
    "surroundings": "Changing a picture: the thing put elsewhere",
    "composition": "Several in one picture",
}
MINUS = "−"
NEXT_TO_NOTHING = 0.005  # of a difference that is there, but shows as 0.00
WAYS = [*(way.value for way in Way), DIFFERENCE]


@dataclass(frozen=True)
class Number:
    """A figure and how its mean and interval are written; `key` finds it in figures.json."""

    figure: Figure
    key: str
    mean: str
    low: str
    high: str


@dataclass(frozen=True)
class Verdict:
    """What the negative does; `kind` is "good", "bad" or nothing, `by` how much."""

    words: str = ""
    kind: str = ""
    by: str = ""


@dataclass(frozen=True)
class ShortRow:
    """The answer to one question: by way, None where it was not measured."""

    label: str
    question: str
    numbers: dict[str, Number | None]
    verdict: Verdict


@dataclass(frozen=True)
class Short:
    """The figures in plain words."""

    heads: list[str]
    rows: list[ShortRow]


@dataclass(frozen=True)
class TableRow:
    """`texts`: where and how was drawn."""

    texts: list[str]
    numbers: list[Number | None]
    is_difference: bool


@dataclass(frozen=True)
class FigureTable:
    """Of one concept, or of everything."""

    name: str
    heads: list[str]
    rows: list[TableRow]


@dataclass(frozen=True)
class Section:
    """The mean of all first."""

    title: str
    tables: list[FigureTable]


def in_short(results: Results) -> Short | None:
    """A line for each question; None where nothing was measured."""
    name = EVERYTHING if len(results.concepts) > 1 else results.concepts[0].name
    chosen = [f for f in results.figures if f.guidance == results.plan.guidance and f.strength is None]
    rows = []
    for section in ("subjects", "styles", "composition"):
        there = [f for f in chosen if f.section == section and (f.concept == name or section == "composition")]
        if section == "composition" and len({f.concept for f in there}) > 1:
            there = [f for f in there if f.concept == EVERYTHING]
        for figure in FIGURES:
            by_way = {f.way: f for f in there if f.figure == figure}
            is_repeated = section == "styles" and figure not in ("style_control", "text_alignment")
            if by_way and not is_repeated:
                rows.append(_short_row(figure, by_way, results.style_ceiling))
    return Short([_head(way) for way in Way], rows) if rows else None


def _head(way: Way) -> str:
    return way.value.capitalize()


def _short_row(figure: str, by_way: dict[str, Figure], ceiling: float | None) -> ShortRow:
    meaning = FIGURES[figure]
    question = meaning.question
    if figure == "style_control" and ceiling is not None:
        question += f" Of things that the model knows it is right for {ceiling:.0%}."
    numbers = {_head(way): _number(by_way.get(way)) for way in Way}
    return ShortRow(meaning.label, question, numbers, _verdict(by_way.get(DIFFERENCE), meaning.more_is_better))


def _verdict(difference: Figure | None, more_is_better: bool | None) -> Verdict:
    if difference is None:
        return Verdict()
    if not difference.is_certain:
        return Verdict("no difference beyond chance")
    if abs(difference.mean) < NEXT_TO_NOTHING:
        return Verdict("next to nothing")
    helps = (difference.mean > 0) == more_is_better
    word, kind = ("helps", "good") if helps else ("costs", "bad")
    return Verdict(word, kind, _signed(difference.mean))


def all_sections(results: Results) -> list[Section]:
    """Those in which something was measured."""
    sections = []
    for section, title in SECTIONS.items():
        mine = [figure for figure in results.figures if figure.section == section]
        names = list(dict.fromkeys(figure.concept for figure in mine))
        names.sort(key=lambda name: name != EVERYTHING)
        if mine:
            sections.append(Section(title, [_table(mine, name) for name in names]))
    return sections


def _table(figures: Sequence[Figure], concept: str) -> FigureTable:
    mine = [figure for figure in figures if figure.concept == concept]
    names = [name for name in FIGURES if any(figure.figure == name for figure in mine)]
    rows: dict[tuple[float, float | None, str], dict[str, Figure]] = {}
    for figure in mine:
        rows.setdefault((figure.guidance, figure.strength, figure.way), {})[figure.figure] = figure
    has_strength = any(strength is not None for _, strength, _ in rows)
    heads = ["Guidance", *(["Strength"] if has_strength else []), "Drawn with", *(FIGURES[n].label for n in names)]
    lines = []
    for (guidance, strength, way), found in sorted(rows.items(), key=_order):
        texts = [f"{guidance:g}", *([f"{strength:g}"] if strength is not None else []), way]
        lines.append(TableRow(texts, [_number(found.get(name)) for name in names], way == DIFFERENCE))
    return FigureTable(concept, heads, lines)


def _order(item: tuple[tuple[float, float | None, str], dict[str, Figure]]) -> tuple[float, float, int]:
    (guidance, strength, way), _ = item
    return guidance, strength or 0.0, WAYS.index(way)


def _number(figure: Figure | None) -> Number | None:
    if figure is None:
        return None
    show = _signed if figure.way == DIFFERENCE else _plain
    return Number(figure, json.dumps(figure.key), show(figure.mean), show(figure.low), show(figure.high))


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", MINUS)


def _signed(value: float) -> str:
    shown = f"{value:+.2f}"
    return "0.00" if shown[1:] == "0.00" else shown.replace("-", MINUS)
