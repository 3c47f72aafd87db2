"""The exponential moving average of a pair's vectors, beside the vectors that are trained."""

from __future__ import annotations

import torch

from .embedding import EmbeddingPair
from .host import Vectors


def copy_of(pair: EmbeddingPair) -> EmbeddingPair:
    """The same vectors once more, where they are, without a gradient."""
    halves = [_copied(pair.positive), None if pair.negative is None else _copied(pair.negative)]
    return EmbeddingPair(pair.name, halves[0] or {}, halves[1], pair.step, pair.provenance)


def _copied(vectors: Vectors) -> Vectors:
    return {key: v.detach().clone() for key, v in vectors.items()}


@torch.no_grad()
def average_in(average: EmbeddingPair, pair: EmbeddingPair, decay: float) -> None:
    """a <- decay a + (1 - decay) v, for both halves."""
    for word, half in average.named().items():
        for key, vectors in half.items():
            vectors.lerp_(pair.named()[word][key].detach(), 1 - decay)


@torch.no_grad()
def overwrite(pair: EmbeddingPair, source: EmbeddingPair) -> None:
    """Let the pair's own tensors hold what the source's do."""
    for word, half in pair.named().items():
        for key, vectors in half.items():
            vectors.copy_(source.named()[word][key])
