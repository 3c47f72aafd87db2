"""The VAE of AUTOMATIC1111's loaded model, between pixels and latents.

`encode` is the model's own, which with --medvram also brings the VAE to the GPU; SDXL's gives a random sample, so that
what the distribution is made of is read on the way. A VAE in half precision that gives no finite numbers, as SDXL's
own does, computes again in 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...engine.errors import ModelError

LOG_VARIANCES = -30.0, 20.0  # the bounds that ldm and sgm hold them in


def latent_distribution(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of scaled latents (B, 4, H/8, W/8); raises ModelError for no finite numbers."""
    moments = _again_in_full(model, lambda: _watched(model, pixels, _quantised(model), _output))
    if not torch.isfinite(moments).all():
        name = model.sd_checkpoint_info.name_for_extra
        raise ModelError(f"the VAE of {name} gives no finite numbers for this picture; choose another VAE.")
    mean, log_variance = moments.chunk(2, dim=1)
    return mean * model.scale_factor, (log_variance.clamp(*LOG_VARIANCES) / 2).exp() * model.scale_factor


def attention_inputs(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys (B, places, channels) of the self-attention in the middle of the encoder."""
    block = model.first_stage_model.encoder.mid.attn_1

    def queries_and_keys(inputs: Any, _output: Any) -> Tensor:
        hidden = block.norm(inputs[0])
        return torch.stack([part.flatten(2).transpose(1, 2).float() for part in (block.q(hidden), block.k(hidden))])

    queries, keys = _again_in_full(model, lambda: _watched(model, pixels, block, queries_and_keys))
    return queries, keys


def decoded(model: Any, latents: Tensor) -> Tensor:
    """Scaled latents -> (B, 3, H, W), about [-1, 1], differentiable."""

    def decode() -> Tensor:
        with _computing(model) as kind:
            return model.first_stage_model.decode((latents / model.scale_factor).to(kind)).float()

    return decode() if torch.is_grad_enabled() else _again_in_full(model, decode)


def _watched(model: Any, pixels: Tensor, module: nn.Module, read: Callable[[Any, Any], Tensor]) -> Tensor:
    """What `read` makes of the module's inputs and output while the pixels are encoded."""
    from modules import devices

    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, inputs, output: found.append(read(inputs, output)))
    try:
        with _computing(model) as kind:
            model.first_stage_model.encode(pixels.to(devices.device, kind))
    finally:
        hook.remove()
    return found[0]


def _quantised(model: Any) -> nn.Module:
    return model.first_stage_model.quant_conv


def _output(_inputs: Any, output: Tensor) -> Tensor:
    return output.float()


@contextmanager
def _computing(model: Any) -> Iterator[torch.dtype]:
    """In the precision that the VAE's weights have, which is given."""
    from modules import devices

    kind = next(model.first_stage_model.parameters()).dtype
    with devices.autocast(disable=kind == torch.float32):
        yield kind


def _again_in_full(model: Any, compute: Callable[[], Tensor]) -> Tensor:
    found = compute()
    if torch.isfinite(found).all():
        return found
    with full_precision(model.first_stage_model):
        return compute()


@contextmanager
def full_precision(module: nn.Module) -> Iterator[None]:
    """The module's weights in 32 bits; halves come back to the bit."""
    before = next(module.parameters()).dtype
    module.to(torch.float32)
    try:
        yield
    finally:
        module.to(before)
