"""Small SDXL checkpoints that Forge can load: it has the width of a pooled vector and of a size written down."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from transformers import CLIPTextModelWithProjection

import testbed
from dreamartist_ext.hosts.diffusers.components import Components
from testbed.embedded import WIDTH as EMBEDDED_WIDTH
from testbed.model_folder import save_folder

from ..family_models import WIDTH_G, WIDTH_L
from ..models import tiny_unet
from .family_checkpoints import HEAD, family_parts, write_checkpoint

IN_FORGE = ("sdxl", "sdxl-v")
SIZE_WIDTH = 256  # of each of SDXL's six numbers


def forge_parts(folder: Path, family: str) -> Components:
    """As `family_parts`, with a projection as wide as its encoder and numbers as wide as SDXL's own. Forge keeps text
    encoders in half precision, on a CPU too: here these have no numbers that it would round."""
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
    for encoder in (parts.text_encoder, second):
        encoder.half().float()
    return replace(parts, unet=unet, text_encoder_2=second)


def write_forge_families(data: Path, embedded: Path) -> None:
    """Their checkpoints in a WebUI's data folder, and the extension that tells Forge of them and of the embedded model,
    whose folder is given."""
    models, folder = data / "models" / "Stable-diffusion", data / "parts"
    for family in IN_FORGE:
        parts = forge_parts(folder / family, family)
        write_checkpoint(parts, folder / family, models / f"{family}.safetensors")
    configs = save_folder(parts, folder / "configs")
    for name in ("tokenizer", "tokenizer_2"):  # newer transformers merge its files
        shutil.copytree(folder / family / name, configs / name, dirs_exist_ok=True)
    sdxl = {
        "model_channels": 32,
        "transformer_depth": [0, 2],
        "context_dim": WIDTH_L + WIDTH_G,
        "adm_in_channels": WIDTH_G + 6 * SIZE_WIDTH,
    }
    sd1 = {"context_dim": EMBEDDED_WIDTH, "model_channels": 96}
    rows = [
        {"family": "SD15", "folder": str(embedded), "channels of a head": 32, "unet": sd1},
        {"family": "SDXL", "folder": str(configs), "channels of a head": HEAD, "unet": sdxl},
    ]
    scripts = data / "extensions" / "dreamartist-probe" / "scripts"
    shutil.copy(Path(testbed.__file__).with_name("forge_knows.py"), scripts)
    known = {"words of two encoders": WIDTH_L + WIDTH_G, "models": rows}
    (scripts / "forge_knows.json").write_text(json.dumps(known))
