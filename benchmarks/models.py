"""The models that are measured: the embedded one, and shapes with random weights, whose speed is that of real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.components import Components
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, choose_device, choose_precision, load_host

TOKENIZER = EMBEDDED_MODEL / "tokenizer"
PICTURE = EMBEDDED_MODEL.parent / "samples" / "teapot.png"


@dataclass(frozen=True)
class Shape:
    """Widths of the U-Net's levels (text is attended to on all but the last), of the VAE's, and of the text encoder."""

    levels: tuple[int, ...]
    heads: int
    layers: int
    vae: tuple[int, ...]
    vae_layers: int
    text: int
    text_layers: int


SD15 = Shape((320, 640, 1280, 1280), 8, 2, (128, 256, 512, 512), 2, 768, 12)
NARROW = Shape((64, 128, 256, 256), 8, 2, (32, 64, 128, 128), 2, 192, 4)  # SD 1's layers, a fifth as wide
TINY = Shape((32, 32), 2, 1, (32, 32, 32, 32), 1, 32, 2)


@dataclass(frozen=True)
class Size:
    """What is measured under one name. `side`: of the pictures in pixels, on a CPU and on a GPU."""

    load: Callable[[str, str], DiffusersHost]
    side: tuple[int, int]
    rounds: int
    steps: int  # per round
    growth: int  # steps over which nothing may grow
    warm: int = 1  # rounds that do not count


def shaped(shape: Shape, name: str, side: int, tokenizer_in: Path = TOKENIZER) -> Callable[[str, str], DiffusersHost]:
    """A model of this shape with random weights, and a token table with a row for each of this tokenizer's tokens."""

    def load(device: str, precision: str) -> DiffusersHost:
        tokenizer = CLIPTokenizer.from_pretrained(tokenizer_in, local_files_only=True)
        where = choose_device(device)
        with torch.random.fork_rng(), where:  # a GPU draws the weights in no time
            torch.manual_seed(0)
            unet, vae = unet_of(shape, side), _vae(shape)
            text_encoder = CLIPTextModel(_text_config(shape, tokenizer))
        scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
        parts = Components(unet, vae, text_encoder, tokenizer, scheduler, name)
        return DiffusersHost(parts, where, choose_precision(precision, where))

    return load


def tokenizer_of(rows: int, folder: Path) -> Path:
    """The embedded model's tokenizer with tokens that no text has, until there are `rows` of them."""
    shutil.copytree(TOKENIZER, folder)
    words = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    words |= {f"<|no text has {row}|>": row for row in range(len(words), rows)}
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    return folder


def unet_of(shape: Shape, side: int) -> UNet2DConditionModel:
    last = len(shape.levels) - 1
    return UNet2DConditionModel(
        sample_size=side // 2 ** (len(shape.vae) - 1),
        down_block_types=("CrossAttnDownBlock2D",) * last + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * last,
        block_out_channels=shape.levels,
        layers_per_block=shape.layers,
        cross_attention_dim=shape.text,
        attention_head_dim=shape.heads,
    )


def _vae(shape: Shape) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(shape.vae),
        up_block_types=("UpDecoderBlock2D",) * len(shape.vae),
        block_out_channels=shape.vae,
        layers_per_block=shape.vae_layers,
    )


def _text_config(shape: Shape, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.text,
        intermediate_size=4 * shape.text,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=max(shape.text // 64, 1),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _embedded(device: str, precision: str) -> DiffusersHost:
    return load_host(None, device, precision)


_sd15 = shaped(SD15, "SD 1.5 shape, random weights", 512)
SIZES = {
    "embedded": Size(_embedded, (128, 128), rounds=15, steps=3, growth=2000),
    "sd15": Size(_sd15, (256, 512), rounds=3, steps=1, growth=40, warm=0),
    "sd15-512": Size(_sd15, (512, 512), rounds=3, steps=1, growth=40, warm=0),
    "sd15-gpu": Size(_sd15, (256, 512), rounds=8, steps=3, growth=100, warm=2),
    "tiny": Size(shaped(TINY, "tiny", 64), (64, 64), rounds=2, steps=1, growth=4),
}


@dataclass(frozen=True)
class Bench:
    """A model at one size, and what every question needs of it."""

    size: Size
    name: str
    host: DiffusersHost
    side: int  # of a picture, in pixels
    work: Path  # a folder for what a question writes

    @property
    def device(self) -> torch.device:
        return self.host.device

    @property
    def is_tiny(self) -> bool:
        return self.name == "tiny"

    @property
    def latent_side(self) -> int:
        return self.side // self.host.latent_factor

    def pictures(self, count: int = 1, side: int = 0) -> list[TrainingPicture]:
        """The same picture `count` times, each slightly brighter than the one before, so that all differ."""
        first = load_pictures([PICTURE], side or self.side, side or self.side)[0]
        return [TrainingPicture(first.pixels + i / 1e4, None, first.caption, f"{i}.png") for i in range(count)]


def bench_of(name: str, device: str, precision: str, work: Path) -> Bench:
    size = SIZES[name]
    host = size.load(device, precision)
    return Bench(size, name, host, size.side[host.device.type == "cuda"], work)


def about(bench: Bench) -> dict[str, Any]:
    """What was measured, beside the machine."""
    parts = {"unet": bench.host.parts.unet, "vae": bench.host.parts.vae, "text encoder": bench.host.parts.text_encoder}
    return {
        "model": bench.host.name,
        "side": bench.side,
        "parameters": {name: sum(p.numel() for p in module.parameters()) for name, module in parts.items()},
    }
