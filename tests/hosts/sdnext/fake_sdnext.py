"""SD.Next's modules in small: what its host asks them for, at commit 058a7f0c."""

from __future__ import annotations

import sys
import types
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import EulerAncestralDiscreteScheduler

OPTIONS = {
    "schedulers_prediction_type": "default",
    "schedulers_rescale_betas": False,
    "diffusers_offload_mode": "none",
    "diffusers_zeros_prompt_pad": False,
    "sd_vae": "Automatic",
    "sd_model_checkpoint": "models/tiny",
}


class StableDiffusionPipeline(SimpleNamespace):
    """A pipeline whose last picture was drawn with another sampler than its own."""


def pipeline_of(parts: Any) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        unet=parts.unet,
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        text_encoder_2=parts.text_encoder_2,
        tokenizer_2=parts.tokenizer_2,
        scheduler=EulerAncestralDiscreteScheduler(prediction_type="sample"),
        default_scheduler=parts.scheduler,
        sd_checkpoint_info=SimpleNamespace(name="models/tiny", model_name="tiny", sha256=None, shorthash=None),
        embedding_db=SimpleNamespace(word_embeddings={}),
        has_accelerate=False,
    )


@contextmanager
def running(monkeypatch: Any, pipeline: Any, **options: Any):
    """SD.Next with this model loaded; what it is told to do with it, in order."""
    told: list[str] = []
    devices = SimpleNamespace(device=torch.device("cpu"), sdpa_original=None)
    data = SimpleNamespace(sd_model=pipeline)

    def offloaded(model, op):
        told.append("on")
        model.has_accelerate = True

    def unloaded(model):
        told.append("off")
        model.has_accelerate = False

    def moved(model, device, force=False):
        """A pipeline's device is its first part's."""
        told.append("moved" if force or getattr(model, "device", None) != device else "left")

    sd_models = SimpleNamespace(disable_offload=unloaded, set_diffuser_offload=offloaded, move_model=moved)
    lora = SimpleNamespace(lora_common=SimpleNamespace(loaded_networks=[]))
    package = types.ModuleType("modules")
    shared = SimpleNamespace(opts=SimpleNamespace(**OPTIONS | options), sd_model=pipeline)
    found = {
        "shared": shared,
        "devices": devices,
        "sd_models": sd_models,
        "modeldata": SimpleNamespace(model_data=data),
        "lora": lora,
        "lora.lora_common": lora.lora_common,
    }
    for name, module in found.items():
        if "." not in name:
            setattr(package, name, module)
        monkeypatch.setitem(sys.modules, f"modules.{name}", module)
    monkeypatch.setitem(sys.modules, "modules", package)
    yield SimpleNamespace(told=told, data=data, shared=shared, lora=lora.lora_common)
