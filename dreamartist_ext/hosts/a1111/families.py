"""How the families differ in AUTOMATIC1111: encoders and conditioning of the loaded model.

The WebUI's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...engine.errors import ModelError
from ...engine.host import Cond
from ..families import (
    EDIT_CHANNELS,
    ENCODER,
    ENCODER_G,
    ENCODER_L,
    INPAINTING_CHANNELS,
    PLAIN_CHANNELS,
    PLAIN_SIDE,
    SD2_V_SIDE,
    SDXL_SIDE,
)

SIZE_KEYS = ("original_size_as_tuple", "target_size_as_tuple")
CROP_KEY = "crop_coords_top_left"


def check_trainable(model: Any) -> None:
    """Raises ModelError, in one sentence, for what is not a Stable Diffusion 1, 2 or SDXL, plain or inpainting."""
    if getattr(model, "is_sd3", False):
        raise ModelError("Stable Diffusion 3 cannot be trained here: it is no U-Net.")
    conditioner = getattr(model, "conditioner", None)
    if conditioner is not None and getattr(model, "cond_stage_model", None) is not conditioner:
        raise ModelError("an SDXL refiner only finishes pictures and cannot be trained; choose its base checkpoint.")
    channels = input_channels(model)
    if getattr(model, "cond_stage_key", "") == "edit" or channels == EDIT_CHANNELS:
        raise ModelError("instruct-pix2pix checkpoints cannot be trained; choose a plain or an inpainting one.")
    key = getattr(getattr(model, "model", None), "conditioning_key", "crossattn")
    if key not in ("crossattn", "hybrid") or channels not in (PLAIN_CHANNELS, INPAINTING_CHANNELS):
        raise ModelError("depth, unCLIP and upscaling checkpoints cannot be trained; choose a plain one.")
    if not hasattr(model, "apply_model") or getattr(model, "parameterization", "") not in ("eps", "v"):
        raise ModelError(
            "this kind of checkpoint cannot be trained; choose a Stable Diffusion 1, 2 or SDXL checkpoint."
        )


def check_unet() -> None:
    """Raises ModelError where pictures are drawn by another U-Net than the checkpoint's, as TensorRT's; one that was
    chosen before and is not any more is put away, as the WebUI does before its next picture."""
    from modules import sd_unet

    if getattr(sd_unet, "current_unet", None) is None:
        return
    wanted = sd_unet.get_unet_option()
    if wanted is None:
        sd_unet.apply_unet()
        return
    raise ModelError(
        f"the U-Net {wanted.label}, which is in use, has no gradient; set Settings > Stable Diffusion > SD Unet to "
        "None for the training."
    )


def input_channels(model: Any) -> int:
    """Of the U-Net; plain where it cannot be told."""
    unet = getattr(getattr(model, "model", None), "diffusion_model", None)
    return int(getattr(unet, "in_channels", PLAIN_CHANNELS))


def is_sdxl(model: Any) -> bool:
    return hasattr(model, "conditioner")


def text_encoders(model: Any) -> dict[str, Any]:
    """The WebUI's own encoders by the names of their halves of an embedding."""
    if not is_sdxl(model):
        return {ENCODER: model.cond_stage_model}
    encoders = [e for e in model.conditioner.embedders if hasattr(e, "encode_embedding_init_text")]
    return dict(zip((ENCODER_L, ENCODER_G), encoders, strict=True))


def vocabulary(encoder: nn.Module) -> nn.Embedding:
    """The token vectors: wrapped by the WebUI, at a place of its own in each family; positions are far fewer."""
    return max((m for m in encoder.modules() if isinstance(m, nn.Embedding)), key=lambda m: m.num_embeddings)


def encoded(model: Any, prompts: Sequence[str]) -> Cond:
    """What the WebUI's encoders make of prompts, with a gradient; of SDXL's `vector` the pooled part only.

    The WebUI's conditioner would cut the gradient: it calls its encoders without.
    """
    if not is_sdxl(model):
        return model.cond_stage_model(list(prompts))
    states, pooled = [], []
    for encoder in text_encoders(model).values():
        output = encoder(list(prompts))
        states.append(output[0] if isinstance(output, tuple) else output)
        pooled += list(output[1:]) if isinstance(output, tuple) else []
    return {"crossattn": torch.cat(states, dim=2), "vector": torch.cat(pooled, dim=1)}


def size_vectors(model: Any, height: int, width: int) -> Tensor:
    """The rest of SDXL's `vector` for a picture of this size in pixels, (1, ...), in the conditioner's order."""
    from modules import devices, shared

    values = dict.fromkeys(SIZE_KEYS, (height, width))
    values[CROP_KEY] = (shared.opts.sdxl_crop_top, shared.opts.sdxl_crop_left)
    parts = [
        embedder(torch.tensor([values[embedder.input_key]], device=devices.device, dtype=devices.dtype))
        for embedder in model.conditioner.embedders
        if getattr(embedder, "input_key", None) in values
    ]
    return torch.cat(parts, dim=1)


def model_input(model: Any, cond: Cond, size: tuple[int, int], context: Tensor | None, kind: torch.dtype) -> Any:
    """The conditioning in the form that `apply_model` takes, in the U-Net's precision.

    size is the picture's in pixels, context (B, 5, h, w) an inpainting model's.
    """
    concat = {} if context is None else {"c_concat": [context.to(kind)]}
    if not is_sdxl(model):
        return {"c_crossattn": [cond.to(kind)], **concat}
    pooled = cond["vector"]
    sizes = size_vectors(model, *size).to(pooled).expand(len(pooled), -1)
    return {
        "crossattn": cond["crossattn"].to(kind),
        "vector": torch.cat([pooled, sizes], dim=1).to(kind),
        **concat,
    }


def picture_size(model: Any) -> int:
    """The side in pixels of the pictures that the model was made for."""
    if is_sdxl(model):
        return SDXL_SIDE
    side = 8 * int(getattr(model, "image_size", PLAIN_SIDE // 8))
    is_large = side == PLAIN_SIDE and getattr(model, "is_sd2", False) and model.parameterization == "v"
    return SD2_V_SIDE if is_large else side


def settings_text(model: Any) -> str:
    """The user's settings that change what the model computes, as far as they are not the usual ones."""
    from modules import shared

    opts, parts = shared.opts, []
    if opts.sd_noise_schedule != "Default":
        parts.append(str(opts.sd_noise_schedule))
    if opts.use_downcasted_alpha_bar:
        parts.append("downcast schedule")
    if is_sdxl(model) and opts.sdxl_clip_l_skip:
        parts.append("clip_l skip")
    if is_sdxl(model) and (opts.sdxl_crop_top or opts.sdxl_crop_left):
        parts.append(f"crop {opts.sdxl_crop_top} {opts.sdxl_crop_left}")
    return "".join(f" {part}" for part in parts)
