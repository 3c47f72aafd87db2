"""The reconstruction term: the picture that a prediction implies, decoded, against the picture itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .host import DiffusionHost
from .noise import predict_x0

KINDS: dict[str, Callable[[Tensor], Tensor]] = {"L1": torch.abs, "L2": torch.square}


@dataclass(frozen=True)
class Reconstruction:
    """weight, and the pictures of one batch: pixels (B, 3, H, W) in [-1, 1], mask (B, 1, h, w) or None."""

    weight: float
    kind: str  # one of KINDS
    pixels: Tensor
    mask: Tensor | None = None

    def loss(self, host: DiffusionHost, noisy_latents: Tensor, model_pred: Tensor, timesteps: Tensor) -> Tensor:
        """weight * sqrt(abar_t) * mean over pixels of  w_mask * |D(x0_hat) - x|  or its square, per sample: (B,).

        x0_hat is what the (guided) prediction implies. Its error is that of eps_hat over sqrt(abar_t), fourteen times
        as large at the last timestep; with the factor, no timestep's gradient outgrows the others'.
        """
        decoded = host.decode_latents(predict_x0(host.schedule, noisy_latents, model_pred, timesteps))
        error = KINDS[self.kind](decoded.to(self.pixels) - self.pixels)
        if self.mask is not None:
            error = error * interpolate(self.mask, error.shape[2:], mode="nearest").to(error)
        signal, _ = host.schedule.coefficients(timesteps)
        return self.weight * signal[:, 0, 0, 0] * error.mean(dim=(1, 2, 3))
