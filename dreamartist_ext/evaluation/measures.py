"""The measures, as free functions over features. Pictures, their order and their model are the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize


def similarity(features: Tensor, reference: Tensor) -> Tensor:
    """Cosine of each picture's features (N, D) with the reference's (D,), (N,).

    CLIP-I of DreamBooth (arXiv 2208.12242, section 4.2) when the features are CLIP's; the same figure of an
    ImageNet network when they are that network's.
    """
    return normalize(features, dim=1) @ normalize(reference, dim=0)


def text_alignment(features: Tensor, texts: Tensor) -> Tensor:
    """Cosine of each picture's CLIP features (N, D) with those of its own prompt (N, D), (N,).

    CLIP-T of DreamBooth (arXiv 2208.12242, section 4.2), CLIPScore without its factor (arXiv 2104.08718, eq. 1).
    """
    return (normalize(features, dim=1) * normalize(texts, dim=1)).sum(1)


def diversity(features: Tensor) -> float:
    """Mean distance, 1 - cosine, over all pairs of pictures (N, D); 0 for a single one.

    The mean pairwise distance of DreamBooth's DIV (arXiv 2208.12242, appendix), with features instead of LPIPS.
    """
    return float(distance_to_others(features).mean()) if len(features) else 0.0


def perceptual_distance(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Distance of pictures to others, place by place, (N,): the form of LPIPS (arXiv 1801.03924, eq. 1).

    maps and others: feature maps by layer, each (N, C, h, w). Channels are scaled to unit length at each place, the
    squared difference is averaged over the places and the layers; there are no learned weights (all are 1), so the
    numbers are not LPIPS's own.
    """
    layers = [
        (normalize(a, dim=1) - normalize(b, dim=1)).square().sum(1).mean((1, 2))
        for a, b in zip(maps, others, strict=True)
    ]
    return torch.stack(layers).mean(0)


def kept(maps: Sequence[Tensor], before: Sequence[Tensor], region: Callable[[int, int], Tensor]) -> Tensor:
    """How far a region looks as it did, (N,), 1 is untouched: the mean cosine of the features at its places.

    maps: by layer, each (N, C, h, w); before: the same of one picture, (1, C, h, w). `region` gives the places of a
    layer, (h, w) of 0 and 1. 1 - kept is half of `perceptual_distance` within the region.
    """
    layers = []
    for a, b in zip(maps, before, strict=True):
        weights = region(*a.shape[2:])
        cosine = (normalize(a, dim=1) * normalize(b, dim=1)).sum(1)  # (N, h, w)
        layers.append((cosine * weights).sum((1, 2)) / weights.sum())
    return torch.stack(layers).mean(0)


def distance_to_others(features: Tensor) -> Tensor:
    """Of each of N pictures (N, D) the mean distance to the others, (N,); their mean is `diversity`."""
    count = len(features)
    if count < 2:
        return torch.zeros(count)
    units = normalize(features, dim=1)
    return (1 - units @ units.T).clamp(min=0).fill_diagonal_(0).sum(1) / (count - 1)


def gram_matrices(maps: Sequence[Tensor]) -> list[Tensor]:
    """Which channels occur together, wherever that is: (N, C, C) for each map (N, C, h, w).

    Gatys et al. (arXiv 1508.06576, eq. 3), divided by the number of places.
    """
    return [torch.einsum("nchw,ndhw->ncd", m, m) / (m.shape[2] * m.shape[3]) for m in maps]


def style_distance(maps: Sequence[Tensor], reference: Sequence[Tensor]) -> Tensor:
    """How far the Gram matrices of pictures (N, C, h, w) are from one reference's (1, C, h, w), (N,) in 0..1.

    The style loss of Gatys et al. (arXiv 1508.06576, eq. 4 and 5) with every layer scaled to the same range:
    ||G - A|| / (||G|| + ||A||), averaged over the layers.
    """
    layers = []
    for ours, theirs in zip(gram_matrices(maps), gram_matrices(reference), strict=True):
        difference, size = (ours - theirs).flatten(1).norm(dim=1), ours.flatten(1).norm(dim=1)
        layers.append(difference / (size + theirs.flatten(1).norm(dim=1)).clamp(min=1e-12))
    return torch.stack(layers).mean(0)


def nearest(features: Tensor, references: Tensor) -> list[int]:
    """For each picture's features (N, D) the index of the reference (M, D) with the largest cosine."""
    return (normalize(features, dim=1) @ normalize(references, dim=1).T).argmax(1).tolist()


def ranks(features: Tensor, references: Tensor, own: int) -> list[int]:
    """For each picture's features (N, D): how many of the references (M, D) have a larger cosine than number `own`."""
    cosines = normalize(features, dim=1) @ normalize(references, dim=1).T
    return (cosines > cosines[:, own : own + 1]).sum(1).tolist()


def recognised(parts: Tensor, references: Tensor, asked: Sequence[int]) -> float:
    """Of the things asked for, the share that is among the likeliest, 0..1; guessing gives len(asked) / M.

    parts (P, D): features of parts of one picture; references (M, D). Each reference is as likely as its cosine with
    the part that is most like it; as many as were asked for count as seen.
    """
    likeliest = (normalize(references, dim=1) @ normalize(parts, dim=1).T).amax(1).topk(len(asked)).indices.tolist()
    return len(set(asked) & set(likeliest)) / len(set(asked))


def share(outcomes: Sequence[bool]) -> float:
    """Of the pictures, those that came out as asked, 0..1."""
    return sum(outcomes) / len(outcomes) if outcomes else 0.0
