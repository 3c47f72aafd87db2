"""How well the embedded model does what the words say: background, drawing style, concept.

No CLIP is involved: a generated picture is compared with the training latents themselves, decoded, so
that the VAE's softness is on both sides. Every figure comes with the same figure of real drawings, placed
anew and passed through the VAE (what the measure gives a perfect model), and with the share that guessing gives.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPTextModel, CLIPTokenizer

from dreamartist_ext.evaluation import features
from dreamartist_ext.evaluation.backgrounds import nearest_background

from . import drawings
from .drawings import BACKGROUND_NAMES, BACKGROUND_RGB, Drawings
from .shapes import LATENT_SIZE, PICTURE_SIZE, TOKENS

GUIDANCE = 4.0
STEPS = 25
BATCH = 32
SHEET_COLUMNS, SHEET_ROWS = 12, 8


@dataclass(frozen=True)
class Request:
    concept: str
    style: str
    background: str

    @property
    def prompt(self) -> str:
        return f"a {self.style} emoji of a {self.concept.replace('-', ' ')} on a {self.background} background"


@dataclass(frozen=True)
class Model:
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler


@dataclass(frozen=True)
class Features:
    concept: Tensor  # (N, 1280) unit length: mean over space of the last feature map
    style: Tensor  # (N, D) mean and standard deviation over space of each channel of the early blocks

    @staticmethod
    def joined(parts: Sequence[Features]) -> Features:
        return Features(torch.cat([p.concept for p in parts]), torch.cat([p.style for p in parts]))


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


def load_model(folder: Path) -> Model:
    """Single precision, whatever the files hold: newer transformers would load halves as halves."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
    return Model(
        unet.eval().requires_grad_(False).to(memory_format=torch.channels_last),
        vae.eval().requires_grad_(False).to(memory_format=torch.channels_last),
        text.eval().requires_grad_(False),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        DDIMScheduler.from_pretrained(folder / "scheduler"),
    )


def make_requests(known: Drawings, concepts: Sequence[str], per_concept: int, seed: int) -> list[Request]:
    """Concept by concept; styles in turn among those the concept has, backgrounds equally often in random order."""
    dice = random.Random(seed)
    count = len(concepts) * per_concept
    backgrounds = (list(BACKGROUND_NAMES) * math.ceil(count / len(BACKGROUND_NAMES)))[:count]
    dice.shuffle(backgrounds)
    requests: list[Request] = []
    for concept in concepts:
        styles = [style for name, style in known.labels if name == concept]
        first = dice.randrange(len(styles))
        for k in range(per_concept):
            requests.append(Request(concept, styles[(first + k) % len(styles)], backgrounds[len(requests)]))
    return requests


def chance(known: Drawings, requests: Sequence[Request]) -> dict[str, float]:
    """What guessing would give, for each figure."""
    styles = [sum(name == request.concept for name, _ in known.labels) for request in requests]
    several = [count for count in styles if count > 1]
    answers = len({name for name, _ in known.labels})
    return {
        "background": 1 / len(BACKGROUND_NAMES),
        "style": sum(1 / count for count in several) / max(len(several), 1),
        "concept_top1": 1 / answers,
        "concept_top5": 5 / answers,
    }


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
        with torch.autocast("cpu", torch.bfloat16):
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


def score(
    pictures: Tensor,
    features: Features,
    requests: Sequence[Request],
    known: Drawings,
    references: dict[str, Features],
) -> dict[str, dict]:
    """Every figure of `measure` as a share with its Wilson interval."""
    right: dict[str, list[bool]] = {
        "background": [nearest_background(p) == r.background for p, r in zip(pictures, requests, strict=True)],
        "style": [],
        "concept_top1": [],
        "concept_top5": [],
    }
    for deep, early, request in zip(features.concept, features.style, requests, strict=True):
        reference = references[request.background]
        likeness = reference.concept @ deep  # (drawings,)
        rank = concept_rank(likeness, known, request.concept)
        right["concept_top1"].append(rank < 1)
        right["concept_top5"].append(rank < 5)
        style = nearest_style(likeness + early_likeness(early, reference.style), known, request.concept)
        if style is not None:
            right["style"].append(style == request.style)
    return {name: share(outcomes) for name, outcomes in right.items()}


def concept_rank(similarity: Tensor, known: Drawings, concept: str) -> int:
    """How many concepts score better than the one asked for; similarity (drawings,)"""
    best: dict[str, float] = {}
    for (name, _), value in zip(known.labels, similarity.tolist(), strict=True):
        best[name] = max(value, best.get(name, -1.0))
    return sum(value > best[concept] for value in best.values())


def early_likeness(early: Tensor, references: Tensor) -> Tensor:
    """early (D,), references (drawings, D) -> cosines (drawings,) after standardising over the drawings"""
    mean, scale = references.mean(0), references.std(0).clamp(min=1e-6)
    return normalize((references - mean) / scale, dim=1) @ normalize((early - mean) / scale, dim=0)


def nearest_style(likeness: Tensor, known: Drawings, concept: str) -> str | None:
    """The style of the concept's drawing that is most like; None when the concept has a single style."""
    own = [i for i, (name, _) in enumerate(known.labels) if name == concept]
    return known.labels[own[int(likeness[own].argmax())]][1] if len(own) > 1 else None


def share(outcomes: Sequence[bool]) -> dict[str, float]:
    low, high = wilson(sum(outcomes), len(outcomes))
    return {
        "right": sum(outcomes),
        "of": len(outcomes),
        "share": round(sum(outcomes) / max(len(outcomes), 1), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % by default."""
    if count == 0:
        return 0.0, 1.0
    p = right / count
    centre = p + z * z / (2 * count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return max(0.0, (centre - half) / (1 + z * z / count)), min(1.0, (centre + half) / (1 + z * z / count))


def contact_sheet(pictures: Tensor, path: Path) -> None:
    """12 columns, at most 8 rows, spread evenly over the pictures (N, 3, 128, 128) in [-1, 1]."""
    count = min(len(pictures), SHEET_COLUMNS * SHEET_ROWS)
    chosen = pictures[np.linspace(0, len(pictures) - 1, count).round().astype(int)]
    rows = math.ceil(count / SHEET_COLUMNS)
    sheet = Image.new("RGB", (SHEET_COLUMNS * PICTURE_SIZE, rows * PICTURE_SIZE), "white")
    for (row, column), picture in zip(_cells(rows), chosen, strict=False):
        pixels = ((picture.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
        sheet.paste(Image.fromarray(pixels), (column * PICTURE_SIZE, row * PICTURE_SIZE))
    sheet.save(path)


def _cells(rows: int) -> Iterator[tuple[int, int]]:
    return ((row, column) for row in range(rows) for column in range(SHEET_COLUMNS))
