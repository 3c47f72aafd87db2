"""The forward process and its three parametrisations: eps, v and x0."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

_LARGE_SNR = 5.0  # above it, timesteps with little noise are all weighed alike (as in arXiv 2303.09556)
_SMALL_SNR = 1e-4  # below that of the last timestep of Stable Diffusion, 0.0047, and of the embedded model, 0.0002


class PredictionType(str, Enum):
    """What the U-Net predicts; the values are the names in a diffusers scheduler config."""

    EPSILON = "epsilon"
    V = "v_prediction"
    SAMPLE = "sample"


@dataclass(frozen=True)
class NoiseSchedule:
    """`alphas_cumprod`: (T,) float32, abar_t of DDPM (arXiv 2006.11239, eq. 4)."""

    alphas_cumprod: Tensor
    prediction_type: PredictionType = PredictionType.EPSILON

    @property
    def timesteps(self) -> int:
        return len(self.alphas_cumprod)

    def coefficients(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t) for timesteps (B,), each (B, 1, 1, 1)."""
        abar = self.alphas_cumprod.to(timesteps.device)[timesteps][:, None, None, None]
        return abar.sqrt(), (1 - abar).sqrt()

    def snr(self, timesteps: Tensor) -> Tensor:
        """Signal-to-noise ratio abar / (1 - abar), (B,)."""
        abar = self.alphas_cumprod.to(timesteps.device)[timesteps]
        return abar / (1 - abar)


def add_noise(schedule: NoiseSchedule, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps; latents and noise (B, C, h, w), timesteps (B,)."""
    signal, sigma = schedule.coefficients(timesteps)
    return signal * latents + sigma * noise


def target_for(schedule: NoiseSchedule, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What a perfect model would predict: eps, v = sqrt(abar) eps - sqrt(1 - abar) z_0 (arXiv 2202.00512), or z_0."""
    if schedule.prediction_type is PredictionType.EPSILON:
        return noise
    if schedule.prediction_type is PredictionType.SAMPLE:
        return latents
    signal, sigma = schedule.coefficients(timesteps)
    return signal * noise - sigma * latents


def predict_x0(schedule: NoiseSchedule, noisy_latents: Tensor, model_pred: Tensor, timesteps: Tensor) -> Tensor:
    """The clean latents that a prediction implies, (B, C, h, w)."""
    signal, sigma = schedule.coefficients(timesteps)
    if schedule.prediction_type is PredictionType.EPSILON:
        return (noisy_latents - sigma * model_pred) / signal
    if schedule.prediction_type is PredictionType.SAMPLE:
        return model_pred
    return signal * noisy_latents - sigma * model_pred


def snr_weight(schedule: NoiseSchedule, timesteps: Tensor, gamma: float) -> Tensor:
    """Min-SNR weight of the squared error (arXiv 2303.09556, section 3.4), (B,); gamma 0 means none."""
    if gamma == 0:
        return torch.ones(timesteps.shape, device=timesteps.device)
    snr = schedule.snr(timesteps)
    if schedule.prediction_type is PredictionType.EPSILON:
        return (gamma / snr).clamp(max=1)  # also where the last timestep has no signal
    if schedule.prediction_type is PredictionType.SAMPLE:
        return snr.clamp(max=gamma)
    return snr.clamp(max=gamma) / (snr + 1)


def noisy_end_weight(schedule: NoiseSchedule, timesteps: Tensor, power: float) -> Tensor:
    """min(SNR, 5)^-power, (B,); power 0 means none. An SNR below 1e-4, as at a last timestep without any signal, counts
    as 1e-4.

    The squared error of eps is the picture's times SNR. At the timesteps that decide shape and colours, that is next to
    nothing; this weight gives a part of it back. The error of v is the picture's times SNR + 1, that of z_0 the
    picture's itself: the noisy end counts there already, and this makes it count more.
    """
    if power == 0:
        return torch.ones(timesteps.shape, device=timesteps.device)
    return schedule.snr(timesteps).clamp(_SMALL_SNR, _LARGE_SNR) ** -power
