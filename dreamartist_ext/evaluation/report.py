"""The report: one page that needs no other file, and the same figures as JSON and CSV. Every text is escaped."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any

from .. import __version__
from ..files.atomic import write_all_atomically
from .charts import Mark, curve_svg, legend_html, plane_svg
from .evaluate import Results
from .figures import DIFFERENCE, EVERYTHING, FIGURES, Figure, Way, as_json, csv_text
from .report_pictures import concept_html, groups_html
from .report_tables import in_short_html, tables_html

STYLE = (Path(__file__).parents[1] / "assets" / "report.css").read_text(encoding="utf-8")
CONTROL = ("text_alignment", "colour_control", "style_control", "diversity")  # the first that was measured


def write_report(results: Results, out: Path) -> list[Path]:
    """report.html, figures.json and figures.csv in `out`, all or none; raises FileError."""
    contents = {
        out / "report.html": report_html(results).encode(),
        out / "figures.json": json.dumps(as_data(results), indent=1, allow_nan=False).encode(),
        out / "figures.csv": csv_text(results.figures).encode(),
    }
    write_all_atomically(contents)
    return list(contents)


def as_data(results: Results) -> dict[str, Any]:
    """Everything but the pictures."""
    return {
        "version": __version__,
        "model": results.model,
        "looked_at_with": results.eyes,
        "style_ceiling": results.style_ceiling,
        "recognised_among": list(results.candidates),
        "plan": results.plan.described(),
        "concepts": [
            {
                "name": concept.name,
                "plain_word": concept.plain_word,
                "step": concept.pair.step,
                "has_negative": concept.pair.negative is not None,
                "provenance": dict(concept.pair.provenance),
                "check_losses": [{"step": c.step, "loss": c.loss, "baseline": c.baseline} for c in concept.checks],
            }
            for concept in results.concepts
        ],
        "figures": as_json(results.figures),
        "pictures": as_json(results.observations),
    }


def report_html(results: Results) -> str:
    names = [concept.name for concept in results.concepts]
    title = f"How good is {names[0]}?" if len(names) == 1 else f"How good are {', '.join(names[:-1])} and {names[-1]}?"
    sections = [
        *(concept_html(results, concept) for concept in results.concepts),
        groups_html(results),
        in_short_html(results),
        _plane_html(results),
        tables_html(results),
        _curves_html(results),
        _recipe_html(results),
    ]
    sections = [_introduction(results), _links("".join(sections)), *sections]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1>\n" + "\n".join(filter(None, sections)) + "\n</body></html>\n"
    )


LINKS = {
    "plain-words": "In plain words",
    "plane": "Likeness against control",
    "figures": "Every figure",
    "training": "How they were learned",
    "settings": "The exact settings",
}


def _links(page: str) -> str:
    """To the sections below the pictures, those that there are."""
    there = [f'<a href="#{key}">{label}</a>' for key, label in LINKS.items() if re.search(f'<section id="?{key}', page)]
    return f"<nav>Below the pictures: {' · '.join(there)}</nav>"


def _introduction(results: Results) -> str:
    plan = results.plan
    many = len(plan.seeds) > 1
    return (
        "<p>Every prompt was drawn three times with the same random seed"
        f"{'s' if many else ''}: with <b>the pair</b>, as it works in a prompt (the word, and its negative in the "
        "negative prompt); with <b>the positive only</b>; and with <b>a plain word</b> in place of the learned one. "
        "Whatever differs in a row is what the learned word does. Ask two things of the pictures: is it the thing "
        "that was learned, and does the rest of the prompt still come true?</p>"
        f"<p class=quiet>Model: {escape(results.model)}. {plan.steps} steps; pictures are shown at guidance (CFG) "
        f"{plan.guidance:g}.</p>"
    )


def _plane_html(results: Results) -> str:
    """Likeness against obedience, over the guidance scales."""
    control = next((name for name in CONTROL if any(_subjects(results, name))), None)
    if control is None:
        return ""
    everything = EVERYTHING if len(results.concepts) > 1 else results.concepts[0].name
    names = [everything, *(c.name for c in results.concepts if c.name != everything)]
    charts = []
    for name in names:
        series = {way.value: _marks(results, name, way, control) for way in Way}
        series = {way: marks for way, marks in series.items() if marks}
        if series:
            caption = "all of them" if name == EVERYTHING else name
            svg = plane_svg(series, FIGURES["similarity"].label, FIGURES[control].label)
            charts.append(f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>")
    legend = legend_html([way.value for way in Way])
    first = f"<div class=charts>{charts[0]}</div>" if charts else ""
    more = f"<details><summary>One by one</summary><div class=charts>{''.join(charts[1:])}</div></details>"
    return (
        f"<section id=plane><h2>Likeness against {escape(FIGURES[control].label.lower())}</h2>"
        "<p>Up and to the right is better. Each mark is a guidance (CFG) scale, written beside it; more guidance often "
        "buys one at the price of the other. The thin lines are how far chance reaches: 95 % intervals over "
        f"{'concepts and pictures' if len(results.concepts) > 1 else 'pictures'}.</p>{legend}{first}"
        + (more if len(charts) > 1 else "")
        + "</section>"
    )


def _subjects(results: Results, name: str) -> list[Figure]:
    return [f for f in results.figures if f.section == "subjects" and f.figure == name and f.way != DIFFERENCE]


def _marks(results: Results, concept: str, way: Way, control: str) -> list[Mark]:
    def by_guidance(name: str) -> dict[float, Figure]:
        mine = (f for f in _subjects(results, name) if f.concept == concept and f.way == way)
        return {figure.guidance: figure for figure in mine}

    across, up = by_guidance("similarity"), by_guidance(control)
    return [
        Mark(
            *(across[guidance].mean, up[guidance].mean),
            (across[guidance].low, across[guidance].high),
            (up[guidance].low, up[guidance].high),
            f"{guidance:g}",
        )
        for guidance in sorted(across.keys() & up.keys())
    ]


def _curves_html(results: Results) -> str:
    figures = [
        f"<figure>{curve_svg(concept.checks, concept.pair.step)}<figcaption>{escape(concept.name)}, used as it was at "
        f"step {concept.pair.step}</figcaption></figure>"
        for concept in results.concepts
        if concept.checks
    ]
    if not figures:
        return ""
    return (
        "<section id=training><h2>How they were learned</h2><p>The check loss is the error on always the same noises: "
        "lower is better. Dashed is what the model does without the word.</p>"
        f"<div class=charts>{''.join(figures)}</div></section>"
    )


def _recipe_html(results: Results) -> str:
    parts = []
    for concept in results.concepts:
        about = {"plain word": concept.plain_word, "step": concept.pair.step, **concept.pair.provenance}
        lines = "\n".join(f"{key}: {_pretty(str(value))}" for key, value in about.items())
        parts.append(f"<h3>{escape(concept.name)}</h3><pre>{escape(lines)}</pre>")
    drawn = json.dumps(results.plan.described(), indent=1)
    when = datetime.now(timezone.utc).strftime("%d %B %Y")
    parts.append(f"<h3>The drawings</h3><pre>{escape(drawn)}</pre>")
    return (
        "<section id=settings><h2>How it was made</h2>"
        "<details><summary>The exact settings of every training and drawing</summary>"
        f"{''.join(parts)}</details><p class=quiet>DreamArtist {escape(__version__)}, {when}. Likeness is seen by "
        f"{escape(results.eyes)}. The same figures, and those of every picture, are in <code>figures.json</code> and "
        "<code>figures.csv</code> beside this page.</p></section>"
    )


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1) if text.startswith("{") else text
    except ValueError:
        return text
