"""A model with random weights, and pairs for it: the machinery of an evaluation without hours."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.stopping import Check
from dreamartist_ext.evaluation.evaluate import Evaluation
from dreamartist_ext.evaluation.eyes import Eyes
from dreamartist_ext.evaluation.plan import Concept, Plan
from dreamartist_ext.evaluation.prompt_lists import Edit, PromptLists
from dreamartist_ext.evaluation.studio import studio_of

from ..models import TEXT_WIDTH, tiny_host

SIDE = 64
LISTS = PromptLists(
    subjects=("a [name]", "[name] on a red background"),
    styles=("[name] as a sketch",),
    editing=(Edit("a cat", "a [name]"), Edit(None, "[name] on a blue background")),
    composition=("[name] and [name]",),
)


def a_pair(name: str, seed: int, with_negative: bool = True, **provenance: str) -> EmbeddingPair:
    generator = torch.Generator().manual_seed(seed)
    halves = [{"clip": torch.randn(count, TEXT_WIDTH, generator=generator)} for count in (2, 3)]
    return EmbeddingPair(name, halves[0], halves[1] if with_negative else None, 40, provenance)


def a_picture(colour: str) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    ImageDraw.Draw(picture).ellipse((12, 12, 50, 50), fill=colour)
    return picture


def a_concept(name: str, colour: str, with_negative: bool = True, **provenance: str) -> Concept:
    checks = tuple(Check(step, 1 / step, 0.3) for step in (10, 20, 40))
    pair = a_pair(name, len(name), with_negative, **provenance)
    return Concept(pair, a_picture(colour), "cat", checks)


def an_evaluation(folder: Path, concepts: list[Concept], eyes: Eyes, **options) -> Evaluation:
    plan = options.pop("plan", None) or Plan(LISTS, seeds=(1, 2), guidances=(2.0, 4.0), steps=2, strengths=(0.5,))
    studio = options.pop("studio", None) or studio_of(tiny_host(folder / "model"))
    return Evaluation(concepts, plan, eyes, studio, folder / "pictures", **options)
