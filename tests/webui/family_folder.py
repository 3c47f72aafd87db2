"""A WebUI's data folder with a tiny checkpoint of every family, of what is refused, and a LoRA."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import torch
from safetensors.torch import load_file, save_file

from ..family_models import WIDTH_L, WIDTH_SD2
from ..models import tiny_unet
from .conftest import make_data_folder
from .family_checkpoints import ARCHS, family_parts, write_checkpoint, write_refiner

HERE = ("sd2", "sd2-v", "sd1-inpainting", "sd2-inpainting", "sdxl", "sdxl-v")


def write_families(data):
    """A data folder with every checkpoint of this file; returns the parts of HERE by their names."""
    make_data_folder(data)
    settings = json.loads((data / "config.json").read_text())
    # The WebUI fetches SDXL's small decoder for its live previews.
    (data / "config.json").write_text(json.dumps(settings | {"live_previews_enable": False}))
    archs = data / "extensions" / "dreamartist-probe" / "open_clip"
    archs.mkdir()
    for name, arch in ARCHS.items():
        (archs / f"{name}.json").write_text(json.dumps(arch))
    models, parts = data / "models" / "Stable-diffusion", {}
    for family in HERE:
        parts[family] = family_parts(data / "parts" / family, family)
        write_checkpoint(parts[family], data / "parts" / family, models / f"{family}.safetensors")
    write_refused(parts, data / "parts" / "edit", models)
    write_lora(data / "models" / "Lora" / "strong.safetensors")
    return parts


def write_refused(parts, folder, models):
    """What the WebUI loads and we cannot train, in the order of REFUSED."""
    edit = family_parts(folder, "sd1-inpainting")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        edit = replace(edit, unet=tiny_unet(in_channels=8))
    write_checkpoint(edit, folder, models / "edit.safetensors")
    write_refiner(parts["sdxl"], models / "refiner.safetensors")
    save_file({"double_blocks.0.img_attn.qkv.weight": torch.zeros(2, 2)}, models / "flux.safetensors")
    shutil.copy(models / "embedded.yaml", models / "flux.yaml")
    marked = load_file(models / "sdxl.safetensors") | {"v_pred": torch.zeros(1)}
    save_file(marked, models / "marked.safetensors")
    shutil.copy(models / "sdxl.yaml", models / "marked.yaml")


def write_lora(path):
    """A large change of one layer that SDXL and SD 2 both have here, and of the first text encoder of SDXL."""
    path.parent.mkdir(parents=True)
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name, rows, columns in (
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q", 64, 64),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 4 * WIDTH_L, WIDTH_L),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", 4 * WIDTH_SD2, WIDTH_SD2),
    ):
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, columns, generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, 4, generator=generator)
    save_file(tensors, path)
