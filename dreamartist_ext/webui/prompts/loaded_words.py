"""The embeddings that a WebUI has loaded: which of them a prompt may hold, and which is the negative of which.

Built once for what is loaded: a WebUI makes new objects of all of them whenever it reads its folder again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...files.pairing import Pairing
from .word_index import WordIndex

KEPT = 4  # the loaded ones, and these with those of other families, of two models


class LoadedWords:
    """`embeddings` by name; a WebUI's has the `filename` that it was read from."""

    def __init__(self, embeddings: Mapping[str, Any]) -> None:
        self._names, self._first = tuple(embeddings), _first(embeddings)
        self._index = WordIndex(self._names)
        self.pairing = Pairing({name: _file_of(embedding) for name, embedding in embeddings.items()})

    def are(self, embeddings: Mapping[str, Any]) -> bool:
        """Whether these are the ones that it was built for."""
        return self._first is _first(embeddings) and self._names == tuple(embeddings)

    def seen(self, prompts: Iterable[str]) -> list[str]:
        """The names that may stand in any of the prompts, each once."""
        return list(dict.fromkeys(name for prompt in prompts for name in self._index.seen(prompt)))


_built: list[LoadedWords] = []  # the last used comes last


def loaded_words(embeddings: Mapping[str, Any]) -> LoadedWords:
    """As built before, where nothing was loaded since."""
    found = next((each for each in _built if each.are(embeddings)), None)
    if found is None:
        found = LoadedWords(embeddings)
        del _built[: 1 - KEPT]
    else:
        _built.remove(found)
    _built.append(found)
    return found


def _first(embeddings: Mapping[str, Any]) -> Any:
    return next(iter(embeddings.values()), None)


def _file_of(embedding: Any) -> Path | None:
    name = getattr(embedding, "filename", None)
    return Path(name) if isinstance(name, str) and name else None
