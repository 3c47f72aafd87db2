"""Forge's text engines: prompts to conditionings with a gradient, and the vectors that words stand for.

Forge's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...engine.host import Cond, Vectors
from ..families import ENCODER


def vocabulary(engine: Any) -> Tensor:
    """Token vectors (words, width), as they lie."""
    return engine.text_encoder.transformer.text_model.embeddings.token_embedding.weight


def encoded(engines: Mapping[str, Any], prompts: Sequence[str]) -> Cond:
    """Hidden states (B, 77 n, width); with two engines a dict, whose `vector` is the pooled part only.

    Not by calling an engine: that prints, and leaves the words for the next picture's infotext.
    """
    results = [_encoded(engine, prompts) for engine in engines.values()]
    states = torch.cat([states for states, _ in results], dim=2)
    pooled = [vector for _, vector in results if vector is not None]
    return {"crossattn": states, "vector": torch.cat(pooled, dim=1)} if pooled else states


def _encoded(engine: Any, prompts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    rows, _ = engine.process_texts(list(prompts))
    states = []
    try:
        for number in range(max(len(row) for row in rows)):
            chunks = [row[number] if number < len(row) else engine.empty_chunk() for row in rows]
            engine.embeddings.fixes = [chunk.fixes for chunk in chunks]
            states.append(engine.process_tokens([c.tokens for c in chunks], [c.multipliers for c in chunks]))
    finally:
        engine.embeddings.fixes = None
    return torch.hstack(states), states[0].pooled if engine.return_pooled else None


def live_embedding(name: str, vectors: Vectors) -> Any:
    """vectors in training, by text encoder -> what Forge's look-up gives"""
    from backend.text_processing.textual_inversion import Embedding

    embedding = Embedding(vectors[ENCODER] if set(vectors) == {ENCODER} else dict(vectors), name)
    embedding.vectors = len(next(iter(vectors.values())))
    embedding.shape = sum(v.shape[1] for v in vectors.values())
    return embedding


def size_vector(model: Any, height: int, width: int) -> Tensor:
    """The rest of SDXL's `vector` for a picture of this size in pixels, (1, ...): original, crop and target size."""
    from modules import shared

    numbers = [height, width, shared.opts.sdxl_crop_top, shared.opts.sdxl_crop_left, height, width]
    return torch.cat([model.embedder(torch.tensor([float(number)])) for number in numbers]).flatten()[None]
