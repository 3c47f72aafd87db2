"""Training of the VAE, from an identity start or from an earlier one's weights.

Why an identity start: the WebUI's VAE code fixes 32 groups in every norm, and a flat colour barely
survives such a norm. Started as coloured 8x8 tiles, training has only detail to add.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import avg_pool2d

from . import drawings
from .shapes import make_vae

CONSTANT = 3.0  # the +K and -K beside each colour channel of a group
STRUCTURED_GROUPS = 16


def _roles(channels: int) -> dict[int, tuple[int, int]]:
    """channel -> (group, 0 colour / 1 +K / 2 -K), for the structured half of the groups"""
    size = channels // 32
    return {c: (c // size, c % size) for c in range(channels) if c // size < STRUCTURED_GROUPS and c % size < 3}


@torch.no_grad()
def identity_start(vae: AutoencoderKL) -> None:
    """Set the weights so that the picture comes back as 16x16 coloured tiles."""
    for name, module in vae.named_modules():
        if name.endswith("conv2"):
            module.weight.mul_(0.2)
            module.bias.zero_()
        if name.endswith("to_out.0"):
            module.weight.zero_()
            module.bias.zero_()
        if name.endswith("conv") and (".downsamplers." in name or ".upsamplers." in name):
            for c in _roles(module.weight.shape[0]):
                module.weight[c] = 0
                module.bias[c] = 0
                if ".downsamplers." in name:
                    module.weight[c, c, :2, :2] = 0.25
                else:
                    module.weight[c, c, 1, 1] = 1
    _start_input(vae.encoder.conv_in, 3)
    _start_input(vae.decoder.conv_in, 4)
    _start_output(vae.encoder.conv_norm_out, vae.encoder.conv_out, 4)
    vae.encoder.conv_out.weight[4:] *= 0.1  # log variance: small from the first step
    vae.encoder.conv_out.bias[4:] = -7
    _start_output(vae.decoder.conv_norm_out, vae.decoder.conv_out, 3)
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.weight.copy_(torch.eye(len(conv.weight))[:, :, None, None])
        conv.bias.zero_()


def _start_input(conv: nn.Conv2d, colours: int) -> None:
    for c, (group, role) in _roles(conv.weight.shape[0]).items():
        conv.weight[c] = 0
        if role == 0:
            conv.bias[c] = 0
            if group % 4 < colours:
                conv.weight[c, group % 4, 1, 1] = 1
        else:
            conv.bias[c] = CONSTANT if role == 1 else -CONSTANT


def _start_output(norm: nn.GroupNorm, conv: nn.Conv2d, colours: int) -> None:
    """Read the colours back: with a bias of 2, SiLU is nearly linear, and its offset goes into the bias."""
    size = conv.weight.shape[1] // 32
    norm.weight.fill_(1)
    norm.bias.zero_()
    conv.weight[:colours] *= 0.02
    conv.bias.zero_()
    slope = (1 - 1 / size) / ((2 * CONSTANT**2 + 0.3) / size) ** 0.5
    for k in range(colours):
        channels = [c for c, (group, role) in _roles(conv.weight.shape[1]).items() if role == 0 and group % 4 == k]
        for c in channels:
            norm.bias[c] = 2.0
            conv.weight[k, c, 1, 1] = 0.85 / (1.09 * slope * len(channels))
        conv.bias[k] = -0.85 * 1.762 / (1.09 * slope)


@torch.no_grad()
def narrow_start(vae: AutoencoderKL, wider: dict[str, torch.Tensor]) -> None:
    """Take the weights of an earlier, wider VAE: of each group keep the first channels, and add the
    residual shortcuts that equal widths no longer have to the convolutions' own path."""
    for name, target in vae.state_dict().items():
        source = wider[name].float()
        for dim in range(source.dim()):
            have, want = source.shape[dim], target.shape[dim]
            if have != want:
                size, keep = have // 32, want // 32
                source = source.index_select(dim, torch.tensor([c for c in range(have) if c % size < keep]))
        target.copy_(source)


