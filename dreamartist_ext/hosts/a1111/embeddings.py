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
from ..webuis.words import forget_cached_conditionings


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


def reload_embeddings() -> None:
    """Let the WebUI see the files that are in its embeddings folder now; needs a loaded checkpoint."""
    embedding_database().load_textual_inversion_embeddings(force_reload=True)
    forget_cached_conditionings()


@contextmanager
def standing_for(vectors: Mapping[str, Vectors], hashes: Mapping[str, str]) -> Iterator[None]:
    """Inside, prompts take these words for these vectors, by text encoder, where they fit the loaded model. The
    infotext has their hashes, the SHA-256 of their files."""
    from modules import devices, shared

    database, model = embedding_database(), shared.sd_model
    fitting = {
        word: live_embedding(word, {key: v.to(devices.device) for key, v in half.items()})
        for word, half in vectors.items()
        if sum(v.shape[-1] for v in half.values()) == database.expected_shape
    }
    for word, embedding in fitting.items():
        embedding.set_hash(hashes.get(word, ""))
    before = {word: database.word_embeddings.get(word) for word in fitting}
    try:
        for word, embedding in fitting.items():
            database.register_embedding_by_name(embedding, model, word)
        yield
    finally:
        for word, embedding in before.items():
            if database.word_embeddings.get(word) is fitting[word]:
                database.register_embedding_by_name(embedding, model, word)
