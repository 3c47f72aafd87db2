"""How well the embedded model does what the words say: background, drawing style, concept.

No CLIP is involved: a generated picture is compared with the training latents themselves, decoded, so
that the VAE's softness is on both sides. Every figure comes with the same figure of real drawings, placed
anew and passed through the VAE (what the measure gives a perfect model), and with the share that guessing gives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamartist_ext.evaluation import features
from dreamartist_ext.evaluation.grids import grid

from . import drawings
from .drawings import BACKGROUND_NAMES, BACKGROUND_RGB, Drawings
from .scores import Features, Request, chance, make_requests, score
from .shapes import LATENT_SIZE, TOKENS

GUIDANCE = 4.0
STEPS = 25
BATCH = 32
SHEET_COLUMNS, SHEET_ROWS = 12, 8


@dataclass(frozen=True)
class Model:
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler

    @property
    def device(self) -> torch.device:
        return self.unet.device


def measure(
    model_folder: Path,
    work: Path,
    out: Path,
    threads: int,
    seed: int = 1,
    per_concept: int = 2,
    concepts: Sequence[str] | None = None,
) -> dict:
    """Write figures.json and two contact sheets to the folder `out`; returns the figures.

    `concepts`: which of the training concepts to ask for (all when None); every one of them is a possible
    answer in any case. Definitions, each a share of the pictures:
    - background: the named colour nearest to the median of the four corner patches (6x6 pixels) is the one asked for.
    - concept_top1, concept_top5: the score of a concept is the largest cosine between the picture's deep
      features and those of its drawings in all styles, on the background that was asked for; the concept
      asked for has the best score, or one of the five best.
    - style: among the drawings of the concept asked for, on that background, the nearest has the style asked
      for; near is the sum of two cosines, of the deep features and of the early ones (standardised per channel
      over all drawings). Concepts with one style do not count.
    """
    torch.set_num_threads(threads)
    known = drawings.load(work).subset(set(drawings.training_concepts()))
    if held_out := drawings.HELD_OUT & {concept for concept, _ in known.labels}:
        raise ValueError(f"held-out concepts among the training drawings: {sorted(held_out)}")
    model = load_model(model_folder)
    requests = make_requests(known, concepts or drawings.training_concepts(), per_concept, seed)
    generated = generate(model, requests, seed)
    real = reconstruct(model.vae, known, requests, seed)
    network = FeatureNet()
    references = reference_features(network, model.vae, work, known)
    figures = {
        "seed": seed,
        "pictures": len(requests),
        "concepts": len({request.concept for request in requests}),
        "guidance": GUIDANCE,
        "steps": STEPS,
        "chance": chance(known, requests),
        "generated": score(generated, network(generated), requests, known, references),
        "real_through_vae": score(real, network(real), requests, known, references),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    for k in range(min(per_concept, 2)):
        contact_sheet(generated[k::per_concept], out / f"contact_sheet_{k + 1}.png")
    return figures


def load_model(folder: Path, device: str = "cpu") -> Model:
    """Single precision, whatever the files hold: newer transformers would load halves as halves."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
    return Model(
        unet.to(device).eval().requires_grad_(False).to(memory_format=torch.channels_last),
        vae.to(device).eval().requires_grad_(False).to(memory_format=torch.channels_last),
        text.to(device).eval().requires_grad_(False),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        DDIMScheduler.from_pretrained(folder / "scheduler"),
    )


@torch.no_grad()
def generate(model: Model, requests: Sequence[Request], seed: int) -> Tensor:
    """(N, 3, 128, 128) in [-1, 1]; the noise of a picture does not depend on the batch size."""
    noise = torch.randn(len(requests), 4, LATENT_SIZE, LATENT_SIZE, generator=torch.Generator().manual_seed(seed))
    pictures = []
    for start in range(0, len(requests), BATCH):
        prompts = [request.prompt for request in requests[start : start + BATCH]]
        latents = _sample(model, noise[start : start + BATCH], prompts)
        pictures.append(decode(model.vae, latents))
        print(f"{start + len(prompts)} of {len(requests)} pictures", flush=True)
    return torch.cat(pictures)


