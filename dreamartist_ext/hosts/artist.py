"""Pictures on any host, the engine's own way: the same here, on the page, and in the WebUI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from PIL import Image

from ..engine import preview
from ..engine.host import DiffusionHost, Vectors
from ..files.picture_files import to_pixels


class DrawingHost(DiffusionHost, Protocol):
    """A host that knows the side in pixels of the pictures that its model was made for."""

    picture_size: int


class Artist:
    """Draws square pictures of the model's own size, each in a session of the host's own."""

    def __init__(self, host: DrawingHost) -> None:
        self.host = host
        self._shape: tuple[int, int, int] | None = None

    def __call__(
        self,
        prompts: Sequence[str],
        negative_prompts: Sequence[str],
        seeds: Sequence[int],
        guidance_scale: float,
        steps: int,
        embeddings: Mapping[str, Vectors],
        start: Image.Image | None = None,
        strength: float = 1.0,
        on_step: Callable[[], object] = lambda: None,
    ) -> list[Image.Image]:
        """One picture per prompt; from `start` with `strength` of the noise where one is given, as in img2img.

        `on_step` is called after each step and may raise to stop.
        """
        live = {
            word: {key: vectors.to(self.host.device) for key, vectors in halves.items()}
            for word, halves in embeddings.items()
        }
        with torch.no_grad(), self.host.session(), self.host.bind(live):
            asked = (self.host, prompts, negative_prompts, seeds)
            if start is None:
                return preview.draw(*asked, self._latent_shape(), steps, guidance_scale, on_step)
            return preview.redraw(*asked, to_pixels(start), strength, steps, guidance_scale, on_step)

    def _latent_shape(self) -> tuple[int, int, int]:
        if self._shape is None:
            side = self.host.picture_size
            channels, height, width = self.host.encode_images(torch.zeros(1, 3, side, side).to(self.host.device)).shape[
                1:
            ]
            self._shape = channels, height, width
        return self._shape
