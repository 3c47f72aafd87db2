"""Which model Forge has loaded, and why one cannot be trained.

Forge loads a checkpoint only when the first picture is asked for. It keeps the loaded model apart from the patched one
that drew the last picture. Its modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...engine.errors import ModelError
from ...engine.noise import NoiseSchedule, PredictionType
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

# Forge's words; "eps" is newmain_newforge's.
DRAWS = {"epsilon": PredictionType.EPSILON, "eps": PredictionType.EPSILON, "v_prediction": PredictionType.V}
LOW_BITS = 'set "Diffusion in Low Bits", at the top of the page, to Automatic and choose a checkpoint in fp16 or bf16'
OTHERS = {"StableDiffusion3": "Stable Diffusion 3", "Flux": "Flux", "Chroma": "Chroma"}  # its classes


def loaded_model() -> Any:
    """The model that Forge has in memory, or None: before the first picture it has a stand-in for one."""
    from modules import sd_models

    model = sd_models.model_data.sd_model
    return model if getattr(model, "forge_objects_original", None) is not None else None


def chosen_checkpoint() -> Any:
    """What Forge knows of the checkpoint that its next picture is drawn with, or None where there is none."""
    from modules import sd_models

    return sd_models.model_data.forge_loading_parameters.get("checkpoint_info")


def is_chosen(model: Any) -> bool:
    """Whether the next picture is drawn with this very model: another checkpoint, VAE or precision is another one."""
    from modules import sd_models

    data = sd_models.model_data
    return model is not None and data.forge_hash == str(data.forge_loading_parameters)


def load_chosen(webui: str) -> Any:
    """The chosen checkpoint, loaded as for a picture; call it while holding the queue's lock. Raises ModelError."""
    from modules import sd_models

    chosen = chosen_checkpoint()
    if chosen is None:
        raise ModelError(f"{webui} has no checkpoint; choose one at the top of the page first.")
    name = chosen.name_for_extra
    try:
        model, _ = sd_models.forge_model_reload()
    except Exception as error:  # whatever its loader comes to with a file that it does not know
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".!")
        raise ModelError(f"{webui} cannot load {name} ({reason}); choose another checkpoint.") from error
    if model is None:  # another one failed to load before, and this one is taken for loaded
        raise ModelError(f"{webui} has lost {name}; choose another checkpoint at the top of the page, then this one.")
    return model


def check_trainable(model: Any, webui: str) -> None:
    """Raises ModelError, in one sentence, for what is not a Stable Diffusion 1, 2 or SDXL, plain or inpainting."""
    name = model.sd_checkpoint_info.name_for_extra
    if not any(getattr(model, family, False) for family in ("is_sd1", "is_sd2", "is_sdxl")):
        kind = OTHERS.get(type(model).__name__, type(model).__name__)
        raise ModelError(
            f"{name} is {kind} to {webui}, and only Stable Diffusion 1, 2 and SDXL can be trained; choose one of those."
        )
    if not text_engines(model):
        raise ModelError(f"{name} is an SDXL refiner, which only finishes pictures; choose its base checkpoint.")
    kmodel = model.forge_objects_original.unet.model
    kind = getattr(kmodel.predictor, "prediction_type", "")
    if kind not in DRAWS or not hasattr(kmodel.predictor, "alphas_cumprod"):
        raise ModelError(
            f"{name} predicts neither noise nor v ({kind or 'unknown'} to {webui}), and can be trained with neither; "
            "choose another checkpoint."
        )
    channels = input_channels(model)
    if channels == EDIT_CHANNELS:
        raise ModelError(f"{name} is an instruct-pix2pix model; choose a plain or an inpainting checkpoint.")
    if channels not in (PLAIN_CHANNELS, INPAINTING_CHANNELS):
        raise ModelError(f"{name} takes {channels} input channels (a depth or upscaling model?); choose a plain one.")
    if quantised := quantised_kind(kmodel):
        raise ModelError(f"{webui} keeps {name} in {quantised}, which has no gradient; {LOW_BITS}.")


def quantised_kind(kmodel: Any) -> str:
    """What the weights are packed in that torch computes no gradient through, or nothing. 8-bit floats are no such."""
    stored = kmodel.storage_dtype
    if not isinstance(stored, torch.dtype):
        return str(stored)
    odd = [p for p in kmodel.diffusion_model.parameters() if not p.is_floating_point() or type(p) is not nn.Parameter]
    return type(odd[0]).__name__ if odd and type(odd[0]) is not nn.Parameter else str(odd[0].dtype) if odd else ""


def text_engines(model: Any) -> dict[str, Any]:
    """Forge's text engines by the names of their halves of an embedding; empty for a refiner, which lacks one."""
    if not is_sdxl(model):
        engine = getattr(model, "text_processing_engine", None)
        return {} if engine is None else {ENCODER: engine}
    pair = {key: getattr(model, f"text_processing_engine_{key[-1]}", None) for key in (ENCODER_L, ENCODER_G)}
    return pair if all(engine is not None for engine in pair.values()) else {}


def is_sdxl(model: Any) -> bool:
    return bool(getattr(model, "is_sdxl", False))


def input_channels(model: Any) -> int:
    """Of the U-Net."""
    return int(model.forge_objects_original.unet.model.diffusion_model.in_channels)


def picture_size(model: Any) -> int:
    """The side in pixels of the pictures that the model was made for, as far as the family tells."""
    if is_sdxl(model):
        return SDXL_SIDE
    is_v = model.forge_objects_original.unet.model.predictor.prediction_type == "v_prediction"
    return SD2_V_SIDE if getattr(model, "is_sd2", False) and is_v else PLAIN_SIDE


def ends_in_noise(model: Any) -> bool:
    """Whether pictures are drawn with zero terminal SNR: by the checkpoint's own mark, or the setting."""
    from modules import shared

    return bool(getattr(model.model_config, "ztsnr", False)) or shared.opts.sd_noise_schedule == "Zero Terminal SNR"


def schedule_of(model: Any, device: torch.device) -> NoiseSchedule:
    """What Forge draws pictures with."""
    from backend.modules.k_prediction import rescale_zero_terminal_snr_sigmas

    predictor = model.forge_objects_original.unet.model.predictor
    abar = predictor.alphas_cumprod.detach().float().clone()
    if ends_in_noise(model):
        sigmas = rescale_zero_terminal_snr_sigmas(((1 - abar) / abar).sqrt())
        abar = 1 / (1 + sigmas**2)
    return NoiseSchedule(abar.to(device), DRAWS[predictor.prediction_type])


def settings_text(model: Any) -> str:
    """The user's settings that change what the model computes, as far as they are not the usual ones."""
    from modules import shared

    opts, parts = shared.opts, []
    if ends_in_noise(model):
        parts.append("zero terminal SNR")
    if is_sdxl(model) and (opts.sdxl_crop_top or opts.sdxl_crop_left):
        parts.append(f"crop {opts.sdxl_crop_top} {opts.sdxl_crop_left}")
    return "".join(f" {part}" for part in parts)
