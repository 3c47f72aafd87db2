"""The textual-inversion embeddings that AUTOMATIC1111 has loaded, and how vectors in training get among them.

The WebUI's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...engine.host import Vectors
from ..families import ENCODER


def embedding_database() -> Any:
    from modules import sd_hijack

    return sd_hijack.model_hijack.embedding_db


def embeddings_folder() -> Path:
    from modules import shared

    return Path(shared.cmd_opts.embeddings_dir)


def live_embedding(name: str, vectors: Vectors) -> Any:
    """vectors in training, by text encoder -> what the WebUI's database holds"""
    from modules.textual_inversion.textual_inversion import Embedding

    embedding = Embedding(vectors[ENCODER] if set(vectors) == {ENCODER} else dict(vectors), name)
    embedding.vectors = len(next(iter(vectors.values())))
    embedding.shape = sum(v.shape[1] for v in vectors.values())
    # The pages of extra networks take every word's file apart, though this one has none yet.
    embedding.filename = str(embeddings_folder() / f"{name}.pt")
    return embedding


@contextmanager
def found_first(model: Any, live: Mapping[str, Any]) -> Iterator[None]:
    """Inside, prompts find these embeddings though the WebUI's database is being filled again; longest first."""
    database = embedding_database()
    instead = vars(database).get("find_embedding_at_position")
    before = database.find_embedding_at_position
    own = [(model.cond_stage_model.tokenize([name])[0], embedding) for name, embedding in live.items()]
    own.sort(key=lambda item: len(item[0]), reverse=True)

    def find(tokens: list[int], offset: int) -> tuple[Any, int | None]:
        other, length = before(tokens, offset)
        for ids, embedding in own:
            if tokens[offset : offset + len(ids)] == ids and len(ids) >= (length or 0):
                return embedding, len(ids)
        return other, length

    database.find_embedding_at_position = find
    try:
        yield
    finally:
        del database.find_embedding_at_position
        if instead is not None:  # another extension's
            database.find_embedding_at_position = instead


def forget_cached_conditionings() -> None:
    """The WebUI's caches know prompts by their text, not by what their embeddings hold."""
    from modules import processing

    kinds = (processing.StableDiffusionProcessing, processing.StableDiffusionProcessingTxt2Img)
    for kind in kinds:
        for cache in ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc"):
            if hasattr(kind, cache):
                setattr(kind, cache, [None, None])


def reload_embeddings() -> None:
    """Let the WebUI see the files that are in its embeddings folder now; needs a loaded checkpoint."""
    embedding_database().load_textual_inversion_embeddings(force_reload=True)
    forget_cached_conditionings()
