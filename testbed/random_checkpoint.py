"""Random weights in SD 1.5's layout and widths, with two levels: Forge and reForge take them for SD 1.5 unpatched."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

# CLIP's own tokenizer, which comes with the WebUI.
TOKENIZERS = (
    "backend/huggingface/runwayml/stable-diffusion-v1-5/tokenizer",
    "ldm_patched/modules/sd1_tokenizer",
)
TEXT = {"vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "projection_dim": 768}
TEXT |= {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "quick_gelu"}
TEXT |= {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}


def tokenizer_of(home: Path) -> Path:
    return next(home / place for place in TOKENIZERS if (home / place).is_dir())


def write_random(tokenizer: Path, out: Path) -> None:
    """In diffusers' layout: some 310 million parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640),
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
            layers_per_block=1,
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )
        encoder = CLIPTextModel(CLIPTextConfig(**TEXT))
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    words = CLIPTokenizer.from_pretrained(tokenizer)
    StableDiffusionPipeline(
        vae, encoder, words, unet, scheduler, None, None, requires_safety_checker=False
    ).save_pretrained(out)
    shutil.copytree(tokenizer, out / "tokenizer", dirs_exist_ok=True)  # newer transformers merge its files
