"""The parts of a Stable Diffusion as diffusers loads them: text encoders as the WebUI reads them, noise schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ...engine.errors import ModelError
from ...engine.noise import NoiseSchedule, PredictionType
from ..families import ENCODER, ENCODER_G, ENCODER_L
from .text_encoding import PENULTIMATE, Layer, TextEncoder


@dataclass(frozen=True)
class Components:
    """The parts of a Stable Diffusion, and what is known of where it came from. SDXL has two text encoders."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    name: str
    text_encoder_2: CLIPTextModelWithProjection | None = None
    tokenizer_2: CLIPTokenizer | None = None
    file: Path | None = None  # of a checkpoint that is one file


def encoders_of(parts: Components, clip_skip: int) -> tuple[TextEncoder, ...]:
    """The text encoders with the layers that the WebUI reads; clip_skip 1 is what the model was made with.

    Raises ModelError for a clip_skip that the model does not have, or that the WebUI does not know for it.
    """
    layers = int(parts.text_encoder.config.num_hidden_layers)
    if not 1 <= clip_skip <= layers:
        raise ModelError(f"clip_skip must be 1 to {layers} for {parts.name}, got {clip_skip}.")
    if parts.text_encoder_2 is not None:
        first = Layer(clip_skip if clip_skip > 1 else PENULTIMATE, False)
        return (
            TextEncoder(ENCODER_L, parts.text_encoder, parts.tokenizer, first),
            TextEncoder(ENCODER_G, parts.text_encoder_2, parts.tokenizer_2, Layer(PENULTIMATE, False), pooled=True),
        )
    # SD 2's encoder, which pads with a token of its own, comes without its last layer: the penultimate is the last.
    if clip_skip > 1 and parts.tokenizer.pad_token_id != parts.tokenizer.eos_token_id:
        raise ModelError(f"{parts.name} is a Stable Diffusion 2 model, for which the WebUI knows no clip skip.")
    return (TextEncoder(ENCODER, parts.text_encoder, parts.tokenizer, Layer(clip_skip, True)),)


def schedule_of(parts: Components, device: torch.device) -> NoiseSchedule:
    """What the model's own scheduler says; raises ModelError for one that no prediction fits."""
    kind = PredictionType(parts.scheduler.config.prediction_type)
    abar = parts.scheduler.alphas_cumprod.to(device)
    if kind is PredictionType.EPSILON and abar[-1] == 0:
        raise ModelError(
            f"{parts.name} predicts noise, and its last timestep is nothing but noise; such a model draws nothing."
        )
    return NoiseSchedule(abar, kind)
