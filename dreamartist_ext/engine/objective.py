"""The DreamArtist loss (arXiv 2211.11337): the guided prediction against the true noise, per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from .guidance import combine
from .host import Cond, DiffusionHost
from .noise import add_noise, noisy_end_weight, snr_weight, target_for
from .reconstruction import Reconstruction


def guided_prediction(
    host: DiffusionHost,
    noisy_latents: Tensor,
    timesteps: Tensor,
    cond: Cond,
    guidance_scale: Tensor | float | None,
) -> Tensor:
    """eps(neg) + g (eps(pos) - eps(neg)) in one forward pass; without a scale, eps(pos).

    noisy_latents (B, C, h, w), timesteps (B,), guidance_scale a number or (B, 1, 1, 1) -> (B, C, h, w)
    cond: [uncond, cond], a batch of 2 B; without a scale those of the B positives alone
    """
    if guidance_scale is None:
        return host.predict(noisy_latents, timesteps, cond)
    both = host.predict(noisy_latents.repeat(2, 1, 1, 1), timesteps.repeat(2), cond)
    uncond_pred, cond_pred = both.chunk(2)
    return combine(uncond_pred, cond_pred, guidance_scale)


def noise_loss(
    host: DiffusionHost,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    cond: Cond,
    guidance_scale: Tensor | float | None,
    mask: Tensor | None = None,
    min_snr: float = 0.0,
    noisy_weight: float = 0.0,
    reconstruction: Reconstruction | None = None,
) -> Tensor:
    """L = mean over latents of  w_mask * w_snr(t) * w_noisy(t) * (eps_hat - target)^2, per sample: (B,).

    latents and noise (B, C, h, w), timesteps (B,), cond as in `guided_prediction`, mask (B, 1, h, w) or None. Without a
    scale it is the loss of textual inversion (arXiv 2208.01618, eq. 2). `reconstruction` adds its own term.
    """
    noisy_latents = add_noise(host.schedule, latents, noise, timesteps)
    model_pred = guided_prediction(host, noisy_latents, timesteps, cond, guidance_scale)
    error = (model_pred - target_for(host.schedule, latents, noise, timesteps)).square()
    if mask is not None:
        error = error * mask
    weight = snr_weight(host.schedule, timesteps, min_snr) * noisy_end_weight(host.schedule, timesteps, noisy_weight)
    loss = torch.mean(error, dim=(1, 2, 3)) * weight
    if reconstruction is None:
        return loss
    return loss + reconstruction.loss(host, noisy_latents, model_pred, timesteps)
