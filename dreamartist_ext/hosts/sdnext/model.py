"""Which model SD.Next has loaded, as the parts that the standalone host knows; and why one cannot be trained.

SD.Next's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn

from ...engine.errors import ModelError
from ...engine.noise import PredictionType
from ..diffusers.components import Components
from ..families import check_channels
from ..put_back import EIGHT_BITS

OUT_OF_REACH = ("sequential", "group")  # ways of offloading that leave no weights to be trained through


def loaded_pipeline() -> Any:
    """What SD.Next has in memory, or None; nothing is loaded for it."""
    from modules.modeldata import model_data

    return model_data.sd_model


def chosen_pipeline() -> Any:
    """The chosen checkpoint, loaded now where it is not yet. Raises ModelError where there is none."""
    from modules import shared

    pipeline = shared.sd_model
    if pipeline is None:
        raise ModelError("SD.Next has no checkpoint loaded; choose one at the top of the page first.")
    return pipeline


def name_of(pipeline: Any) -> str:
    """The checkpoint's name, without its folder or ending."""
    info = getattr(pipeline, "sd_checkpoint_info", None)
    return str(getattr(info, "model_name", "") or getattr(info, "name", "") or "the loaded model")


def plain(part: Any) -> Any:
    """What torch.compile wraps: the compiled one runs past hooks that came later."""
    return getattr(part, "_orig_mod", part)


def parts_of(pipeline: Any) -> Components:
    """The very parts that SD.Next draws with. Raises ModelError, in one sentence, for what cannot be trained."""
    name = name_of(pipeline)
    names = ("unet", "vae", "text_encoder", "text_encoder_2")
    unet, vae, encoder, second = (plain(getattr(pipeline, each, None)) for each in names)
    if second is not None and encoder is None:
        raise ModelError(f"{name} is an SDXL refiner, which only finishes pictures; choose its base checkpoint.")
    if not isinstance(unet, UNet2DConditionModel) or not isinstance(vae, AutoencoderKL) or encoder is None:
        raise ModelError(
            f"{name} is loaded as {type(pipeline).__name__}, and only Stable Diffusion 1, 2 and SDXL can be trained; "
            "choose one of those."
        )
    check_channels(int(unet.config.in_channels), name)
    parts = Components(
        unet=unet,
        vae=vae,
        text_encoder=encoder,
        tokenizer=pipeline.tokenizer,
        scheduler=_scheduler(pipeline, name),
        name=name,
        text_encoder_2=second,
        tokenizer_2=getattr(pipeline, "tokenizer_2", None),
    )
    modules = (unet, vae, encoder, second)
    _check_weights([module for module in modules if module is not None], name)
    _check_additions(unet, modules, name)
    return parts


def _scheduler(pipeline: Any, name: str) -> DDIMScheduler:
    """The model's own, whatever sampler drew last, with what the settings say in its place."""
    from modules import shared

    own = getattr(pipeline, "default_scheduler", None) or pipeline.scheduler
    changes = {}
    wanted = getattr(shared.opts, "schedulers_prediction_type", "default")
    if wanted not in (None, "", "default", "none"):
        changes["prediction_type"] = wanted
    if getattr(shared.opts, "schedulers_rescale_betas", False):
        changes["rescale_betas_zero_snr"] = True
    kind = changes.get("prediction_type", own.config.get("prediction_type", "epsilon"))
    if kind not in [each.value for each in PredictionType] or own.config.get("num_train_timesteps") is None:
        raise ModelError(
            f"{name} predicts {kind}, and cannot be trained; choose a Stable Diffusion 1, 2 or SDXL model."
        )
    return DDIMScheduler.from_config(own.config, **changes)


def _check_weights(modules: Iterable[nn.Module], name: str) -> None:
    """Torch computes no gradient through weights that are packed, or that are not there between two pictures."""
    from modules import shared

    mode = shared.opts.diffusers_offload_mode
    if mode in OUT_OF_REACH:
        raise ModelError(
            f'SD.Next offloads {name} in the mode "{mode}", which a training cannot go through; choose the mode '
            '"balanced" in its settings and load the model again.'
        )
    for part in (part for module in modules for part in module.modules()):
        packed = [p for p in part.parameters(recurse=False) if not p.is_floating_point() or p.dtype in EIGHT_BITS]
        if packed or hasattr(part, "sdnq_dequantizer") or hasattr(part, "_diffusers_hook"):
            raise ModelError(
                f"SD.Next keeps {name} quantised ({type(part).__name__}), and a training cannot go through that; "
                "switch quantisation off in its settings and load the model again."
            )


def _check_additions(unet: Any, modules: Iterable[nn.Module | None], name: str) -> None:
    """What the last picture left in the weights would be in the training."""
    from modules.lora import lora_common

    parts = [part for module in modules if module is not None for part in module.modules()]
    if lora_common.loaded_networks or any(getattr(part, "network_current_names", ()) for part in parts):
        raise ModelError(f"the last picture's LoRA is still in {name}; draw one without a LoRA, and train again.")
    if getattr(unet, "encoder_hid_proj", None) is not None:
        raise ModelError(f"the last picture's IP adapter is still in {name}; draw one without it, and train again.")
