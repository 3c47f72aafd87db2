"""Latents of every training drawing on every background, made once; or of many drawings on some backgrounds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from . import drawings, scenes, stand_in
from .shapes import LATENT_SIZE, make_vae

BF16_PAYS = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # without such units half precision is the slower one
Encode = Callable[[Tensor], Tensor]  # pictures (B, 3, 128, 128) in [-1, 1] -> scaled latents (B, 4, 16, 16)
BATCH = 16
BY_VAE, BY_STAND_IN = 1, 2  # who made a latent, in done.npy


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


class Growing:
    """Latents of (drawing, background) in a memory map, which a training can read while they are made.

    latents.npy (drawings, backgrounds, 4, 16, 16) fp16, scaled; done.npy (drawings, backgrounds): who made it, or 0.
    """

    def __init__(self, folder: Path) -> None:
        self.drawings = drawings.load(folder)
        shape = (len(self.drawings.labels), len(drawings.BACKGROUND_NAMES))
        self.latents = _map(folder / "latents.npy", np.float16, (*shape, 4, LATENT_SIZE, LATENT_SIZE))
        self.done = _map(folder / "done.npy", np.uint8, shape)

    def pictures(self, pairs: Iterable[tuple[int, int]]) -> Tensor:
        """(B, 3, 128, 128) in [-1, 1]; a pair of drawing and background looks the same whenever it is asked for"""
        made = []
        for drawing, background in pairs:
            colour, *place = placement_of(drawing, background)
            made.append(drawings.compose(self.drawings.rgba[drawing][None], colour[None], *place))
        return torch.cat(made)

    @torch.no_grad()
    def make(self, pairs: list[tuple[int, int]], encode: Encode, maker: int, workers: int = 0) -> None:
        """What the VAE made stays."""
        wanted = [pair for pair in pairs if self.done[pair] not in (maker, BY_VAE)]
        parts = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
        for part, pictures in zip(parts, _beside(self.pictures, parts, workers), strict=True):
            for pair, latents in zip(part, encode(pictures), strict=True):
                self.latents[pair] = latents.half().numpy()
                self.done[pair] = maker


def placement_of(drawing: int, background: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of a pair's picture: the colour (3,) in 0..255, scale (1,) and shift (1, 2), the same whenever they are asked
    for."""
    generator = torch.Generator().manual_seed(drawing * len(drawings.BACKGROUND_NAMES) + background)
    colour = drawings.BACKGROUND_RGB[background] + 4 * torch.randn(3, generator=generator)
    return colour.clamp(0, 255), *drawings.placement(1, generator)


def _beside(make: Callable[[list], Tensor], parts: list, workers: int) -> Iterable[Tensor]:
    """make(part) of every part, in processes beside this one: a GPU waits for pictures otherwise."""
    return DataLoader(_Parts(make, parts), batch_size=None, num_workers=workers)


class _Parts(Dataset):
    def __init__(self, make: Callable[[list], Tensor], parts: list) -> None:
        self.make, self.parts = make, parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Tensor:
        return self.make(self.parts[number])


def grow(
    folder: Path,
    model: Path,
    backgrounds: int,
    by_vae: int,
    fit_steps: int,
    seed: int = 5,
    device: str = "cpu",
    workers: int = 0,
) -> None:
    """Every drawing on `backgrounds` of the ten: `by_vae` pictures by the model's VAE, the others by its stand-in."""
    growing, dice = Growing(folder), random.Random(seed)
    count = len(growing.drawings.labels)
    order = [dice.sample(range(len(drawings.BACKGROUND_NAMES)), backgrounds) for _ in range(count)]
    pairs = [(i, order[i][turn]) for turn in range(backgrounds) for i in dice.sample(range(count), count)]
    growing.make(pairs[:by_vae], encoder(model, device), BY_VAE, workers)
    if not (growing.done == 0).any() or by_vae >= len(pairs):
        return
    known = [pair for pair in pairs if growing.done[pair] == BY_VAE]
    growing.make(pairs, fitted(growing, known, fit_steps), BY_STAND_IN)


def fitted(growing: Growing, known: list[tuple[int, int]], fit_steps: int) -> Encode:
    """The VAE's stand-in, fitted on what it made of these pairs."""
    latents = torch.stack([torch.from_numpy(growing.latents[pair].astype(np.float32)) for pair in known])
    net, error = stand_in.fit(growing.pictures(known), latents, fit_steps)
    print(f"stand-in: mean squared error {error:.4f} of {latents.var():.4f}", flush=True)
    return net


def encode_scenes(folder: Path, model: Path, count: int, device: str = "cpu", workers: int = 0) -> None:
    """scenes.npy (count, 4, 16, 16) fp16, scaled, and scenes_done.npy (count,); what is there already stays."""
    rgba = drawings.load(folder).rgba
    world = scenes.World(rgba)
    encode = encoder(model, device)
    latents = _map(folder / "scenes.npy", np.float16, (count, 4, LATENT_SIZE, LATENT_SIZE))
    done = _map(folder / "scenes_done.npy", np.uint8, (count,))
    wanted = np.flatnonzero(done == 0).tolist()
    parts = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]

    def pictures(part: list[int]) -> Tensor:
        return torch.stack([world.painted(i) for i in part])

    for part, painted in zip(parts, _beside(pictures, parts, workers), strict=True):
        latents[part] = encode(painted).half().numpy()
        done[part] = BY_VAE


def encoder(model: Path, device: str = "cpu") -> Encode:
    """By the model's own VAE."""
    vae = (
        AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32).to(device).eval().requires_grad_(False)
    )

    @torch.no_grad()
    def encode(pictures: Tensor) -> Tensor:
        with torch.autocast(vae.device.type, torch.bfloat16, enabled=BF16_PAYS or vae.device.type == "cuda"):
            mean = vae.encode(pictures.to(vae.device)).latent_dist.mean
        return mean.float().cpu() * vae.config.scaling_factor

    return encode


def _map(path: Path, kind: type, shape: tuple[int, ...]) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="r+" if path.exists() else "w+", dtype=kind, shape=shape)
