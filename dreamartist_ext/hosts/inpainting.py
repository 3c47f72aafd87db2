"""What an inpainting model is shown beside the noisy latents: a mask, and the picture without what is masked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class InpaintingContext:
    """The whole picture is to be painted: a mask of ones and the latents of a grey picture, as in the WebUI's txt2img.

    `encode_images` is the host's; `factor` is pixels per latent.
    """

    def __init__(self, encode_images: Callable[[Tensor], Tensor], factor: int) -> None:
        self._encode_images = encode_images
        self._factor = factor
        self._known: dict[tuple[int, int], Tensor] = {}

    def around(self, pixels: Tensor, hole: Tensor) -> Tensor:
        """The picture (1, 3, H, W) shown but for its hole (1, 1, H, W), ones: (1, 5, h, w). The hole is grey, as in
        the WebUI's img2img."""
        seen = self._encode_images(pixels * (1 - hole))
        return torch.cat([interpolate(hole, size=seen.shape[2:]).to(seen), seen], dim=1)

    def given(self, latents: Tensor, context: Tensor | None) -> Tensor:
        """The context in the latents' number and precision; without one, the whole picture is to be painted."""
        if context is None:
            return self.like(latents)
        return context.to(latents).repeat(len(latents) // len(context), 1, 1, 1)

    def like(self, latents: Tensor) -> Tensor:
        """The five channels for latents (B, 4, h, w): (B, 5, h, w)."""
        height, width = latents.shape[2:]
        if (height, width) not in self._known:
            grey = torch.zeros(1, 3, height * self._factor, width * self._factor, device=latents.device)
            masked = self._encode_images(grey)
            self._known[height, width] = torch.cat([torch.ones_like(masked[:, :1]), masked], dim=1)
        return self._known[height, width].to(latents).expand(len(latents), -1, -1, -1)
