"""Many views of every drawing, each with what the mapper sees of it.

A code that stands for a drawing, and not for where it lies, leaves its edges open: the pictures of `latents.grow` move
and scale a drawing a little. So the mapper sees each picture's drawing as it lies there. And 4,243 drawings are few:
mirrored, turned, stretched, and in other hues they are others, since a code has no name to agree with.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from math import pi
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from . import drawings, latents
from .shapes import LATENT_SIZE

SEEN_SIZE = 24
USUAL_SCALE = 0.9  # the middle of `drawings.placement`: of a drawing that stands in a scene, at any place and size
KINDS = ("mirrored", "mirrored", "other hue", "turned", "turned, other hue")  # one view each of every drawing
TURNED_BY = 0.5  # radians at most
STRETCHED_BY = 0.22  # as a logarithm, at most: what one side gains, the other loses
SMALLER = 0.92  # so that a turned drawing does not lose its corners
HUES = (0.6, 2 * pi - 0.6)  # turns of all hues, in radians: far enough to be seen
FITTED_ON = 2400  # pictures of the VAE's
BATCH = 64


@dataclass(frozen=True)
class Views:
    """A row for each view: its drawing, its background (-1: none, a drawing as it stands in scenes), whether its name
    is true of it, its latents (4, 16, 16) fp16 and what the mapper sees, (4, 24, 24) fp16. The last rows, one for each
    drawing in order, have no background, and latents of nothing."""

    drawing: Tensor
    background: Tensor
    named: Tensor
    latents: Tensor
    seen: Tensor

    def in_scenes(self, drawing: int) -> int:
        """The row that stands for a drawing in scenes."""
        return self._first_in_scenes + drawing

    @cached_property
    def _first_in_scenes(self) -> int:
        return int((self.background >= 0).sum())


def placed(rgba: Tensor, scale: Tensor, shift: Tensor, angle: Tensor, stretch: Tensor, mirrored: Tensor) -> Tensor:
    """As `drawings.placed`, also turned by `angle` (radians), stretched and mirrored (bool), each (B,)."""
    cos, sin, side = torch.cos(angle), torch.sin(angle), torch.where(mirrored, -1.0, 1.0)
    rows = [
        torch.stack([side * cos / stretch, -side * sin / stretch], 1),
        torch.stack([sin, cos], 1) * stretch[:, None],
    ]
    turned = torch.stack(rows, 1) / scale[:, None, None]
    return drawings.moved(rgba, torch.cat([turned, -turned @ shift[:, :, None]], 2))


def other_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """All colours turned about the axis of greys: premultiplied (B, 4, H, W), turn (B,) in radians."""
    axis = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5
    cos, sin = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
    colours = torch.einsum("bij,bjhw->bihw", axis + cos * (torch.eye(3) - axis) + sin * across, pixels[:, :3])
    return torch.cat([colours.clamp(min=0).minimum(pixels[:, 3:]), pixels[:, 3:]], 1)


def make(folder: Path, fit_steps: int = 1200, encode: latents.Encode | None = None, seed: int = 11) -> None:
    """Write views.pt: what `latents.grow` made, and KINDS of every drawing, by `encode` or else the VAE's stand-in."""
    growing = latents.Growing(folder)
    pairs = [tuple(pair) for pair in np.argwhere(growing.done).tolist()]
    if encode is None:
        by_vae = [pair for pair in pairs if growing.done[pair] == latents.BY_VAE]
        encode = latents.fitted(growing, random.Random(seed).sample(by_vae, min(FITTED_ON, len(by_vae))), fit_steps)
    rgba, generator = growing.drawings.rgba, torch.Generator().manual_seed(seed)
    parts = [_given(growing, pairs)]
    order = [(drawing, kind) for kind in KINDS for drawing in range(len(rgba))]
    random.Random(seed).shuffle(order)
    parts += [_other(rgba, order[start : start + BATCH], encode, generator) for start in range(0, len(order), BATCH)]
    parts.append(_in_scenes(rgba))
    whole = [torch.cat(columns) for columns in zip(*parts, strict=True)]
    torch.save(dict(zip(Views.__dataclass_fields__, whole, strict=True)), folder / "views.pt")


def load(folder: Path) -> Views:
    return Views(**torch.load(folder / "views.pt", weights_only=True))


def _seen(pixels: Tensor) -> Tensor:
    return adaptive_avg_pool2d(pixels, SEEN_SIZE).half()


def _given(growing: latents.Growing, pairs: list[tuple[int, int]]) -> tuple[Tensor, ...]:
    """The columns of Views for pictures that are there."""
    seen = []
    for start in range(0, len(pairs), BATCH):
        part = pairs[start : start + BATCH]
        scale, shift = (torch.cat(values) for values in zip(*(latents.placement_of(*p)[1:] for p in part), strict=True))
        seen.append(_seen(drawings.placed(growing.drawings.rgba[[drawing for drawing, _ in part]], scale, shift)))
    drawing, background = torch.tensor(pairs).T
    made = torch.stack([torch.from_numpy(growing.latents[pair]) for pair in pairs])
    return drawing, background, torch.ones(len(pairs), dtype=torch.bool), made, torch.cat(seen)


@torch.no_grad()
def _other(
    rgba: Tensor, wanted: list[tuple[int, str]], encode: latents.Encode, generator: torch.Generator
) -> tuple[Tensor, ...]:
    count, kinds = len(wanted), [kind for _, kind in wanted]
    drawing = torch.tensor([number for number, _ in wanted])
    turned = torch.tensor([kind.startswith("turned") for kind in kinds])
    hued = torch.tensor(["hue" in kind for kind in kinds])
    even = torch.rand(4, count, generator=generator)
    mirrored = torch.tensor([kind == "mirrored" for kind in kinds]) | (turned & (even[0] < 0.5))
    scale, shift = drawings.placement(count, generator)
    angle, stretch = turned * (2 * even[1] - 1) * TURNED_BY, torch.exp(turned * (2 * even[2] - 1) * STRETCHED_BY)
    pixels = placed(rgba[drawing], torch.where(turned, scale * SMALLER, scale), shift, angle, stretch, mirrored)
    turn = HUES[0] + even[3] * (HUES[1] - HUES[0])
    pixels = torch.where(hued[:, None, None, None], other_hue(pixels, turn), pixels)
    background = torch.randint(len(drawings.BACKGROUND_NAMES), (count,), generator=generator)
    colours = drawings.BACKGROUND_RGB[background] + 4 * torch.randn(count, 3, generator=generator)
    return (
        drawing,
        background,
        ~(turned | hued),
        encode(drawings.over(pixels, colours.clamp(0, 255))).half(),
        _seen(pixels),
    )


def _in_scenes(rgba: Tensor) -> tuple[Tensor, ...]:
    count = len(rgba)
    seen = [
        _seen(drawings.placed(part, torch.full((len(part),), USUAL_SCALE), torch.zeros(len(part), 2)))
        for part in rgba.split(BATCH)
    ]
    nothing = torch.zeros(count, 4, LATENT_SIZE, LATENT_SIZE, dtype=torch.half)
    return torch.arange(count), torch.full((count,), -1), torch.ones(count, dtype=torch.bool), nothing, torch.cat(seen)
