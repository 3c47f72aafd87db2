"""Which word is the other half of which: by the names, and by what the files say where one of them was renamed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..engine.errors import FileError
from ..engine.names import negative_name, positive_name
from .card import CARD_SUFFIXES, read_card
from .formats import EMBEDDING_SUFFIXES, MAX_EMBEDDING_BYTES, load_embedding

KEPT = 20_000  # files whose words are remembered; one takes some hundred bytes
_PAIR_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")


@dataclass(frozen=True)
class Said:
    """What a file says about the pair that it belongs to; nothing, where it does not say."""

    pair: str = ""
    half: str = ""


class Pairing:
    """The halves among some words, each with its file, or None where only the word is known.

    Two words are a pair if their names differ only by the ending of a negative. If there is no such word, or the files
    say that they belong to other pairs, all files are searched for the half that says it belongs to the word. A file
    is read when it is first asked about, and again when its time or size has changed.
    """

    def __init__(self, files: Mapping[str, Path | None]) -> None:
        self._files = files
        self._by_lower = {word.lower(): word for word in files}
        self._negatives: dict[str, str | None] = {}
        self._by_pair: dict[str, list[str]] | None = None

    def negative_of(self, word: str) -> str | None:
        """The word of its negative half, or None."""
        if word not in self._negatives:
            self._negatives[word] = self._other(word, negative_name(word), "negative")
        return self._negatives[word]

    def positive_of(self, word: str) -> str | None:
        """The word of the positive half of a negative, or None."""
        named = positive_name(word)
        return self._other(word, named if named != word else "", "positive")

    def _other(self, word: str, name: str, half: str) -> str | None:
        named = self._by_lower.get(name.lower())
        mine = said_by(self._files.get(word))
        if not mine.pair or mine.half == half:
            return named
        if named is not None and said_by(self._files[named]).pair in ("", mine.pair):
            return named
        wanted = Said(mine.pair, half)
        found = (other for other in self._holders(mine.pair) if said_by(self._files[other]) == wanted)
        return next(found, named)

    def _holders(self, pair: str) -> list[str]:
        """The words whose files hold this id anywhere."""
        if self._by_pair is None:
            self._by_pair = {}
            for word, path in self._files.items():
                for each in _ids_in(path):
                    self._by_pair.setdefault(each, []).append(word)
        return self._by_pair.get(pair, [])


def words_of(paths: Iterable[Path]) -> dict[str, Path]:
    """The files of a folder by their words; of several with one word, the one that is read."""
    return {path.stem: path for path in sorted(paths, key=preference, reverse=True)}


def preference(path: Path) -> tuple[int, int]:
    """The least of files of one word is read: of a folder inside before others, as the WebUI has it, and .pt first."""
    return -len(path.parts), EMBEDDING_SUFFIXES.index(path.suffix.lower())


def said_by(path: Path | None) -> Said:
    """Nothing for a file that cannot be read."""
    try:
        return Said() if path is None else _said(*_state(path))
    except (FileError, OSError):
        return Said()


def _ids_in(path: Path | None) -> Iterator[str]:
    """What may be a pair's id in the bytes of a file: thousands of files are not read in full for this."""
    try:
        yield from () if path is None else _ids(*_state(path))
    except OSError:
        return


def _state(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=KEPT)
def _said(path: Path, _size: int, _changed: int) -> Said:
    if path.suffix.lower() in CARD_SUFFIXES:
        about = {"half": "positive", **read_card(path).provenance}
    else:
        about = load_embedding(path).provenance
    return Said(about.get("pair", ""), about.get("half", ""))


@lru_cache(maxsize=KEPT)
def _ids(path: Path, size: int, _changed: int) -> tuple[str, ...]:
    if size > MAX_EMBEDDING_BYTES:
        return ()
    return tuple(dict.fromkeys(found.decode() for found in _PAIR_ID.findall(path.read_bytes())))
