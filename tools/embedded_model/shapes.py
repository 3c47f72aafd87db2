"""Sizes and noise schedule of the embedded model, as diffusers and transformers objects.

Every width is an integer multiple of the first one: the original (ldm) code that the WebUI runs
multiplies `model_channels` by whole numbers only.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

PICTURE_SIZE = 128
LATENT_SIZE = PICTURE_SIZE // 8
TEXT_WIDTH = 192
HEAD_WIDTH = 32
TOKENS = 77
TIMESTEPS = 1000
# SD ends at 0.012; on 16x16 latents its last step still shows the picture's mean colour.
BETA_START, BETA_END = 0.00085, 0.020


def make_vae() -> AutoencoderKL:
    """f = 8, four latent channels; 96 channels give each of the 32 groups three (a flat colour survives)."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(96, 96, 96, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=PICTURE_SIZE,
    )


def make_unet(widths: tuple[int, ...] = (96, 192), attention: tuple[int, ...] = (1,)) -> UNet2DConditionModel:
    """One residual layer per block; `attention` names the levels that see the text."""
    levels = range(len(widths))
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        down_block_types=tuple("CrossAttnDownBlock2D" if i in attention else "DownBlock2D" for i in levels),
        up_block_types=tuple("CrossAttnUpBlock2D" if i in attention else "UpBlock2D" for i in reversed(levels)),
        block_out_channels=widths,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=[width // HEAD_WIDTH for width in widths],  # diffusers' name for the number of heads
        norm_num_groups=32,
    )


def make_text_encoder(vocabulary: int, start: int, end: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=4,
            num_attention_heads=TEXT_WIDTH // HEAD_WIDTH,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            projection_dim=TEXT_WIDTH,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def make_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
        timestep_spacing="trailing",  # the first step is the noisiest timestep, which decides layout and colour
    )


def alphas_cumprod() -> torch.Tensor:
    """(TIMESTEPS,) float32"""
    return make_scheduler().alphas_cumprod
