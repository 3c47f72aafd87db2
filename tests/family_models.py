"""Every family of Stable Diffusion in its real architecture, tiny and with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from dreamartist_ext.hosts.diffusers import Components, DiffusersHost

from .models import END, save_folder, tiny_components, write_tokenizer

WIDTH_SD2, WIDTH_L, WIDTH_G, PROJECTION = 48, 32, 64, 40
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
FAMILIES = ("sd1", "sd2", "sd2-v", "sdxl", "sdxl-v-ztsnr", "sd1-inpainting", "sd2-inpainting", "sdxl-inpainting")


def components(folder: Path, family: str, write: Callable[[Path], CLIPTokenizer] = write_tokenizer) -> Components:
    """One of FAMILIES; f = 8, 64-pixel pictures. `write` makes the tokenizers of SD 2 and SDXL."""
    kind, *marks = family.split("-")
    channels = 9 if "inpainting" in marks else 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "sd1":
            parts = tiny_components(folder)
            return replace(parts, unet=unet_like(parts.unet, in_channels=channels), name=family)
        parts = (sd2 if kind == "sd2" else sdxl)(folder, channels, write)
    schedule = {"prediction_type": "v_prediction"} if "v" in marks else {}
    schedule |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in marks else {}
    return replace(parts, scheduler=DDIMScheduler(**SCHEDULE, **schedule), name=family)


def host(folder: Path, family: str, clip_skip: int = 1) -> DiffusersHost:
    return DiffusersHost(components(folder, family), torch.device("cpu"), torch.float32, clip_skip)


def unet_like(unet: UNet2DConditionModel, **changes) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_config(dict(unet.config) | changes)


def sd2(folder: Path, channels: int, write: Callable[[Path], CLIPTokenizer]) -> Components:
    """One encoder in OpenCLIP's manner: pads with "!", exact gelu; linear projections in the U-Net."""
    tokenizer = open_clip_tokenizer(folder / "tokenizer", write)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=WIDTH_SD2,
        attention_head_dim=[2, 4],
        use_linear_projection=True,
    )
    text = CLIPTextModel(text_config(tokenizer, WIDTH_SD2, "gelu"))
    return Components(unet, small_vae(0.18215), text, tokenizer, DDIMScheduler(), "sd2")


def sdxl(folder: Path, channels: int, write: Callable[[Path], CLIPTokenizer]) -> Components:
    """Two encoders, of which the second gives the pooled vector, and sizes."""
    first, second = write(folder / "tokenizer"), open_clip_tokenizer(folder / "tokenizer_2", write)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
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
        small_vae(0.13025),
        CLIPTextModel(text_config(first, WIDTH_L, "quick_gelu")),
        first,
        DDIMScheduler(),
        "sdxl",
        CLIPTextModelWithProjection(text_config(second, WIDTH_G, "gelu")),
        second,
    )


def small_vae(scaling_factor: float) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32,) * 4,
        layers_per_block=1,
        sample_size=64,
        scaling_factor=scaling_factor,
    )


def text_config(tokenizer: CLIPTokenizer, width: int, activation: str, layers: int = 3) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        hidden_act=activation,
        projection_dim=PROJECTION,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
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


def save_family(parts: Components, folder: Path) -> Path:
    """The model in diffusers' folder layout."""
    save_folder(parts, folder)
    if parts.text_encoder_2 is not None:
        parts.text_encoder_2.save_pretrained(folder / "text_encoder_2")
        parts.tokenizer_2.save_pretrained(folder / "tokenizer_2")
        index = json.loads((folder / "model_index.json").read_text())
        index |= {
            "_class_name": "StableDiffusionXLPipeline",
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
        }
        (folder / "model_index.json").write_text(json.dumps(index))
    return folder
