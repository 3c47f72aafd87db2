"""Small models with random weights, so that tests of the machinery need no trained one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dreamartist_ext.hosts.diffusers.components import Components
from dreamartist_ext.hosts.diffusers.host import DiffusersHost

START, END = "<|startoftext|>", "<|endoftext|>"
TEXT_WIDTH = 32
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer that knows single letters and, so that ids are shorter than letters, the word "cat"."""
    letters = [chr(n) for n in range(33, 127)]
    merges = [("c", "a"), ("ca", "t</w>")]
    tokens = [*letters, *(c + "</w>" for c in letters), *("".join(pair) for pair in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special})
    )
    return CLIPTokenizer.from_pretrained(folder)


def tiny_components(folder: Path, prediction_type: str = "epsilon", seed: int = 0) -> Components:
    """f = 8, 64-pixel pictures, about 0.5 M parameters."""
    tokenizer = write_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet, vae = tiny_unet(), tiny_vae()
        text_encoder = CLIPTextModel(text_config(tokenizer))
    scheduler = DDIMScheduler(**SCHEDULE, prediction_type=prediction_type)
    return Components(unet, vae, text_encoder, tokenizer, scheduler, "tiny")


def tiny_unet(**changes: Any) -> UNet2DConditionModel:
    """Two levels, the first of which sees the text."""
    config = {
        "sample_size": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": [2, 2],
    }
    return UNet2DConditionModel(**config | changes)


def tiny_vae(width: int = 32, scaling_factor: float = 0.18215) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(width,) * 4,
        layers_per_block=1,
        sample_size=64,
        scaling_factor=scaling_factor,
    )


def text_config(tokenizer: CLIPTokenizer, **changes: Any) -> CLIPTextConfig:
    config = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": TEXT_WIDTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return CLIPTextConfig(**config | changes)


def tiny_host(folder: Path, prediction_type: str = "epsilon") -> DiffusersHost:
    return DiffusersHost(tiny_components(folder, prediction_type), torch.device("cpu"), torch.float32)
