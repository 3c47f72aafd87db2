"""Stable Diffusion 1's shape in several widths, with random weights, whose speed is that of real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreamartist_ext.hosts.diffusers.components import Components
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, choose_device, choose_precision

TOKENIZER = EMBEDDED_MODEL / "tokenizer"
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}


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


def shaped(shape: Shape, name: str, side: int, tokenizer_in: Path = TOKENIZER) -> Callable[[str, str], DiffusersHost]:
    """A model of this shape with random weights, and a token table with a row for each of this tokenizer's tokens."""

    def load(device: str, precision: str) -> DiffusersHost:
        tokenizer = CLIPTokenizer.from_pretrained(tokenizer_in, local_files_only=True)
        where = choose_device(device)
        with torch.random.fork_rng(), where:  # a GPU draws the weights in no time
            torch.manual_seed(0)
            unet, vae = unet_of(shape, side), vae_of(shape.vae, shape.vae_layers)
            heads = max(shape.text // 64, 1)
            text_encoder = CLIPTextModel(text_config(tokenizer, shape.text, shape.text_layers, heads))
        parts = Components(unet, vae, text_encoder, tokenizer, DDIMScheduler(**SCHEDULE), name)
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


def vae_of(levels: tuple[int, ...], layers: int, **config: float) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(levels),
        up_block_types=("UpDecoderBlock2D",) * len(levels),
        block_out_channels=levels,
        layers_per_block=layers,
        **config,
    )


def text_config(tokenizer: CLIPTokenizer, width: int, layers: int, heads: int, **more: str | int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **more,
    )
