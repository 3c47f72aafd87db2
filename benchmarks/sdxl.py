"""SDXL's shape with random weights: two text encoders, transformers of several layers, a size for every picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from dreamartist_ext.hosts.diffusers.components import Components
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import choose_device, choose_precision

from .shapes import SCHEDULE, TOKENIZER, text_config, vae_of

PICTURE_NUMBERS = 6  # that tell the U-Net the picture's size, place and target


@dataclass(frozen=True)
class Text:
    """A text encoder. `projection`: the width of its pooled vector."""

    width: int
    layers: int
    heads: int
    activation: str
    projection: int


@dataclass(frozen=True)
class ShapeXL:
    """Widths of the U-Net's levels, and how many layers each level's transformers have (0: none), the VAE's widths."""

    levels: tuple[int, ...]
    transformers: tuple[int, ...]
    head: int  # width of one
    layers: int
    numbers: int  # width of what one of PICTURE_NUMBERS becomes
    vae: tuple[int, ...]
    vae_layers: int
    first: Text
    second: Text


SDXL = ShapeXL(
    (320, 640, 1280),
    (0, 2, 10),
    64,
    2,
    256,
    (128, 256, 512, 512),
    2,
    Text(768, 12, 12, "quick_gelu", 768),
    Text(1280, 32, 20, "gelu", 1280),
)
TINY_XL = ShapeXL(
    (32, 64), (0, 2), 16, 1, 8, (32, 32, 32, 32), 1, Text(32, 2, 1, "quick_gelu", 32), Text(64, 2, 1, "gelu", 40)
)


def shaped_xl(shape: ShapeXL, name: str, side: int) -> Callable[[str, str], DiffusersHost]:
    """A model of this shape, as `shapes.shaped` makes one."""

    def load(device: str, precision: str) -> DiffusersHost:
        tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER, local_files_only=True)
        where = choose_device(device)
        with torch.random.fork_rng(), where:  # a GPU draws the weights in no time
            torch.manual_seed(0)
            unet, vae = _unet(shape, side), vae_of(shape.vae, shape.vae_layers, scaling_factor=0.13025)
            first = CLIPTextModel(_text_config(shape.first, tokenizer))
            second = CLIPTextModelWithProjection(_text_config(shape.second, tokenizer))
        parts = Components(unet, vae, first, tokenizer, DDIMScheduler(**SCHEDULE), name, second, tokenizer)
        return DiffusersHost(parts, where, choose_precision(precision, where))

    return load


def _unet(shape: ShapeXL, side: int) -> UNet2DConditionModel:
    attends = [count > 0 for count in shape.transformers]
    return UNet2DConditionModel(
        sample_size=side // 2 ** (len(shape.vae) - 1),
        down_block_types=["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in attends],
        up_block_types=["CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)],
        block_out_channels=shape.levels,
        layers_per_block=shape.layers,
        transformer_layers_per_block=[max(count, 1) for count in shape.transformers],
        attention_head_dim=[width // shape.head for width in shape.levels],  # how many heads, whatever its name says
        cross_attention_dim=shape.first.width + shape.second.width,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=shape.numbers,
        projection_class_embeddings_input_dim=shape.second.projection + PICTURE_NUMBERS * shape.numbers,
    )


def _text_config(text: Text, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    more = {"hidden_act": text.activation, "projection_dim": text.projection}
    return text_config(tokenizer, text.width, text.layers, text.heads, **more)
