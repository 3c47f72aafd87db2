"""What one pass through the network learns from, and its losses: of one training, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from .config import TrainConfig
from .guidance import Guidance
from .host import Cond, DiffusionHost
from .latents import shown
from .objective import noise_loss
from .reconstruction import Reconstruction


@dataclass(frozen=True)
class Pass:
    """B samples of pictures of one size; what is None is not in the settings, or in none of the pictures."""

    latents: Tensor  # (B, 4, h, w)
    noise: Tensor  # (B, 4, h, w)
    timesteps: Tensor  # (B,)
    prompts: list[str]
    negative_prompts: list[str]
    mask: Tensor | None  # (B, 1, h, w)
    context: Tensor | None  # (B, 5, h, w)
    pixels: Tensor | None  # (B, 3, H, W)

    def __len__(self) -> int:
        return len(self.latents)


def conditioning(host: DiffusionHost, prompts: Sequence[str], negative_prompts: Sequence[str] | None) -> Cond:
    """One batch [uncond, cond] out of one pass of the text encoder, or the positives alone."""
    return host.encode_prompts(prompts if negative_prompts is None else [*negative_prompts, *prompts])


def losses(host: DiffusionHost, config: TrainConfig, samples: Pass) -> Tensor:
    """See `noise_loss`, per sample: (B,)."""
    reconstruction = None
    if samples.pixels is not None:
        kind = config.reconstruction, config.reconstruction_loss
        reconstruction = Reconstruction(*kind, samples.pixels, samples.mask)
    return noise_loss(
        shown(host, samples.context),
        samples.latents,
        samples.noise,
        samples.timesteps,
        conditioning(host, samples.prompts, samples.negative_prompts if config.use_negative else None),
        Guidance.parse(config.guidance).at(samples.timesteps, host.schedule.timesteps) if config.use_negative else None,
        samples.mask,
        config.min_snr,
        config.noisy_weight,
        reconstruction,
    )


def joined(parts: Sequence[Pass]) -> Pass:
    """Passes over pictures of one size as one pass, in their order."""

    def all_of(tensors: Sequence[Tensor | None]) -> Tensor | None:
        there = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(there) if there else None

    masks: list[Tensor | None] = [part.mask for part in parts]
    if any(mask is not None for mask in masks):
        masks = [torch.ones_like(p.latents[:, :1]) if p.mask is None else p.mask for p in parts]
    return Pass(
        torch.cat([part.latents for part in parts]),
        torch.cat([part.noise for part in parts]),
        torch.cat([part.timesteps for part in parts]),
        list(chain.from_iterable(part.prompts for part in parts)),
        list(chain.from_iterable(part.negative_prompts for part in parts)),
        all_of(masks),
        all_of([part.context for part in parts]),
        all_of([part.pixels for part in parts]),
    )
