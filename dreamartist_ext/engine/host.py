"""The one small protocol through which the engine sees a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .noise import NoiseSchedule

# Token vectors by text encoder: {"clip": (n, width)}, or {"clip_l": ..., "clip_g": ...} for SDXL. Always fp32.
Vectors = dict[str, Tensor]


@dataclass(frozen=True)
class Kept:
    """Bytes of activations that a pass of the U-Net keeps: all of them, or with its blocks computed twice."""

    plain: int
    less: int


# Conditioning, opaque to the engine: a tensor, or a dict for SDXL.
Cond = Any


class DiffusionHost(Protocol):
    """A loaded Stable Diffusion. Every method leaves the model's weights and flags as they are."""

    schedule: NoiseSchedule
    device: torch.device

    def identity(self) -> str:
        """A text that is the same for the same weights, computed in the same precision on the same kind of device."""

    def session(self) -> AbstractContextManager[None]:
        """Freeze every parameter and switch to evaluation mode; put all flags back on the way out."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> scaled latents (B, 4, H/8, W/8), without a gradient."""

    def encode_posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode_images`, with the deviation beside the mean: what the VAE would draw its samples from."""

    def attention_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys, (B, h w, c) each in fp32, of the self-attention in the VAE encoder's middle block."""

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents -> (B, 3, H, W), about [-1, 1], differentiable."""

    def encode_prompts(self, prompts: Sequence[str]) -> Cond:
        """A batch of conditionings, differentiable in the bound vectors."""

    def join(self, uncond: Cond, cond: Cond) -> Cond:
        """One batch [uncond, cond]; unequal token counts are padded the host's own way."""

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, cond: Cond, context: Tensor | None = None) -> Tensor:
        """The U-Net's prediction in fp32, (B, 4, h, w).

        context: from `context_around`; fewer than latents are repeated in their order. Without it an inpainting model
        sees no picture."""

    def context_around(self, pixels: Tensor, hole: Tensor) -> Tensor | None:
        """What an inpainting model sees beside the latents, (1, 5, h, w); None for other models.

        That is made of the picture (1, 3, H, W) with a hole cut out, (1, 1, H, W): 1 where the model is to paint."""

    def kept_for_backward(self, batch: int, height: int, width: int) -> Kept:
        """What a pass of the U-Net over `batch` latents of this size keeps; nothing is computed for it."""

    def free_memory(self) -> int:
        """Bytes that a training could still take, 0 where that is not known."""

    def less_memory(self) -> AbstractContextManager[None]:
        """Inside, the U-Net keeps less for the backward pass, and computes its blocks twice."""

    def initial_vectors(self, text: str, count: int) -> Vectors:
        """`count` vectors per text encoder from the input embeddings of `text`, as fresh fp32 tensors."""

    def mean_norms(self) -> dict[str, float]:
        """By text encoder, the mean length of its vocabulary's token vectors."""

    def bind(self, embeddings: Mapping[str, Vectors]) -> AbstractContextManager[None]:
        """Inside, these names in a prompt stand for these live tensors."""


class BoundWords:
    """The `bind` of a host that looks its words up by itself, in `_bound`."""

    def __init__(self) -> None:
        self._bound: dict[str, Vectors] = {}

    @contextmanager
    def bind(self, embeddings: Mapping[str, Vectors]) -> Iterator[None]:
        before = self._bound
        self._bound = {**before, **embeddings}
        try:
            yield
        finally:
            self._bound = before
