"""The report's figures: in plain words, and all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

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


def in_short_html(results: Results) -> str:
    """A line for each question, and what the negative does to the answer."""
    name = EVERYTHING if len(results.concepts) > 1 else results.concepts[0].name
    guidance = results.plan.guidance
    chosen = [f for f in results.figures if f.guidance == guidance and f.strength is None]
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
    if not rows:
        return ""
    heads = "".join(f"<th>{way.value.capitalize()}</th>" for way in Way)
    return (
        f"<section id=plain-words><h2>In plain words</h2><p>At guidance {guidance:g}, the mean of all prompts and seeds"
        f"{' and of all learned words' if name == EVERYTHING else ''}. Each number has an interval: what chance alone "
        "could make of it, 95 times in a hundred.</p>"
        f'<div class="scroll"><table class="short"><tr><th></th>{heads}<th>What the negative does</th></tr>'
        f"{''.join(rows)}</table></div></section>"
    )


def _short_row(figure: str, by_way: dict[str, Figure], ceiling: float | None) -> str:
    meaning = FIGURES[figure]
    about = meaning.question
    if figure == "style_control" and ceiling is not None:
        about += f" Of things that the model knows it is right for {ceiling:.0%}."
    cells = "".join(
        f'<td data-way="{way.value.capitalize()}">{_number(by_way[way]) if way in by_way else ""}</td>' for way in Way
    )
    return (
        f"<tr><th><b>{escape(meaning.label)}</b><br><span class=quiet>{escape(about)}</span></th>{cells}"
        f'<td data-way="The negative">{_verdict(by_way.get(DIFFERENCE), meaning.more_is_better)}</td></tr>'
    )


def _verdict(difference: Figure | None, more_is_better: bool | None) -> str:
    if difference is None:
        return ""
    if not difference.is_certain:
        return "no difference beyond chance"
    if abs(difference.mean) < NEXT_TO_NOTHING:
        return "next to nothing"
    helps = (difference.mean > 0) == more_is_better
    word, kind = ("helps", "good") if helps else ("costs", "bad")
    return f'<b class="{kind}">{word}</b> ({_signed(difference.mean)})'


def tables_html(results: Results) -> str:
    """A table for each section, the mean of all first."""
    parts = []
    for section, title in SECTIONS.items():
        mine = [figure for figure in results.figures if figure.section == section]
        if not mine:
            continue
        names = list(dict.fromkeys(figure.concept for figure in mine))
        names.sort(key=lambda name: name != EVERYTHING)
        tables = [_table(mine, name) for name in names]
        rest = "".join(f"<h4>{escape(name)}</h4>{table}" for name, table in zip(names[1:], tables[1:], strict=True))
        parts.append(f"<h3>{escape(title)}</h3>{tables[0]}")
        if rest:
            parts.append(f"<details><summary>One by one</summary>{rest}</details>")
    if "composition" in {figure.section for figure in results.figures}:
        among = ", ".join(results.candidates)
        parts.append(f"<p class=quiet>Recognised among {len(results.candidates)}: {escape(among)}.</p>")
    used = dict.fromkeys(figure.figure for figure in results.figures)
    meanings = "".join(f"<li><b>{escape(FIGURES[n].label)}</b>: {escape(FIGURES[n].question)}</li>" for n in used)
    body = "".join(parts)
    return f"<section id=figures><h2>Every figure</h2><ul class=quiet>{meanings}</ul>{body}</section>" if parts else ""


def _table(figures: Sequence[Figure], concept: str) -> str:
    mine = [figure for figure in figures if figure.concept == concept]
    names = [name for name in FIGURES if any(figure.figure == name for figure in mine)]
    rows: dict[tuple[float, float | None, str], dict[str, Figure]] = {}
    for figure in mine:
        rows.setdefault((figure.guidance, figure.strength, figure.way), {})[figure.figure] = figure
    has_strength = any(strength is not None for _, strength, _ in rows)
    heads = ["Guidance", *(["Strength"] if has_strength else []), "Drawn with", *(FIGURES[n].label for n in names)]
    body = []
    for (guidance, strength, way), found in sorted(rows.items(), key=_order):
        first = [f"{guidance:g}", *([f"{strength:g}"] if strength is not None else []), escape(way)]
        cells = "".join(f"<td>{text}</td>" for text in first)
        cells += "".join(f"<td>{_number(found[name], with_key=True) if name in found else ''}</td>" for name in names)
        kind = ' class="difference"' if way == DIFFERENCE else ""
        body.append(f"<tr{kind}>{cells}</tr>")
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(body)}</table></div>'


_WAYS = [*(way.value for way in Way), DIFFERENCE]


def _order(item: tuple[tuple[float, float | None, str], dict[str, Figure]]) -> tuple[float, float, int]:
    (guidance, strength, way), _ = item
    return guidance, strength or 0.0, _WAYS.index(way)


def _number(figure: Figure, with_key: bool = False) -> str:
    """The mean, and small beside it the interval; a program finds the exact figure in the attributes."""
    show = _signed if figure.way == DIFFERENCE else _plain
    key = f' data-figure="{escape(json.dumps(figure.key))}" data-low="{figure.low}" data-high="{figure.high}"'
    return (
        f'<data value="{figure.mean}"{key if with_key else ""}>{show(figure.mean)}</data> '
        f"<small>{show(figure.low)} to {show(figure.high)}</small>"
    )


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", MINUS)


def _signed(value: float) -> str:
    shown = f"{value:+.2f}"
    return "0.00" if shown[1:] == "0.00" else shown.replace("-", MINUS)
