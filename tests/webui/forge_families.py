"""Small checkpoints of every family that Forge can load: it has the width of SDXL's pooled vector and of a size
written down, and tells families by widths that exist."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTextModelWithProjection

import testbed
from dreamartist_ext.hosts.diffusers.components import Components
from testbed.embedded import WIDTH as EMBEDDED_WIDTH
from testbed.model_folder import save_folder

from ..family_models import WIDTH_G, WIDTH_L
from ..models import tiny_unet
from .family_checkpoints import HEAD, family_parts, write_checkpoint

IN_FORGE = ("sd1-inpainting", "sd2", "sd2-v", "sd2-inpainting", "sdxl", "sdxl-v", "sdxl-inpainting")
CLASSES = {"sd1": "SD15", "sd2": "SD20", "sdxl": "SDXL"}  # of Forge
SIZE_WIDTH = 256  # of each of SDXL's six numbers


def forge_parts(folder: Path, family: str) -> Components:
    """As `family_parts`. Forge keeps text encoders in half precision, on a CPU too: here these have no numbers that it
    would round."""
    parts = family_parts(folder, family)
    parts = parts if parts.text_encoder_2 is None else with_wide_numbers(parts)
    for encoder in (parts.text_encoder, parts.text_encoder_2):
        if encoder is not None:
            encoder.half().float()
    return parts


def with_wide_numbers(parts: Components) -> Components:
    """SDXL with a projection as wide as its encoder, and numbers as wide as SDXL's own."""
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


def row(parts: Components, configs: Path) -> dict[str, Any]:
    """What Forge has to be told of a model: see `testbed.forge_knows`."""
    kind, unet = parts.name.split("-")[0], parts.unet.config
    known = {"in_channels": unet.in_channels, "context_dim": unet.cross_attention_dim, "model_channels": 32}
    if kind == "sdxl":
        known |= {"transformer_depth": [0, 2], "adm_in_channels": unet.projection_class_embeddings_input_dim}
    return {"family": CLASSES[kind], "folder": str(configs), "channels of a head": HEAD, "unet": known}


def write_forge_families(data: Path, embedded: Path) -> None:
    """Their checkpoints in a WebUI's data folder, and the extension that tells Forge of them and of the embedded model,
    whose folder is given."""
    models, folder = data / "models" / "Stable-diffusion", data / "parts"
    sd1 = {"in_channels": 4, "context_dim": EMBEDDED_WIDTH, "model_channels": 96}
    rows = [{"family": "SD15", "folder": str(embedded), "channels of a head": 32, "unet": sd1}]
    for family in IN_FORGE:
        parts = forge_parts(folder / family, family)
        write_checkpoint(parts, folder / family, models / f"{family}.safetensors")
        if family.endswith("-v"):
            continue  # by the same configurations: the checkpoint's YAML says what it predicts
        configs = save_folder(parts, folder / f"{family}-configs")
        for tokenizer in (folder / family).glob("tokenizer*"):  # newer transformers merge its files
            shutil.copytree(tokenizer, configs / tokenizer.name, dirs_exist_ok=True)
        rows.append(row(parts, configs))
    scripts = data / "extensions" / "dreamartist-probe" / "scripts"
    shutil.copy(Path(testbed.__file__).with_name("forge_knows.py"), scripts)
    (scripts / "forge_knows.json").write_text(json.dumps({"words of two encoders": WIDTH_L + WIDTH_G, "models": rows}))
