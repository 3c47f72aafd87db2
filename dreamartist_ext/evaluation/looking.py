"""What is measured of the pictures of one drawing: a dictionary of values for each picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ..files.picture_files import to_pixels
from . import measures
from .backgrounds import asked_background, nearest_background
from .drawing_styles import STYLES, StyleJudge, asked_style, grouped, right_styles
from .eyes import Eyes, Look, middle, rim
from .plan import Drawing, Plan
from .prompt_lists import filled

Values = list[dict[str, float]]  # by picture: a line's seeds, then the next line's


def of_prompts(
    drawing: Drawing, plan: Plan, pictures: Sequence[Image.Image], reference: Look, eyes: Eyes, judge: StyleJudge | None
) -> Values:
    """Of "subjects" and "styles"."""
    look = eyes(pictures)
    found = {
        "similarity": measures.similarity(look.content, reference.content[0]),
        "style_distance": measures.style_distance(look.maps, reference.maps),
    }
    values = _by_picture(found, len(pictures))
    if len(plan.seeds) > 1:
        by_line = look.content.split(len(plan.seeds))
        _add(values, "diversity", torch.cat([measures.distance_to_others(line) for line in by_line]).tolist())
    _add_obedience(values, drawing, plan, pictures, look, eyes)
    if judge is not None and drawing.section == "styles":
        _add_styles(values, drawing, plan, look, judge)
    return values


def of_edits(
    drawing: Drawing, plan: Plan, pictures: Sequence[Image.Image], start: Image.Image, reference: Look, eyes: Eyes
) -> Values:
    """Where the thing is exchanged the rim should stay, and the rest become the thing; where the picture that was
    learned from gets other surroundings, its middle should stay."""
    look, before = eyes(pictures), eyes([start])
    assert drawing.edit is not None
    keeps_thing = drawing.edit.start is None
    found = {"kept": measures.kept(look.maps, before.maps, middle if keeps_thing else rim)}
    if not keeps_thing:
        already = measures.similarity(before.content, reference.content[0])
        found["became"] = measures.similarity(look.content, reference.content[0]) - already
    values = _by_picture(found, len(pictures))
    if keeps_thing:
        _add_obedience(values, drawing, plan, pictures, look, eyes)
    return values


def of_compositions(
    drawing: Drawing, pictures: Sequence[Image.Image], candidates: Tensor, names: Sequence[str], eyes: Eyes
) -> Values:
    """candidates (M, D): the content of the pictures among which things are recognised; nothing can be said when there
    are no more of them than things were asked for."""
    asked = [names.index(word.name) for word in drawing.words]
    if len(candidates) <= len(asked):
        return [{} for _ in pictures]
    shares = [measures.recognised(eyes.parts(picture), candidates, asked) for picture in pictures]
    return [{"found": share, "all_found": float(share == 1)} for share in shares]


def _by_picture(found: dict[str, Tensor], count: int) -> Values:
    return [{name: float(tensor[i]) for name, tensor in found.items()} for i in range(count)]


def _add(values: Values, name: str, numbers: Sequence[float | None]) -> None:
    for each, number in zip(values, numbers, strict=True):
        if number is not None:
            each[name] = number


def _add_obedience(
    values: Values, drawing: Drawing, plan: Plan, pictures: Sequence[Image.Image], look: Look, eyes: Eyes
) -> None:
    """Whether a background has its colour, and with CLIP how well picture and prompt agree, the word's place taken by
    a plain one."""
    lines = [line for line in drawing.lines for _ in plan.seeds]
    asked = [asked_background(line) for line in lines]
    seen = [colour and nearest_background(to_pixels(picture)) for colour, picture in zip(asked, pictures, strict=True)]
    _add(values, "colour_control", [None if a is None else float(a == b) for a, b in zip(asked, seen, strict=True)])
    texts = eyes.texts([filled(line, *(word.plain_word for word in drawing.words)) for line in lines])
    if texts is not None:
        _add(values, "text_alignment", measures.text_alignment(look.content, texts).tolist())


def can_judge(lines: Sequence[str]) -> bool:
    """The judge compares a thing in all styles: each must be asked for once."""
    return sorted(str(asked_style(line)) for line in lines) == sorted(STYLES)


def _add_styles(values: Values, drawing: Drawing, plan: Plan, look: Look, judge: StyleJudge) -> None:
    order = sorted(range(len(STYLES)), key=lambda line: STYLES.index(str(asked_style(drawing.lines[line]))))
    rows = [line * len(plan.seeds) + seed for line in order for seed in range(len(plan.seeds))]
    right = right_styles(judge, grouped(look.statistics[rows]))
    by_row = dict(zip(rows, right, strict=True))
    _add(values, "style_control", [float(by_row[row]) for row in range(len(values))])
