"""The report: one page that needs no other file, and the same figures as JSON and CSV. Every text is escaped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..files.atomic import write_all_atomically
from ..files.pages import page
from .charts import Mark, curve_svg, plane_svg
from .evaluate import Results
from .figures import DIFFERENCE, EVERYTHING, FIGURES, Figure, Way, as_json, csv_text
from .report_pictures import concept_pictures, group_pictures
from .report_tables import all_sections, in_short

CONTROL = ("text_alignment", "colour_control", "style_control", "diversity")  # the first that was measured
LINKS = {
    "plain-words": "In plain words",
    "plane": "Likeness against control",
    "figures": "Every figure",
    "training": "How they were learned",
    "settings": "The exact settings",
}


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


@dataclass(frozen=True)
class Chart:
    """An SVG element and what stands below it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Plane:
    """Likeness against obedience, over the guidance scales; `control` names what was obeyed."""

    control: str
    charts: list[Chart]


def report_html(results: Results) -> str:
    """The whole page."""
    names = [concept.name for concept in results.concepts]
    title = f"How good is {names[0]}?" if len(names) == 1 else f"How good are {', '.join(names[:-1])} and {names[-1]}?"
    short, plane, sections, trainings = in_short(results), _plane(results), all_sections(results), _trainings(results)
    is_there = {"plain-words": short, "plane": plane, "figures": sections, "training": trainings, "settings": True}
    used = dict.fromkeys(figure.figure for figure in results.figures)
    has_groups = any(figure.section == "composition" for figure in results.figures)
    return page(
        "report/page.html.j2",
        title=title,
        plan=results.plan,
        model=results.model,
        has_many=len(names) > 1,
        links={key: label for key, label in LINKS.items() if is_there[key]},
        concepts=[concept_pictures(results, concept) for concept in results.concepts],
        groups=group_pictures(results),
        short=short,
        plane=plane,
        sections=sections,
        meanings=[FIGURES[name] for name in used],
        candidates=results.candidates if has_groups else (),
        trainings=trainings,
        recipes=_recipes(results),
        version=__version__,
        day=datetime.now(timezone.utc).strftime("%d %B %Y"),
        eyes=results.eyes,
    )


def _plane(results: Results) -> Plane | None:
    """None where nothing of what a prompt asks for was measured."""
    control = next((name for name in CONTROL if any(_subjects(results, name))), None)
    if control is None:
        return None
    everything = EVERYTHING if len(results.concepts) > 1 else results.concepts[0].name
    names = [everything, *(c.name for c in results.concepts if c.name != everything)]
    charts = []
    for number, name in enumerate(names):
        series = {way.value: _marks(results, name, way, control) for way in Way}
        series = {way: marks for way, marks in series.items() if marks}
        if series:
            svg = plane_svg(series, FIGURES["similarity"].label, FIGURES[control].label, f"plane{number}")
            charts.append(Chart(svg, "all of them" if name == EVERYTHING else name))
    return Plane(FIGURES[control].label, charts)


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


def _trainings(results: Results) -> list[Chart]:
    """Of the concepts whose check losses are known."""
    return [
        Chart(
            curve_svg(concept.checks, concept.pair.step, f"curve{number}"),
            f"{concept.name}, used as it was at step {concept.pair.step}",
        )
        for number, concept in enumerate(results.concepts)
        if concept.checks
    ]


def _recipes(results: Results) -> list[tuple[str, str]]:
    """How each pair was learned, and how the pictures were drawn."""
    recipes = []
    for concept in results.concepts:
        about = {"plain word": concept.plain_word, "step": concept.pair.step, **concept.pair.provenance}
        recipes.append((concept.name, "\n".join(f"{key}: {_pretty(str(value))}" for key, value in about.items())))
    return [*recipes, ("The drawings", json.dumps(results.plan.described(), indent=1))]


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1) if text.startswith("{") else text
    except ValueError:
        return text
