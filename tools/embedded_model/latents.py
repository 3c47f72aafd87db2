"""Latents of every training drawing on every background, made once."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from . import drawings
from .shapes import LATENT_SIZE, make_vae


@torch.no_grad()
def cache(folder: Path, variants: int = 1, seed: int = 1) -> None:
    """Write latents.safetensors: (drawings, backgrounds, variants, 4, 16, 16) fp16, unscaled, and their scale."""
    vae = make_vae().eval().to(memory_format=torch.channels_last)
    vae.load_state_dict(load_file(folder / "vae.safetensors"))
    chosen = drawings.load(folder).subset(set(drawings.training_concepts()))
    generator = torch.Generator().manual_seed(seed)
    names = drawings.BACKGROUND_NAMES
    latents = torch.empty(len(chosen.labels), len(names), variants, 4, LATENT_SIZE, LATENT_SIZE, dtype=torch.float16)
    for i, rgba in enumerate(chosen.rgba):
        for variant in range(variants):
            background = drawings.BACKGROUND_RGB + torch.randn(len(names), 3, generator=generator) * 4
            scale, shift = drawings.placement(len(names), generator)
            pixels = drawings.compose(rgba.expand(len(names), -1, -1, -1), background.clamp(0, 255), scale, shift)
            with torch.autocast("cpu", torch.bfloat16):
                mean = vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mean
            latents[i, :, variant] = mean.half()
        if i % 100 == 0:
            print(i, "of", len(chosen.labels), flush=True)
    scale_factor = 1 / latents.float().std()
    print("scaling factor", scale_factor.item())
    save_file({"latents": latents, "scaling_factor": scale_factor}, folder / "latents.safetensors")
    (folder / "reference_features.safetensors").unlink(missing_ok=True)  # measure's, of the latents before
    (folder / "latent_labels.json").write_text(json.dumps(chosen.labels))
