"""Every family of Stable Diffusion in its real architecture, tiny and with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from dreamartist_ext.hosts.diffusers.components import Components
from dreamartist_ext.hosts.diffusers.host import DiffusersHost

from .models import END, SCHEDULE, text_config, tiny_components, tiny_unet, tiny_vae, write_tokenizer

WIDTH_SD2, WIDTH_L, WIDTH_G, PROJECTION = 48, 32, 64, 40
FAMILIES = ("sd1", "sd2", "sd2-v", "sdxl", "sdxl-v-ztsnr", "sd1-inpainting", "sd2-inpainting", "sdxl-inpainting")


def components(folder: Path, family: str, write: Callable[[Path], CLIPTokenizer] = write_tokenizer) -> Components:
    """One of FAMILIES; f = 8, 64-pixel pictures. `write` makes the tokenizers of SD 2 and SDXL."""
    kind, *marks = family.split("-")
    channels = 9 if "inpainting" in marks else 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "sd1":
            parts = replace(tiny_components(folder), unet=tiny_unet(in_channels=channels))
        else:
            parts = (sd2 if kind == "sd2" else sdxl)(folder, channels, write)
        if "inpainting" in marks:
            parts = replace(parts, vae=steady_vae(parts.vae.config.scaling_factor))
        shift_output(parts.text_encoder)
    schedule = {"prediction_type": "v_prediction"} if "v" in marks else {}
    schedule |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in marks else {}
    return replace(parts, scheduler=DDIMScheduler(**SCHEDULE, **schedule), name=family)


def host(folder: Path, family: str, clip_skip: int = 1) -> DiffusersHost:
    return DiffusersHost(components(folder, family), torch.device("cpu"), torch.float32, clip_skip)


def sd2(folder: Path, channels: int, write: Callable[[Path], CLIPTokenizer]) -> Components:
    """One encoder in OpenCLIP's manner: pads with "!", exact gelu; linear projections in the U-Net."""
    tokenizer = open_clip_tokenizer(folder / "tokenizer", write)
    unet = tiny_unet(
        in_channels=channels,
        block_out_channels=(32, 64),
        cross_attention_dim=WIDTH_SD2,
        attention_head_dim=[2, 4],
        use_linear_projection=True,
    )
    text = CLIPTextModel(loud_text(tokenizer, WIDTH_SD2, "gelu"))
    return Components(unet, tiny_vae(), text, tokenizer, DDIMScheduler(), "sd2")


def sdxl(folder: Path, channels: int, write: Callable[[Path], CLIPTokenizer]) -> Components:
    """Two encoders, of which the second gives the pooled vector, and sizes."""
    first, second = write(folder / "tokenizer"), open_clip_tokenizer(folder / "tokenizer_2", write)
    unet = tiny_unet(
        in_channels=channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64),
        transformer_layers_per_block=[1, 2],
        cross_attention_dim=WIDTH_L + WIDTH_G,
        attention_head_dim=[2, 4],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=PROJECTION + 6 * 8,
    )
    return Components(
        unet,
        tiny_vae(scaling_factor=0.13025),
        CLIPTextModel(loud_text(first, WIDTH_L, "quick_gelu")),
        first,
        DDIMScheduler(),
        "sdxl",
        CLIPTextModelWithProjection(loud_text(second, WIDTH_G, "gelu")),
        second,
    )


def steady_vae(scaling_factor: float) -> AutoencoderKL:
    """Of a grey picture only the biases are left, and a norm over equal channels gives rounding noise: here the two
    channels of each group differ."""
    vae = tiny_vae(64, scaling_factor)
    for name, weights in vae.named_parameters():
        if ".conv" in name and name.endswith("bias"):
            weights.data = torch.arange(len(weights)) % 2 * 2.0 - 1
    return vae


def shift_output(encoder: CLIPTextModel) -> None:
    """A fresh norm's output has the mean 0, and the WebUI divides by that mean."""
    getattr(encoder, "text_model", encoder).final_layer_norm.bias.data.fill_(0.1)


def loud_text(tokenizer: CLIPTokenizer, width: int, activation: str) -> CLIPTextConfig:
    """Three layers that all change the result visibly."""
    return text_config(
        tokenizer,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=3,
        hidden_act=activation,
        projection_dim=PROJECTION,
        initializer_factor=3.0,
    )


def open_clip_tokenizer(folder: Path, write: Callable[[Path], CLIPTokenizer]) -> CLIPTokenizer:
    """The same tokens; what fills a chunk is token 0, "!"."""
    write(folder)
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | {"pad_token": "!"}))
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token_id == 0
    assert tokenizer.eos_token == END
    return tokenizer
