"""The trained parts as one model folder in diffusers' layout, in half precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from dreamartist_ext.files.atomic import write_all_atomically
from dreamartist_ext.hosts.diffusers.ldm_config import MODEL_INDEX
from dreamartist_ext.hosts.diffusers.single_file import TEXT_CONFIG

from .shapes import make_scheduler, make_text_encoder, make_unet, make_vae

MAX_BYTES = 45_000_000
# What shapes.py chooses. Everything else is the default of old and new diffusers alike, and stays out of the files.
UNET_CONFIG = (
    "sample_size in_channels out_channels down_block_types up_block_types block_out_channels layers_per_block "
    "cross_attention_dim attention_head_dim norm_num_groups"
)
VAE_CONFIG = (
    "sample_size in_channels out_channels down_block_types up_block_types block_out_channels layers_per_block "
    "latent_channels norm_num_groups scaling_factor"
)
SCHEDULER_CONFIG = (
    "num_train_timesteps beta_start beta_end beta_schedule clip_sample set_alpha_to_one steps_offset "
    "prediction_type timestep_spacing"
)
TOKENIZER_FILES = ("vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")


def export(work: Path, out: Path) -> None:
    """Write the model folder `out` from the moving averages in `work`.

    Reads unet.pt, vae.safetensors, latents.safetensors (the scaling factor) and tokenizer/.
    Raises ValueError, before anything is written, when the folder would exceed MAX_BYTES.
    """
    snapshot = torch.load(work / "unet.pt", weights_only=True, map_location="cpu")
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    unet = make_unet(tuple(snapshot["widths"]), tuple(snapshot["attention"]))
    text = make_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    for parameter, averaged in zip([*unet.parameters(), *text.parameters()], snapshot["ema"], strict=True):
        parameter.data.copy_(averaged)
    vae = make_vae()
    vae.load_state_dict(load_file(work / "vae.safetensors"))
    vae.register_to_config(scaling_factor=load_file(work / "latents.safetensors")["scaling_factor"].item())

    write_folder(out, unet, vae, text, work / "tokenizer")
    print(f"step {snapshot['step']}, scaling factor {vae.config.scaling_factor:.4f}")


def write_folder(out: Path, unet: ConfigMixin, vae: ConfigMixin, text: CLIPTextModel, tokenizer: Path) -> None:
    """A model folder in half precision; raises ValueError, before anything is written, when it would be too large."""
    contents = {
        "unet/config.json": _library_config(unet, UNET_CONFIG),
        "unet/diffusion_pytorch_model.safetensors": _half(unet.state_dict()),
        "vae/config.json": _library_config(vae, VAE_CONFIG),
        "vae/diffusion_pytorch_model.safetensors": _half(vae.state_dict()),
        "text_encoder/config.json": _text_config(text.config.to_dict()),
        "text_encoder/model.safetensors": _half(_classic_names(text.state_dict())),
        "scheduler/scheduler_config.json": _library_config(make_scheduler(), SCHEDULER_CONFIG),
        **{f"tokenizer/{name}": (tokenizer / name).read_bytes() for name in TOKENIZER_FILES},
        "model_index.json": _json(MODEL_INDEX),
    }
    size = sum(len(content) for content in contents.values())
    if size > MAX_BYTES:
        raise ValueError(f"the model must have at most {MAX_BYTES:,} bytes, got {size:,}")
    shutil.rmtree(out, ignore_errors=True)  # no file of an earlier export stays behind
    write_all_atomically({out / name: content for name, content in contents.items()})
    print(f"{out.name}: {size:,} bytes")


def _library_config(model: ConfigMixin, names: str) -> bytes:
    head = {"_class_name": type(model).__name__, "_diffusers_version": MODEL_INDEX["_diffusers_version"]}
    return _json(head | {name: model.config[name] for name in names.split()})


def _text_config(config: dict[str, Any]) -> bytes:
    config["architectures"] = ["CLIPTextModel"]
    return _json({name: config[name] for name in TEXT_CONFIG.split()})


def _classic_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers before 5.6 knows the names with `text_model.` only; newer versions read both."""
    return {name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in tensors.items()}


def _half(tensors: dict[str, Tensor]) -> bytes:
    halves = {name: tensor.half().contiguous() for name, tensor in tensors.items() if tensor.is_floating_point()}
    for name, tensor in halves.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} does not fit into half precision")
    return save(halves, {"format": "pt"})


def _json(config: dict[str, Any]) -> bytes:
    return (json.dumps(config, indent=2) + "\n").encode()
