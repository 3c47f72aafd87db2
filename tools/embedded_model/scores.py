"""How often pictures are what was asked for: requests, likeness to known drawings, shares and their intervals."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dreamartist_ext.evaluation.backgrounds import nearest_background

from .drawings import BACKGROUND_NAMES, Drawings


@dataclass(frozen=True)
class Request:
    concept: str
    style: str
    background: str

    @property
    def prompt(self) -> str:
        return f"a {self.style} emoji of a {self.concept.replace('-', ' ')} on a {self.background} background"


@dataclass(frozen=True)
class Features:
    concept: Tensor  # (N, 1280) unit length: mean over space of the last feature map
    style: Tensor  # (N, D) mean and standard deviation over space of each channel of the early blocks

    @staticmethod
    def joined(parts: Sequence[Features]) -> Features:
        return Features(torch.cat([p.concept for p in parts]), torch.cat([p.style for p in parts]))


def make_requests(known: Drawings, concepts: Sequence[str], per_concept: int, seed: int) -> list[Request]:
    """Concept by concept; styles in turn among those the concept has, backgrounds equally often in random order."""
    dice = random.Random(seed)
    count = len(concepts) * per_concept
    backgrounds = (list(BACKGROUND_NAMES) * math.ceil(count / len(BACKGROUND_NAMES)))[:count]
    dice.shuffle(backgrounds)
    requests: list[Request] = []
    for concept in concepts:
        styles = [style for name, style in known.labels if name == concept]
        first = dice.randrange(len(styles))
        for k in range(per_concept):
            requests.append(Request(concept, styles[(first + k) % len(styles)], backgrounds[len(requests)]))
    return requests


def chance(known: Drawings, requests: Sequence[Request]) -> dict[str, float]:
    """What guessing would give, for each figure."""
    styles = [sum(name == request.concept for name, _ in known.labels) for request in requests]
    several = [count for count in styles if count > 1]
    answers = len({name for name, _ in known.labels})
    return {
        "background": 1 / len(BACKGROUND_NAMES),
        "style": sum(1 / count for count in several) / max(len(several), 1),
        "concept_top1": 1 / answers,
        "concept_top5": 5 / answers,
    }


def score(
    pictures: Tensor,
    features: Features,
    requests: Sequence[Request],
    known: Drawings,
    references: dict[str, Features],
) -> dict[str, dict]:
    """Every figure of `measure` as a share with its Wilson interval."""
    right: dict[str, list[bool]] = {
        "background": [nearest_background(p) == r.background for p, r in zip(pictures, requests, strict=True)],
        "style": [],
        "concept_top1": [],
        "concept_top5": [],
    }
    for deep, early, request in zip(features.concept, features.style, requests, strict=True):
        reference = references[request.background]
        likeness = reference.concept @ deep  # (drawings,)
        rank = concept_rank(likeness, known, request.concept)
        right["concept_top1"].append(rank < 1)
        right["concept_top5"].append(rank < 5)
        style = nearest_style(likeness + early_likeness(early, reference.style), known, request.concept)
        if style is not None:
            right["style"].append(style == request.style)
    return {name: share(outcomes) for name, outcomes in right.items()}


def concept_rank(similarity: Tensor, known: Drawings, concept: str) -> int:
    """How many concepts score better than the one asked for; similarity (drawings,)"""
    best: dict[str, float] = {}
    for (name, _), value in zip(known.labels, similarity.tolist(), strict=True):
        best[name] = max(value, best.get(name, -1.0))
    return sum(value > best[concept] for value in best.values())


def early_likeness(early: Tensor, references: Tensor) -> Tensor:
    """early (D,), references (drawings, D) -> cosines (drawings,) after standardising over the drawings"""
    mean, scale = references.mean(0), references.std(0).clamp(min=1e-6)
    return normalize((references - mean) / scale, dim=1) @ normalize((early - mean) / scale, dim=0)


def nearest_style(likeness: Tensor, known: Drawings, concept: str) -> str | None:
    """The style of the concept's drawing that is most like; None when the concept has a single style."""
    own = [i for i, (name, _) in enumerate(known.labels) if name == concept]
    return known.labels[own[int(likeness[own].argmax())]][1] if len(own) > 1 else None


def share(outcomes: Sequence[bool]) -> dict[str, float]:
    low, high = wilson(sum(outcomes), len(outcomes))
    return {
        "right": sum(outcomes),
        "of": len(outcomes),
        "share": round(sum(outcomes) / max(len(outcomes), 1), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % by default."""
    if count == 0:
        return 0.0, 1.0
    p = right / count
    centre = p + z * z / (2 * count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return max(0.0, (centre - half) / (1 + z * z / count)), min(1.0, (centre + half) / (1 + z * z / count))
