"""A pair of embeddings: names, vectors, where they came from. The one place that knows "-neg"."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch

from .errors import FileError
from .host import Vectors
from .names import MAX_VECTORS, negative_name

MAX_WIDTH = 8192  # of a token vector; the widest text encoder in use has 1280


@dataclass
class EmbeddingPair:
    """`positive` and `negative` are fp32 vectors by text encoder; `negative` is None for plain inversion."""

    name: str
    positive: Vectors
    negative: Vectors | None = None
    step: int = 0
    provenance: dict[str, str] = field(default_factory=dict)  # model, settings, version: plain text only

    def named(self) -> dict[str, Vectors]:
        """The vectors by the word that stands for them in a prompt."""
        halves = {self.name: self.positive}
        if self.negative is not None:
            halves[negative_name(self.name)] = self.negative
        return halves

    def detached(self) -> EmbeddingPair:
        """A copy on the CPU that training does not change."""
        halves = [_detached(half) for half in (self.positive, self.negative)]
        return EmbeddingPair(self.name, halves[0] or {}, halves[1], self.step, dict(self.provenance))


def pair_id(pair: EmbeddingPair) -> str:
    """16 hexadecimal digits of SHA-256 over both halves' vectors. Files with the same digits are one pair.

    Both files hold it, so halves of different trainings, or of different steps of one, do not match.
    """
    digest = hashlib.sha256()
    for half in (pair.positive, pair.negative or {}):
        for encoder, vectors in sorted(half.items()):
            plain = np.ascontiguousarray(vectors.detach().float().cpu().numpy(), dtype="<f4")
            digest.update(f"{encoder} {plain.shape}".encode() + plain.tobytes())
        digest.update(b"/")
    return digest.hexdigest()[:16]


def _detached(vectors: Vectors | None) -> Vectors | None:
    return None if vectors is None else {key: v.detach().float().cpu().clone() for key, v in vectors.items()}


def check_vectors(vectors: Vectors, where: str) -> Vectors:
    """Return the vectors if they are 1 to 75 finite rows per text encoder; raise FileError otherwise."""
    check_shapes(vectors, where)
    if not all(v.is_floating_point() and torch.isfinite(v).all() for v in vectors.values()):
        raise FileError(f"{where} holds numbers that are not finite.")
    return vectors


def check_shapes(vectors: Vectors, where: str) -> None:
    """As `check_vectors`, without a look at a number."""
    for tensor in vectors.values():
        if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.dim() != 2:
            raise FileError(f"{where} holds a tensor that is no list of vectors.")
        count, width = tensor.shape
        if not 1 <= width <= MAX_WIDTH:
            raise FileError(f"{where} holds vectors of {width} numbers; an embedding's have 1 to {MAX_WIDTH}.")
        if not 1 <= count <= MAX_VECTORS:
            raise FileError(f"{where} holds {count} vectors; an embedding has 1 to {MAX_VECTORS} vectors.")
    if len({len(tensor) for tensor in vectors.values()}) != 1:
        counts = " and ".join(f"{len(tensor)} for {key}" for key, tensor in vectors.items())
        raise FileError(f"{where} holds unequal numbers of vectors: {counts}; both text encoders need as many.")
