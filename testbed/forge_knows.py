"""An extension for tests alone: Forge tells families by widths that exist, and is told of our small models' here.

`forge_knows.json`, beside it, has a row for each: the family's class, a folder with configurations, and what tells the
model from others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.diffusion_engine import sd15, sd20, sdxl
from huggingface_guess import model_list

KNOWN = json.loads(Path(__file__).with_suffix(".json").read_text())


class Engine(sd15.ClassicTextProcessingEngine):
    """Words of the text encoders' own widths, where Forge has written 768, 1024 and 2048."""

    def __init__(self, text_encoder: Any, embedding_expected_shape: int, **values: Any) -> None:
        table = text_encoder.transformer.text_model.embeddings.token_embedding.weight
        width = KNOWN["words of two encoders"] if embedding_expected_shape == 2048 else table.shape[1]
        super().__init__(text_encoder=text_encoder, embedding_expected_shape=width, **values)


def know(row: dict[str, Any]) -> None:
    family = getattr(model_list, row["family"])
    heads = {"num_heads": -1, "num_head_channels": row["channels of a head"]}
    about = {
        "huggingface_repo": row["folder"],
        "unet_config": family.unet_config | row["unet"],
    }  # a whole path is taken
    model_list.models.insert(0, type("Small", (family,), about | {"unet_extra_config": heads}))


if not any(known.__name__ == "Small" for known in model_list.models):  # "Reload UI"
    for row in KNOWN["models"]:
        know(row)
    for engines in (sd15, sd20, sdxl):
        engines.ClassicTextProcessingEngine = Engine
