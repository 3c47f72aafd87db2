"""A pair of embeddings: names, vectors, where they came from. The one place that knows "-neg"."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

import numpy as np
import torch

from .errors import FileError, SettingError
from .host import Vectors

NEGATIVE_SUFFIX = "-neg"
MAX_NAME_LENGTH = 64
MAX_VECTORS = 75  # more would overflow one chunk of the prompt
MAX_WIDTH = 8192  # of a token vector; the widest text encoder in use has 1280
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_KEYWORD = re.compile(r"\b(AND|BREAK)\b")  # of the WebUI's prompts, as it looks for them
_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))])


def negative_name(name: str) -> str:
    """The word that stands for the other half of `name`."""
    return name + NEGATIVE_SUFFIX


def positive_name(word: str) -> str:
    """The name of the pair that a word belongs to by its ending."""
    return word[: -len(NEGATIVE_SUFFIX)] if word.lower().endswith(NEGATIVE_SUFFIX) else word


def check_name(name: str) -> str:
    """Return the name, or raise SettingError: it becomes both a word in prompts and a file on any system."""
    if len(name) > MAX_NAME_LENGTH:
        raise SettingError(f"name must have at most {MAX_NAME_LENGTH} characters, got {len(name)}.")
    if not _NAME.fullmatch(name):
        raise SettingError(
            "name must be letters a-z, digits, - and _ only, beginning and ending with a letter or digit, "
            f"got {_shown(name)}."
        )
    if name.lower().endswith(NEGATIVE_SUFFIX):
        raise SettingError(f'name must not end with "{NEGATIVE_SUFFIX}", which marks the negative half, got "{name}".')
    if cut := _KEYWORD.search(name):
        raise SettingError(f'name must not hold the word {cut[0]}, at which prompts are cut in two, got "{name}".')
    if name.lower() in _RESERVED:
        raise SettingError(f'name must not be "{name}", which Windows reserves.')
    return name


def _shown(name: str) -> str:
    return '"' + "".join(c if c.isprintable() else "?" for c in name) + '"'


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
    """16 hexadecimal digits of SHA-256 over both halves' vectors: what makes two files one pair, whatever their names.

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
    plain = all(
        v.layout == torch.strided and v.device.type != "meta" and v.dim() == 2 and 1 <= v.shape[1] <= MAX_WIDTH
        for v in vectors.values()
    )
    counts = {len(v) for v in vectors.values()} if plain else set()
    if len(counts) != 1 or not 1 <= min(counts) <= MAX_VECTORS:
        raise FileError(f"{where} does not hold 1 to {MAX_VECTORS} vectors.")
    if not all(v.is_floating_point() and torch.isfinite(v).all() for v in vectors.values()):
        raise FileError(f"{where} holds numbers that are not finite.")
    return vectors
