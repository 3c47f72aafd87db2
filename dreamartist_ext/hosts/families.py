"""Which Stable Diffusion a model is, told by its configuration or by the names of its tensors; what is no use here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..engine.errors import ModelError
from ..engine.family import SDXL_KEYS

ENCODER = "clip"  # the one text encoder of SD 1 and SD 2
ENCODER_L, ENCODER_G = SDXL_KEYS
PLAIN_CHANNELS, INPAINTING_CHANNELS, EDIT_CHANNELS = 4, 9, 8  # of the U-Net's input
V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"  # empty tensors by which finetunes of SDXL say what they are
PLAIN_SIDE, SD2_V_SIDE, SDXL_SIDE = 512, 768, 1024  # pixels: of the pictures that a family was made for
_UNET = "model.diffusion_model."
FIRST_CONVOLUTION = f"{_UNET}input_blocks.0.0.weight"


def check_folder(index: Mapping[str, Any], unet: Mapping[str, Any], name: str) -> None:
    """Raises ModelError for a folder in diffusers' layout whose model cannot be trained: model_index.json and the
    U-Net's config.json."""
    kind = str(index.get("_class_name", ""))
    if "transformer" in index or "unet" not in index:
        raise ModelError(
            f"{name} ({kind or 'no pipeline that is known'}) has no U-Net, and cannot be trained; "
            "choose a Stable Diffusion 1, 2 or SDXL model."
        )
    has = {part: bool((index.get(part) or [None])[0]) for part in ("text_encoder", "text_encoder_2")}
    if has["text_encoder_2"] and not has["text_encoder"]:
        raise ModelError(f"{name} is an SDXL refiner, which only finishes pictures; train on its base model.")
    check_channels(int(unet.get("in_channels") or 0), name)
    wanted = "text_time" if has["text_encoder_2"] else None
    if unet.get("addition_embed_type") != wanted or unet.get("class_embed_type") is not None:
        raise ModelError(
            f"{name} takes conditioning other than text, and cannot be trained; "
            "choose a plain Stable Diffusion 1, 2 or SDXL model."
        )


def check_channels(channels: int, name: str) -> None:
    """Raises ModelError for a U-Net whose input is neither plain latents nor those of an inpainting model."""
    if channels == EDIT_CHANNELS:
        raise ModelError(f"{name} is an instruct-pix2pix model, which edits by instructions; it cannot be trained.")
    if channels not in (PLAIN_CHANNELS, INPAINTING_CHANNELS):
        raise ModelError(f"{name} takes {channels} input channels (a depth or upscaling model?); it cannot be trained.")


def check_tensors(shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
    """Raises ModelError for a single-file checkpoint that cannot be trained, by its tensors' names and shapes."""
    if f"{_UNET}x_embedder.proj.weight" in shapes:
        raise ModelError(f"{name} is a Stable Diffusion 3 checkpoint, which has no U-Net and cannot be trained.")
    check_not_flux(shapes, name)
    if FIRST_CONVOLUTION not in shapes:
        raise ModelError(f"{name} is not a Stable Diffusion checkpoint: it has no U-Net.")
    if "conditioner.embedders.0.model.ln_final.weight" in shapes:
        raise ModelError(f"{name} is an SDXL refiner, which only finishes pictures; train on its base model.")
    check_channels(shapes[FIRST_CONVOLUTION][1], name)


def check_not_flux(names: Iterable[str], name: str) -> None:
    """Raises ModelError for a file with tensors of these names that is a Flux checkpoint."""
    if any("double_blocks." in key for key in names):
        raise ModelError(f"{name} is a Flux checkpoint, which has no U-Net and cannot be trained.")
