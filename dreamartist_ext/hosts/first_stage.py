"""The VAE of a WebUI's loaded model, between pixels and latents.

`encode` is the model's own; it may give a random sample, so that what the distribution is made of is read on the way. A
VAE in half precision that gives no finite numbers, as SDXL's own does, computes again in 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.errors import ModelError
from .put_back import full_precision

LOG_VARIANCES = -30.0, 20.0  # the bounds that ldm and sgm hold them in


def _as_it_is(_disable: bool) -> AbstractContextManager[Any]:
    return nullcontext()


@dataclass(frozen=True)
class FirstStage:
    """`scale` and `shift` lie between its latents and the U-Net's; `name` is the model's, for what is said of it.

    `autocast` is the WebUI's own, and takes whether to leave it off.
    """

    vae: Any
    scale: float
    device: torch.device
    name: str
    shift: float = 0.0
    autocast: Callable[[bool], AbstractContextManager[Any]] = _as_it_is

    def distribution(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of scaled latents (B, 4, H/8, W/8); raises ModelError for no finite numbers."""
        last = self.vae.quant_conv if getattr(self.vae, "quant_conv", None) is not None else self.vae.encoder
        moments = self._again_in_full(lambda: self._watched(pixels, last, _output))
        if not torch.isfinite(moments).all():
            raise ModelError(f"the VAE of {self.name} gives no finite numbers for this picture; choose another VAE.")
        mean, log_variance = moments.chunk(2, dim=1)
        deviation = (log_variance.clamp(*LOG_VARIANCES) / 2).exp()
        return (mean - self.shift) * self.scale, deviation * self.scale

    def attention_inputs(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, places, channels) of the self-attention in the middle of the encoder."""
        block = self.vae.encoder.mid.attn_1

        def queries_and_keys(inputs: Any, _output: Any) -> Tensor:
            hidden = block.norm(inputs[0])
            parts = (block.q(hidden), block.k(hidden))
            return torch.stack([part.flatten(2).transpose(1, 2).float() for part in parts])

        queries, keys = self._again_in_full(lambda: self._watched(pixels, block, queries_and_keys))
        return queries, keys

    def decoded(self, latents: Tensor) -> Tensor:
        """Scaled latents -> (B, 3, H, W), about [-1, 1], differentiable."""

        def decode() -> Tensor:
            with self._computing() as kind:
                return self.vae.decode((latents / self.scale + self.shift).to(self.device, kind)).float()

        return decode() if torch.is_grad_enabled() else self._again_in_full(decode)

    def _watched(self, pixels: Tensor, module: nn.Module, read: Callable[[Any, Any], Tensor]) -> Tensor:
        """What `read` makes of the module's inputs and output while the pixels are encoded."""
        found: list[Tensor] = []
        hook = module.register_forward_hook(lambda _module, inputs, output: found.append(read(inputs, output)))
        try:
            with self._computing() as kind:
                self.vae.encode(pixels.to(self.device, kind))
        finally:
            hook.remove()
        return found[0]

    @contextmanager
    def _computing(self) -> Iterator[torch.dtype]:
        """In the precision that the VAE's weights have, which is given."""
        kind = next(self.vae.parameters()).dtype
        with self.autocast(kind == torch.float32):
            yield kind

    def _again_in_full(self, compute: Callable[[], Tensor]) -> Tensor:
        found = compute()
        if torch.isfinite(found).all():
            return found
        with full_precision(self.vae):
            return compute()


def _output(_inputs: Any, output: Tensor) -> Tensor:
    return output.float()
