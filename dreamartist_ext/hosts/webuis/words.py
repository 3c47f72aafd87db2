"""How prompts find vectors that are in no file, and what a WebUI remembers of prompts.

The WebUI's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

CACHES = ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc")


@contextmanager
def found_first(
    database: Any, tokenize: Callable[[list[str]], Sequence[list[int]]], live: Mapping[str, Any]
) -> Iterator[None]:
    """Inside, prompts find these embeddings though the WebUI's database is being filled again; longest first."""
    instead = vars(database).get("find_embedding_at_position")
    before = database.find_embedding_at_position
    own = [(tokenize([name])[0], embedding) for name, embedding in live.items()]
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
        for cache in CACHES:
            if hasattr(kind, cache):
                setattr(kind, cache, [None] * len(getattr(kind, cache)))  # Forge's have three places
