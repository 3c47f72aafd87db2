"""The embeddings that Forge has loaded: every text engine has a database of them, read when the checkpoint is.

Forge's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ...engine.host import Vectors
from ..webuis.words import forget_cached_conditionings, found_first
from .model import loaded_model, text_engines
from .text import live_embedding

CONTENTS = ("ids_lookup", "word_embeddings", "skipped_embeddings")


def loaded_engines() -> list[Any]:
    """The text engines of the loaded model; none before the first picture."""
    model = loaded_model()
    return [] if model is None else list(text_engines(model).values())


def reload_embeddings() -> None:
    """Let prompts find the files that are in the folder now. A checkpoint that is loaded later reads them itself."""
    for engine in loaded_engines():
        _reload(engine.embeddings)
    forget_cached_conditionings()


def _reload(database: Any) -> None:
    """Forge empties its database and then reads the files: a prompt in between would find no word. So another one is
    filled, and takes its place at once."""
    fresh = copy.copy(database)
    for name in CONTENTS:
        setattr(fresh, name, {})
    fresh.load_textual_inversion_embeddings()
    for name in CONTENTS:
        setattr(database, name, getattr(fresh, name))


@contextmanager
def standing_for(vectors: Mapping[str, Vectors], _hashes: Mapping[str, str]) -> Iterator[None]:
    """Inside, prompts take these words for these vectors, by text encoder, where they fit the loaded model. Forge's
    infotext has no hashes of embeddings."""
    with ExitStack() as stack:
        for engine in loaded_engines():
            expected = engine.embeddings.expected_shape
            fitting = {
                word: live_embedding(word, half)
                for word, half in vectors.items()
                if sum(v.shape[-1] for v in half.values()) == expected
            }
            stack.enter_context(found_first(engine.embeddings, engine.tokenize, fitting))
        yield