class Batches:
    """Drawings on random backgrounds at random places; no held-out concept is ever rendered."""

    def __init__(self, folder: Path, generator: torch.Generator) -> None:
        self.drawings = drawings.load(folder)
        self.generator = generator

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator)

    def next(self, count: int, crop: int) -> torch.Tensor:
        """(count, 3, crop, crop) in [-1, 1]"""
        chosen = torch.randint(len(self.drawings.labels), (count,), generator=self.generator)
        named = drawings.BACKGROUND_RGB[torch.randint(10, (count,), generator=self.generator)]
        named = named + torch.randn(count, 3, generator=self.generator) * 4
        anywhere = self._uniform(count, 3) * 255
        background = torch.where(self._uniform(count, 1) < 0.25, anywhere, named).clamp(0, 255)
        scale, shift = 0.65 + 0.4 * self._uniform(count), 0.3 * self._uniform(count, 2) - 0.15
        pixels = drawings.compose(self.drawings.rgba[chosen], background, scale, shift)
        if crop < pixels.shape[-1]:
            corners = torch.randint(pixels.shape[-1] - crop + 1, (count, 2), generator=self.generator).tolist()
            pixels = torch.stack([p[:, y : y + crop, x : x + crop] for p, (y, x) in zip(pixels, corners, strict=True)])
        return pixels.contiguous(memory_format=torch.channels_last)


def train(folder: Path, out: Path, minutes: float, init: Path | None, decoder_only: bool, seed: int = 0) -> None:
    """Train for `minutes`; `out` (safetensors of the EMA weights) is rewritten every 200 steps."""
    torch.manual_seed(seed)
    vae = make_vae().to(memory_format=torch.channels_last)
    if init is None:
        identity_start(vae)
    elif (weights := load_file(init))["encoder.conv_norm_out.weight"].shape != vae.encoder.conv_norm_out.weight.shape:
        narrow_start(vae, weights)
    else:
        vae.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    trained = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-4)
    ema = {name: tensor.detach().clone() for name, tensor in vae.state_dict().items()}
    batches = Batches(folder, torch.Generator().manual_seed(seed))
    started, step, seconds = time.monotonic(), 0, minutes * 60
    while (passed := time.monotonic() - started) < seconds:
        share = passed / seconds
        lr = 1.2e-4 * min(1.0, (step + 1) / 150) * (0.5 * (1 + np.cos(np.pi * share)) + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = float(lr)
        # mostly crops, which are cheap; whole pictures now and then, and at the end
        pixels = batches.next(4, 128) if step % 8 == 7 or share > 0.85 else batches.next(16, 64)
        loss, parts = _loss(vae, pixels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        decay = min(0.998, step / (step + 20))
        with torch.no_grad():
            for name, tensor in vae.state_dict().items():
                ema[name].lerp_(tensor, 1 - decay)
        if step % 25 == 0:
            print(f"{passed:.0f}s step {step} lr {lr:.1e} " + json.dumps(parts), flush=True)
        if step % 200 == 0:
            _save(ema, out)
    _save(ema, out)


def _loss(vae: AutoencoderKL, pixels: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
    """L1, L1 of the image gradients, L1 of 8x8 means (flat areas), a whisper of KL."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(pixels).latent_dist
        output = vae.decode(posterior.sample()).sample
    error = output.float() - pixels
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    flat = avg_pool2d(error, 8).abs().mean()
    kl = posterior.kl().float().mean() * (64 / pixels.shape[-1]) ** 2
    loss = error.abs().mean() + 0.5 * edges + flat + 1e-6 * kl
    parts = {"l1": error.abs().mean(), "edges": edges, "flat": flat, "kl": kl, "std": posterior.mean.float().std()}
    return loss, {name: round(value.item(), 4) for name, value in parts.items()}


def _save(weights: dict[str, torch.Tensor], out: Path) -> None:
    temporary = out.with_suffix(".tmp")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
    temporary.replace(out)
