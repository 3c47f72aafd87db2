"""Small SDXL checkpoints that Forge can load: it has the width of a pooled vector and of a size written down."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from transformers import CLIPTextModelWithProjection

from dreamartist_ext.hosts.diffusers.components import Components
from testbed.model_folder import save_folder

from ..family_models import WIDTH_G, WIDTH_L
from ..models import tiny_unet
from .family_checkpoints import HEAD, family_parts, write_checkpoint

IN_FORGE = ("sdxl", "sdxl-v")
SIZE_WIDTH = 256  # of each of SDXL's six numbers


def forge_parts(folder: Path, family: str) -> Components:
    """As `family_parts`, with a projection as wide as its encoder, and numbers as wide as SDXL's own."""
    parts = family_parts(folder, family)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = parts.text_encoder_2.config.to_dict() | {"projection_dim": WIDTH_G}
        second = CLIPTextModelWithProjection(type(parts.text_encoder_2.config)(**text))
        kept = {key: value for key, value in parts.unet.config.items() if not key.startswith("_")}
        sizes = {
            "addition_time_embed_dim": SIZE_WIDTH,
            "projection_class_embeddings_input_dim": WIDTH_G + 6 * SIZE_WIDTH,
        }
        unet = tiny_unet(**kept | sizes)
    return replace(parts, unet=unet, text_encoder_2=second)


def write_forge_families(models: Path, folder: Path) -> tuple[dict[str, Components], list[dict]]:
    """Their checkpoints; returns their parts, and the row by which `forge_knows.py` tells them."""
    parts = {}
    for family in IN_FORGE:
        parts[family] = forge_parts(folder / family, family)
        write_checkpoint(parts[family], folder / family, models / f"{family}.safetensors")
    configs = save_folder(parts["sdxl"], folder / "configs")
    for name in ("tokenizer", "tokenizer_2"):  # newer transformers merge its files
        shutil.copytree(folder / "sdxl" / name, configs / name, dirs_exist_ok=True)
    told = {
        "model_channels": 32,
        "transformer_depth": [0, 2],
        "context_dim": WIDTH_L + WIDTH_G,
        "adm_in_channels": WIDTH_G + 6 * SIZE_WIDTH,
    }
    return parts, [{"family": "SDXL", "folder": str(configs), "channels of a head": HEAD, "unet": told}]


def knowledge(model: Path, rows: list[dict]) -> str:
    """What `forge_knows.py` reads; `model` is the embedded one's folder."""
    told = {"context_dim": 192, "model_channels": 96}
    own = {"family": "SD15", "folder": str(model), "channels of a head": 32, "unet": told}
    return json.dumps({"words of two encoders": WIDTH_L + WIDTH_G, "models": [own, *rows]})
