"""Vectors of one length: only their direction is learned (Directional Textual Inversion, arXiv 2512.13672).

Learned vectors grow far beyond the vocabulary's, and the rest of the prompt is then ignored.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .host import Vectors

SIDES: dict[str, tuple[bool, bool]] = {"off": (False, False), "positive": (True, False), "both": (True, True)}


def tangent(gradient: Tensor, vectors: Tensor) -> Tensor:
    """The part of the gradient that turns a vector and does not lengthen it; both (n, width)."""
    direction = vectors / vectors.norm(dim=1, keepdim=True)
    return gradient - (gradient * direction).sum(dim=1, keepdim=True) * direction


def of_length(vectors: Tensor, length: float) -> Tensor:
    """The same directions, (n, width), each `length` long."""
    return vectors * (length / vectors.norm(dim=1, keepdim=True))


@torch.no_grad()
def turn_only(half: Vectors) -> None:
    """Take from the gradients what would change a length."""
    for vectors in half.values():
        if vectors.grad is not None:
            vectors.grad.copy_(tangent(vectors.grad, vectors))


@torch.no_grad()
def set_length(half: Vectors, lengths: Mapping[str, float]) -> None:
    """`lengths` by text encoder, as `DiffusionHost.mean_norms` gives them."""
    for key, vectors in half.items():
        vectors.copy_(of_length(vectors, lengths[key]))
