"""The report's pictures, side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from ..engine.names import negative_name
from .evaluate import Results, Shown
from .figures import Way
from .plan import Concept
from .prompt_lists import filled

SIDE = 192  # pixels at most: the whole page travels as one file
SEEDS, FEWER_SEEDS = 4, 2  # shown of each prompt
QUALITY = 88
HEADS = {
    Way.PAIR: "The pair",
    Way.POSITIVE_ONLY: "The positive only",
    Way.PLAIN: "A plain word",
}


def picture_tag(picture: Image.Image, label: str) -> str:
    """An img element that holds the picture itself."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    code = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{code}" alt="{escape(label)}" title="{escape(label)}" loading="lazy">'


def concept_html(results: Results, concept: Concept) -> str:
    """The picture that was learned from, and what every way makes of every prompt."""
    mine = [shown for shown in results.shown if shown.drawing.concept == concept.name]
    reference = picture_tag(concept.reference, f"the picture that {concept.name} was learned from")
    halves = [concept.name, *([negative_name(concept.name)] if concept.pair.negative is not None else [])]
    words = " and ".join(f"<b>{escape(half)}</b>" for half in halves)
    verb = "were" if len(halves) > 1 else "was"
    parts = [
        f'<section><h2>{escape(concept.name)}</h2><div class="learned">{reference}<p>The picture that {words} {verb} '
        f"learned from. The plain word is “{escape(concept.plain_word)}”.</p></div>"
    ]
    guidance = results.plan.guidance
    for section, title in (("subjects", ""), ("styles", "In other styles")):
        at_middle = [s for s in mine if s.drawing.section == section and s.drawing.guidance == guidance]
        if at_middle:
            parts.append((f"<h3>{title}</h3>" if title else "") + ways_html(at_middle, concept, SEEDS))
    for other in sorted({s.drawing.guidance for s in mine} - {guidance}):
        there = [s for s in mine if s.drawing.section == "subjects" and s.drawing.guidance == other]
        table = ways_html(there, concept, FEWER_SEEDS)
        parts.append(f"<details><summary>The same at guidance (CFG) {other:g}</summary>{table}</details>")
    parts.append(_edits_html(mine, results.plan.strengths))
    return "".join(parts) + "</section>"


def ways_html(drawn: Sequence[Shown], concept: Concept, seeds: int) -> str:
    """A row for each prompt, a column for each way."""
    heads = "".join(f"<div class=head>{HEADS[shown.drawing.way]}</div>" for shown in drawn)
    rows = [f'<div class="row heads">{heads}</div>']
    for number, line in enumerate(drawn[0].drawing.lines):
        rows.append(f"<div class=prompt>{escape(filled(line, concept.name))}</div>")
        cells = []
        for shown in drawn:
            way, prompt = shown.drawing.way, shown.drawing.prompts()[number]
            pictures = [
                picture_tag(p, f"{prompt} ({way.value}, picture {i + 1})")
                for i, p in enumerate(shown.pictures[number][:seeds])
            ]
            cells.append(f'<div class="cell" data-way="{HEADS[way]}">{"".join(pictures)}</div>')
        rows.append(f"<div class=row>{''.join(cells)}</div>")
    return f'<div class="ways ways{len(drawn)}">{"".join(rows)}</div>'


def _edits_html(mine: Sequence[Shown], strengths: Sequence[float]) -> str:
    edits = list(dict.fromkeys(shown.drawing.edit for shown in mine if shown.drawing.edit is not None))
    if not edits:
        return ""
    parts = [
        "<h3>Changing a picture</h3><p>img2img from the picture at the left; the more denoising strength, the more is "
        "drawn anew.</p>"
    ]
    for edit in edits:
        drawn = [shown for shown in mine if shown.drawing.edit == edit]
        first = drawn[0]
        start = picture_tag(first.start, edit.start or "the learned picture") if first.start else ""
        cells = [f"<div class=cell data-way='Before'>{start}</div>"]
        for strength in strengths:
            for shown in drawn:
                if shown.drawing.strength == strength and shown.drawing.way == first.drawing.way:
                    label = f"{shown.drawing.prompts()[0]} at strength {strength:g}"
                    pictures = "".join(picture_tag(p, label) for p in shown.pictures[0][:FEWER_SEEDS])
                    cells.append(f'<div class=cell data-way="Strength {strength:g}">{pictures}</div>')
        became = f"{edit.start or 'the learned picture'} → {first.drawing.prompts()[0]}"
        parts.append(f"<div class=prompt>{escape(became)}</div><div class=edit>{''.join(cells)}</div>")
    return "".join(parts)


def groups_html(results: Results) -> str:
    """Two and three learned words in one picture."""
    drawn = [shown for shown in results.shown if shown.drawing.section == "composition"]
    if not drawn:
        return ""
    parts = [
        "<section><h2>Several in one picture</h2><p>Two or three learned words in one prompt, with all their negatives "
        "in the negative prompt.</p>"
    ]
    for group in dict.fromkeys(shown.drawing.concept for shown in drawn):
        mine = [shown for shown in drawn if shown.drawing.concept == group]
        references = "".join(picture_tag(word.reference, word.name) for word in mine[0].drawing.words)
        parts.append(f'<h3>{escape(group)}</h3><div class="learned small">{references}</div>')
        lines = dict.fromkeys(shown.drawing.lines[0] for shown in mine)
        parts += [_group_html([shown for shown in mine if shown.drawing.lines[0] == line]) for line in lines]
    return "".join(parts) + "</section>"


def _group_html(ways: Sequence[Shown]) -> str:
    """One prompt, in every way."""
    prompt = ways[0].drawing.prompts()[0]
    heads, cells = [], []
    for shown in ways:
        way = shown.drawing.way
        pictures = "".join(picture_tag(p, f"{prompt} ({way.value})") for p in shown.pictures[0][:SEEDS])
        heads.append(f"<div class=head>{HEADS[way]}</div>")
        cells.append(f'<div class="cell" data-way="{HEADS[way]}">{pictures}</div>')
    return (
        f'<div class="ways ways2"><div class="row heads">{"".join(heads)}</div><div class=prompt>{escape(prompt)}</div>'
        f"<div class=row>{''.join(cells)}</div></div>"
    )