def _sample(model: Model, latents: Tensor, prompts: Sequence[str]) -> Tensor:
    """DDIM with guidance: (B, 4, H/8, W/8) of noise -> scaled latents"""
    texts = [""] * len(prompts) + list(prompts)  # [uncond, cond]
    ids = model.tokenizer(texts, padding="max_length", max_length=TOKENS, return_tensors="pt").input_ids
    cond = model.text(ids).last_hidden_state
    model.scheduler.set_timesteps(STEPS)
    for timestep in model.scheduler.timesteps:
        doubled = torch.cat([latents, latents]).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = model.unet(doubled, timestep, cond).sample
        uncond, conditional = predicted.float().chunk(2)
        guided = uncond + GUIDANCE * (conditional - uncond)
        latents = model.scheduler.step(guided, timestep, latents).prev_sample
    return latents


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """scaled latents (B, 4, H/8, W/8) -> pictures (B, 3, H, W) in [-1, 1]"""
    pictures = []
    for part in (latents / vae.config.scaling_factor).split(8):
        with torch.autocast(latents.device.type, torch.bfloat16):
            pictures.append(vae.decode(part.contiguous(memory_format=torch.channels_last)).sample.float())
    return torch.cat(pictures).clamp(-1, 1)


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, known: Drawings, requests: Sequence[Request], seed: int) -> Tensor:
    """The drawings asked for, sized and placed as in training, through the VAE: (N, 3, 128, 128) in [-1, 1]"""
    generator = torch.Generator().manual_seed(seed)
    rgba = torch.stack([known.rgba[known.labels.index((request.concept, request.style))] for request in requests])
    background = BACKGROUND_RGB[[BACKGROUND_NAMES.index(request.background) for request in requests]]
    background = (background + 4 * torch.randn(background.shape, generator=generator)).clamp(0, 255)
    scale, shift = drawings.placement(len(requests), generator)
    latents = []
    for part in drawings.compose(rgba, background, scale, shift).split(8):
        with torch.autocast("cpu", torch.bfloat16):
            mean = vae.encode(part.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        latents.append(mean.float() * vae.config.scaling_factor)
    return decode(vae, torch.cat(latents))


class FeatureNet:
    """The package's feature net, with deep features and statistics of early ones."""

    def __init__(self) -> None:
        self.network = features.FeatureNet()

    def __call__(self, pictures: Tensor) -> Features:
        """pictures (N, 3, H, W) in [-1, 1]"""
        parts = [self.network(part) for part in pictures.split(BATCH)]
        return Features.joined([Features(part.deep, part.statistics()) for part in parts])


def reference_features(network: FeatureNet, vae: AutoencoderKL, work: Path, known: Drawings) -> dict[str, Features]:
    """Of every training drawing, for each background: its training latents, decoded. Kept in the work folder."""
    kept = work / "reference_features.safetensors"
    if kept.exists():
        saved = load_file(kept)
        return {name: Features(saved[f"{name}.concept"], saved[f"{name}.style"]) for name in BACKGROUND_NAMES}
    if json.loads((work / "latent_labels.json").read_text()) != [list(label) for label in known.labels]:
        raise ValueError(f"{work}: latents.safetensors was not made from these drawings")
    latents = load_file(work / "latents.safetensors")["latents"][:, :, 0].float() * vae.config.scaling_factor
    features = {}
    for b, name in enumerate(BACKGROUND_NAMES):
        features[name] = Features.joined([network(decode(vae, part)) for part in latents[:, b].split(BATCH)])
        print(f"reference drawings on {name}", flush=True)
    parts = {f"{name}.{part}": getattr(f, part) for name, f in features.items() for part in ("concept", "style")}
    save_file(parts, kept)
    return features


def contact_sheet(pictures: Tensor, path: Path) -> None:
    """12 columns, at most 8 rows, spread evenly over the pictures (N, 3, 128, 128) in [-1, 1]."""
    count = min(len(pictures), SHEET_COLUMNS * SHEET_ROWS)
    chosen = pictures[np.linspace(0, len(pictures) - 1, count).round().astype(int)]
    pixels = ((chosen.permute(0, 2, 3, 1) + 1) * 127.5).round().byte().numpy()
    shown = [Image.fromarray(each) for each in pixels]
    grid([shown[first : first + SHEET_COLUMNS] for first in range(0, count, SHEET_COLUMNS)]).save(path)
