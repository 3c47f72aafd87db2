"""The report's pictures, as its template shows them side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class ShownPicture:
    """`source`: the picture itself, as a data URL."""

    source: str
    label: str


@dataclass(frozen=True)
class Cell:
    """Pictures of one way; `head` is its name, which a narrow page repeats."""

    head: str
    pictures: list[ShownPicture]


@dataclass(frozen=True)
class Row:
    """What every way makes of one prompt."""

    prompt: str
    cells: list[Cell]


@dataclass(frozen=True)
class PictureTable:
    """A row for each prompt, a column for each way."""

    rows: list[Row]


@dataclass(frozen=True)
class ConceptPictures:
    """`halves`: the names of the pair's files. `at_others`: guidance scales but the middle one. `edits`: a row each."""

    name: str
    halves: list[str]
    reference: ShownPicture
    plain_word: str
    subjects: PictureTable | None
    styles: PictureTable | None
    at_others: list[tuple[float, PictureTable]]
    edits: list[Row]


@dataclass(frozen=True)
class GroupPictures:
    """Several learned words in one picture; a table for each prompt."""

    name: str
    references: list[ShownPicture]
    tables: list[PictureTable]


def shown_picture(picture: Image.Image, label: str) -> ShownPicture:
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return ShownPicture(f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", label)


def concept_pictures(results: Results, concept: Concept) -> ConceptPictures:
    """The picture that was learned from, and what every way makes of every prompt."""
    mine = [shown for shown in results.shown if shown.drawing.concept == concept.name]
    middle = results.plan.guidance

    def drawn(section: str, guidance: float, seeds: int) -> PictureTable | None:
        there = [s for s in mine if s.drawing.section == section and s.drawing.guidance == guidance]
        return _table(there, concept, seeds) if there else None

    others = sorted({shown.drawing.guidance for shown in mine} - {middle})
    at_others = [(guidance, drawn("subjects", guidance, FEWER_SEEDS)) for guidance in others]
    return ConceptPictures(
        name=concept.name,
        halves=[concept.name, *([negative_name(concept.name)] if concept.pair.negative is not None else [])],
        reference=shown_picture(concept.reference, f"the picture that {concept.name} was learned from"),
        plain_word=concept.plain_word,
        subjects=drawn("subjects", middle, SEEDS),
        styles=drawn("styles", middle, SEEDS),
        at_others=[(guidance, table) for guidance, table in at_others if table],
        edits=_edits(mine, results.plan.strengths),
    )


def _table(drawn: Sequence[Shown], concept: Concept, seeds: int) -> PictureTable:
    def cell(shown: Shown, line: int) -> Cell:
        way, prompt = shown.drawing.way, shown.drawing.prompts()[line]
        pictures = enumerate(shown.pictures[line][:seeds], 1)
        labelled = [shown_picture(p, f"{prompt} ({way.value}, picture {number})") for number, p in pictures]
        return Cell(HEADS[way], labelled)

    lines = enumerate(drawn[0].drawing.lines)
    return PictureTable([Row(filled(line, concept.name), [cell(s, number) for s in drawn]) for number, line in lines])


def _edits(mine: Sequence[Shown], strengths: Sequence[float]) -> list[Row]:
    """For each edit what it began with, and what became of it at each strength."""
    edits = dict.fromkeys(shown.drawing.edit for shown in mine if shown.drawing.edit is not None)
    rows = []
    for edit in edits:
        drawn = [shown for shown in mine if shown.drawing.edit == edit]
        first = drawn[0]
        before = edit.start or "the learned picture"
        cells = [Cell("Before", [shown_picture(first.start, before)] if first.start else [])]
        of_first_way = [shown for shown in drawn if shown.drawing.way == first.drawing.way]
        cells += [_changed(s) for strength in strengths for s in of_first_way if s.drawing.strength == strength]
        rows.append(Row(f"{before} → {first.drawing.prompts()[0]}", cells))
    return rows


def _changed(shown: Shown) -> Cell:
    strength = f"{shown.drawing.strength:g}"
    label = f"{shown.drawing.prompts()[0]} at strength {strength}"
    return Cell(f"Strength {strength}", [shown_picture(p, label) for p in shown.pictures[0][:FEWER_SEEDS]])


def group_pictures(results: Results) -> list[GroupPictures]:
    """Two and three learned words in one picture."""
    drawn = [shown for shown in results.shown if shown.drawing.section == "composition"]
    groups = []
    for group in dict.fromkeys(shown.drawing.concept for shown in drawn):
        mine = [shown for shown in drawn if shown.drawing.concept == group]
        references = [shown_picture(word.reference, word.name) for word in mine[0].drawing.words]
        lines = dict.fromkeys(shown.drawing.lines[0] for shown in mine)
        tables = [_group_table([shown for shown in mine if shown.drawing.lines[0] == line]) for line in lines]
        groups.append(GroupPictures(group, references, tables))
    return groups


def _group_table(ways: Sequence[Shown]) -> PictureTable:
    """One prompt, in every way."""
    prompt = ways[0].drawing.prompts()[0]

    def cell(shown: Shown) -> Cell:
        way = shown.drawing.way
        return Cell(HEADS[way], [shown_picture(p, f"{prompt} ({way.value})") for p in shown.pictures[0][:SEEDS]])

    return PictureTable([Row(prompt, [cell(shown) for shown in ways])])
