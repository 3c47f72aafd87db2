"""A WebUI's data folder with a tiny checkpoint of every family, of what is refused, and a LoRA."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import torch
from safetensors.torch import load_file, save_file

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair
from dreamartist_ext.hosts.families import V_MARK, ZERO_SNR_MARK
from testbed.webui import make_data_folder

from ..family_models import WIDTH_G, WIDTH_L, WIDTH_SD2
from ..models import TEXT_WIDTH, tiny_unet
from .family_checkpoints import ARCHS, family_parts, write_checkpoint, write_refiner

HERE = ("sd1-inpainting", "sd2", "sd2-v", "sd2-inpainting", "sdxl", "sdxl-v", "sdxl-v-ztsnr", "sdxl-inpainting")
WIDTHS = {"sd1": {"clip": TEXT_WIDTH}, "sd2": {"clip": WIDTH_SD2}, "sdxl": {"clip_l": WIDTH_L, "clip_g": WIDTH_G}}
OTHER = 0.5  # by which one layer of "sdxl-other" is smaller than that of "sdxl"


def load(webui, checkpoint):
    """Have the WebUI load it, also where a refiner was loaded last and the setting is the same."""
    loaded = webui.probe("load", name=f"{checkpoint}.safetensors")
    assert loaded == f"{checkpoint}.safetensors", loaded


def kind_of(family):
    return family.split("-")[0]


def write_words(folder):
    """A pair of random vectors for each width."""
    generator = torch.Generator().manual_seed(1)
    written = []
    for kind, widths in WIDTHS.items():
        halves = [
            {key: torch.randn(count, width, generator=generator) for key, width in widths.items()} for count in (3, 4)
        ]
        written += save_pair(EmbeddingPair(f"my{kind}", *halves), folder)
    return written


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
        marks = (V_MARK, ZERO_SNR_MARK) if "ztsnr" in family else ()
        write_checkpoint(parts[family], data / "parts" / family, models / f"{family}.safetensors")
        change(models / f"{family}.safetensors", models / f"{family}.safetensors", marks)
    change(models / "sdxl.safetensors", models / "sdxl-other.safetensors", scale=OTHER)
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
    change(models / "sdxl.safetensors", models / "marked.safetensors", (V_MARK,))


def change(source, target, marks=(), scale=1.0):
    """A checkpoint with marks, and with one layer of another size."""
    tensors = {name: tensor.clone() for name, tensor in load_file(source).items()}
    tensors["model.diffusion_model.out.2.weight"] *= scale
    save_file(tensors | {mark: torch.zeros(1) for mark in marks}, target)
    if source != target:
        shutil.copy(source.with_suffix(".yaml"), target.with_suffix(".yaml"))


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
