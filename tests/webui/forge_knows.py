"""An extension for tests alone: Forge tells families by widths that exist, and is told of the embedded model's here."""

from __future__ import annotations

import json
from pathlib import Path

from backend.diffusion_engine import sd15
from huggingface_guess import model_list

MODEL = Path(json.loads(Path(__file__).with_suffix(".json").read_text())["model"])


class Embedded(model_list.SD15):
    huggingface_repo = str(MODEL)  # a whole path is taken as it is
    unet_config = model_list.SD15.unet_config | {"context_dim": 192, "model_channels": 96}
    unet_extra_config = {"num_heads": -1, "num_head_channels": 32}  # noqa: RUF012 - as its kind


class Engine(sd15.ClassicTextProcessingEngine):
    """Words of the text encoder's own width, where Forge has written 768."""

    def __init__(self, text_encoder, **values):
        table = text_encoder.transformer.text_model.embeddings.token_embedding.weight
        super().__init__(text_encoder=text_encoder, **values | {"embedding_expected_shape": table.shape[1]})


if Embedded.huggingface_repo not in [known.huggingface_repo for known in model_list.models]:  # "Reload UI"
    model_list.models.insert(0, Embedded)
    sd15.ClassicTextProcessingEngine = Engine
