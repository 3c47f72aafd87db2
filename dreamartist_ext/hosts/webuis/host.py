"""What the hosts of AUTOMATIC1111 and of Forge have in common: the loaded model, by the names that both WebUIs use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...engine.errors import ModelError
from ...engine.host import Cond
from ..activations import free_memory
from ..conditioning import joined
from ..families import INPAINTING_CHANNELS
from ..inpainting import InpaintingContext

INIT_TOKENS = 75  # of an initialization text: one chunk
FACTOR = 8  # pixels per latent, along one side
LOSS_SCALE = 2.0**12


class LoadedModelHost:
    """The part of `engine.host.DiffusionHost` that does not depend on how a WebUI holds its model. A host that is made
    from it sets `device` and calls `_describe`; it encodes and predicts by its own ways."""

    model: Any
    device: torch.device
    latent_factor = FACTOR
    size_unit = 64  # pixels: the U-Net halves its latents three times

    def _describe(self, webui: str, picture_size: int, channels: int, kind: torch.dtype) -> None:
        """channels of the U-Net's input; the type that it computes in"""
        self._webui = webui
        self.picture_size = picture_size
        self._is_inpainting = channels == INPAINTING_CHANNELS
        self._context = InpaintingContext(self.encode_images, FACTOR)
        # Half precision loses small gradients; the trainer multiplies its loss by this, and divides what comes back.
        self.loss_scale = LOSS_SCALE if kind == torch.float16 else 1.0
        self._live: dict[str, Any] = {}
        self._in_session = False

    @property
    def name(self) -> str:
        """The checkpoint's name, without its folder or ending."""
        return str(self.model.sd_checkpoint_info.name_for_extra)

    @property
    def checkpoint_hash(self) -> str:
        """As the WebUI shows it: the first ten digits of the SHA-256 of the checkpoint's file."""
        return str(self.model.sd_checkpoint_info.shorthash or "")

    def is_loaded(self) -> bool:
        raise NotImplementedError

    def check_loaded(self) -> None:
        """Raises ModelError when somebody took the model away."""
        if not self.is_loaded():
            raise ModelError("the checkpoint was unloaded or changed during the training; load it again and continue.")

    def free_memory(self) -> int:
        return free_memory(self.device)

    def encode_posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        return self.encode_posterior(pixels)[0]

    def context_around(self, pixels: Tensor, hole: Tensor) -> Tensor | None:
        return self._context.around(pixels, hole) if self._is_inpainting else None

    def encode_prompts(self, prompts: Any) -> Cond:
        raise NotImplementedError

    def join(self, uncond: Cond, cond: Cond) -> Cond:
        """The shorter side is filled with empty chunks, as the WebUI's "pad prompt" does."""
        return joined(uncond, cond, lambda: self.encode_prompts([""]))
