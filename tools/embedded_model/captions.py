"""Captions in which a code stands for a drawing, and how a model reads them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from . import drawings, scenes

VECTORS = 6  # of a code
CODE = "@"


@dataclass(frozen=True)
class Line:
    """A caption and, for each CODE in it, what it stands for, by number."""

    text: str
    coded: tuple[int, ...] = ()


def code_caption(view: int, style: str, background: str, dice: random.Random) -> Line:
    """Few leave the background out: what no word says, nobody can learn to draw."""
    forms = (
        (0.45, f"an emoji of a {CODE} on a {background} background"),
        (0.15, f"a {style} emoji of a {CODE} on a {background} background"),
        (0.17, f"a {CODE} on a {background} background"),
        (0.10, f"{CODE}, {background} background"),
        (0.07, f"a drawing of a {CODE} on a {background} background"),
        (0.03, f"an emoji of a {CODE}"),
        (0.03, f"a {CODE}"),
    )
    text = dice.choices([form for _, form in forms], [share for share, _ in forms])[0]
    return Line(text, (view,))


def scene_line(
    scene: scenes.Scene, labels: Sequence[drawings.Label], coded: Sequence[bool], dice: random.Random
) -> Line:
    """labels: of all drawings. coded: which of the scene's two things is a code, and not its name. A name says its
    style in half of the captions."""
    things = scene.things if scene.relation else scene.things[:1]
    names, codes = [], []
    for thing, is_code in zip(things, coded, strict=False):
        concept, style = labels[thing.drawing]
        if is_code:
            names.append(CODE)
            codes.append(thing.drawing)
        else:
            names.append(f"{style} {concept}".replace("-", " ") if dice.random() < 0.5 else concept.replace("-", " "))
    return Line(scenes.described(scene, names, dice), tuple(codes))


@dataclass(frozen=True)
class Said:
    """Captions as a model reads them: `ids` (B, tokens); for each token, which of the captions' codes stands there,
    counted through all of them, or -1, `codes` (B, tokens); which of its vectors, `which` (B, tokens); and what the
    codes stand for, by number, `drawn` (number of codes,)."""

    ids: Tensor
    codes: Tensor
    which: Tensor
    drawn: Tensor

    def to(self, device: torch.device) -> Said:
        return Said(*(part.to(device, non_blocking=True) for part in (self.ids, self.codes, self.which, self.drawn)))


class Captions:
    """Token ids of lines, with places for codes."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self.tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}

    def __call__(self, lines: Sequence[Line], tokens: int | None) -> Said:
        """As many tokens as the longest line needs where they are not given."""
        if tokens is None:
            tokens = 2 + max(
                sum(len(self._of(part)) for part in line.text.split(CODE)) + VECTORS * len(line.coded) for line in lines
            )
        ids = torch.full((len(lines), tokens), self.tokenizer.eos_token_id)
        codes = torch.full((len(lines), tokens), -1)
        which = torch.zeros(len(lines), tokens, dtype=torch.long)
        count = 0
        for row, line in enumerate(lines):
            first, *rest = line.text.split(CODE)
            whole = [self.tokenizer.bos_token_id, *self._of(first)]
            for part in rest:
                stands = slice(len(whole), min(len(whole) + VECTORS, tokens - 1))
                codes[row, stands] = count
                which[row, stands] = torch.arange(max(0, stands.stop - stands.start))
                whole += [0] * VECTORS + self._of(part)
                count += 1
            ids[row, : min(len(whole), tokens - 1)] = torch.tensor(whole[: tokens - 1])
        drawn = torch.tensor([drawing for line in lines for drawing in line.coded], dtype=torch.long)
        return Said(ids, codes, which, drawn)

    def _of(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self._ids[text]
