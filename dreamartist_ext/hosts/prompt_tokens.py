"""Prompts as chunks of token ids with places for learned vectors, found by their ids as in the WebUI.

Of the WebUI's prompt language there is nothing here: brackets, weights, BREAK and AND are plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CHUNK = 75  # tokens between the start and the end token


@dataclass
class Chunk:
    """Up to 75 token ids; `places` are (offset in the ids, name) of embeddings, whose ids are zeros."""

    ids: list[int] = field(default_factory=list)
    places: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Word:
    """A name that stands for `count` vectors, as the token ids it is found by."""

    name: str
    ids: tuple[int, ...]
    count: int


def words_for(counts: Mapping[str, int], tokenize: Callable[[str], list[int]]) -> list[Word]:
    """Longest first, so that `foo-neg` is never taken for `foo`."""
    words = [Word(name, tuple(tokenize(name)), count) for name, count in counts.items()]
    return sorted((word for word in words if word.ids), key=lambda word: len(word.ids), reverse=True)


def chunks_of(ids: Sequence[int], words: Sequence[Word]) -> list[Chunk]:
    """Split a prompt's ids into chunks; an embedding is never cut in two. At least one chunk comes back."""
    chunks = [Chunk()]
    for item in _items(ids, words):
        size = item.count if isinstance(item, Word) else 1
        if len(chunks[-1].ids) + size > CHUNK:
            chunks.append(Chunk())
        chunk = chunks[-1]
        if isinstance(item, Word):
            chunk.places.append((len(chunk.ids), item.name))
            chunk.ids.extend([0] * size)
        else:
            chunk.ids.append(item)
    return chunks


def _items(ids: Sequence[int], words: Sequence[Word]) -> Iterator[int | Word]:
    position = 0
    while position < len(ids):
        found = next((w for w in words if tuple(ids[position : position + len(w.ids)]) == w.ids), None)
        yield ids[position] if found is None else found
        position += 1 if found is None else len(found.ids)


def padded(chunk: Chunk, start: int, end: int, pad: int) -> list[int]:
    """[start, ids..., end, pad...], 77 in all."""
    ids = [start, *chunk.ids, end]
    return ids + [pad] * (CHUNK + 2 - len(ids))
