"""A model as a folder on disk."""

from __future__ import annotations

import json
from pathlib import Path

from dreamartist_ext.hosts.diffusers.components import Components


def save_folder(parts: Components, folder: Path) -> Path:
    """The same model in diffusers' folder layout."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    if parts.text_encoder_2 is not None:
        index |= {
            "_class_name": "StableDiffusionXLPipeline",
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
        }
    for name in index.keys() - {"_class_name"}:
        getattr(parts, name).save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
