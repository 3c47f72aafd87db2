"""Prompts as chunks of token ids with places for learned vectors, found by their ids as in the WebUI.

Of the WebUI's prompt language there is nothing here: brackets, weights, BREAK and AND are plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class Words:
    """What is looked for in a prompt: by token ids, and how many ids the words have, longest first."""

    by_ids: Mapping[tuple[int, ...], Word]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, words: Iterable[Word]) -> Words:
        """Of words with the same ids the first is found."""
        by_ids: dict[tuple[int, ...], Word] = {}
        for word in words:
            if word.ids:
                by_ids.setdefault(word.ids, word)
        return cls(by_ids, tuple(sorted({len(ids) for ids in by_ids}, reverse=True)))

    def at(self, ids: Sequence[int], position: int) -> Word | None:
        """The longest word that begins here, so that `foo-neg` is never taken for `foo`."""
        found = (self.by_ids.get(tuple(ids[position : position + length])) for length in self.lengths)
        return next((word for word in found if word is not None), None)


def words_for(counts: Mapping[str, int], tokenize: Callable[[str], list[int]]) -> Words:
    return Words.of(Word(name, tuple(tokenize(name)), count) for name, count in counts.items())


def chunks_of(ids: Sequence[int], words: Words) -> list[Chunk]:
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


def _items(ids: Sequence[int], words: Words) -> Iterator[int | Word]:
    position = 0
    while position < len(ids):
        found = words.at(ids, position)
        yield ids[position] if found is None else found
        position += 1 if found is None else len(found.ids)


def padded(chunk: Chunk, start: int, end: int, pad: int) -> list[int]:
    """[start, ids..., end, pad...], 77 in all."""
    ids = [start, *chunk.ids, end]
    return ids + [pad] * (CHUNK + 2 - len(ids))
