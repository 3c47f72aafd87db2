"""Cards in an embeddings folder, which the WebUI takes for words; and all files that one word has there."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..engine.errors import FileError
from ..engine.family import SDXL_KEYS
from ..engine.names import negative_name
from .card import CARD_SUFFIX, POSITIVE_KEY, read_card
from .png_text import PNG_SIGNATURE
from .storage import embedding_files

_KEPT = 20_000  # pictures whose words are remembered
_MOST_CHUNKS = 100  # before the pixels; a picture has a handful


def card_word(path: Path) -> str:
    """The word that the WebUI takes a PNG picture in its embeddings folder for, or "" for what is only a picture.

    That is the name inside the card, whatever the file is called; SDXL's have none, and go by the file's.
    """
    try:
        status = path.stat()
        return _word(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=_KEPT)
def _word(path: Path, _size: int, _changed: int) -> str:
    if not _holds_embedding(path):
        return ""
    try:
        pair = read_card(path)
    except FileError:
        return path.stem
    return path.stem if set(pair.positive) == set(SDXL_KEYS) else pair.name


def _holds_embedding(path: Path) -> bool:
    """By the keywords before the pixels; nothing else is read of a picture."""
    with path.open("rb") as file:
        if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
            return False
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind in (b"IDAT", b"IEND", b""):
                return False
            keyword = file.read(min(length, len(POSITIVE_KEY) + 1)) if kind == b"tEXt" else b""
            if keyword == POSITIVE_KEY.encode() + b"\0":
                return True
            file.seek(length - len(keyword) + 4, 1)
    return False


def cards_in(folder: Path) -> dict[Path, str]:
    """The cards in a folder, which need not exist, each with its word."""
    try:
        found = {path: card_word(path) for path in sorted(folder.iterdir()) if path.suffix.lower() == CARD_SUFFIX}
    except OSError:
        return {}
    return {path: word for path, word in found.items() if word}


def files_of_word(folder: Path, name: str) -> list[Path]:
    """Every file that a prompt's `name` or its negative may be read from; raises FileError if there is no listing."""
    words = (name.lower(), negative_name(name).lower())
    found = [path for path in embedding_files(folder) if path.stem.lower() in words]
    found.sort(key=lambda path: words.index(path.stem.lower()))
    return found + [path for path, word in cards_in(folder).items() if word.lower() in words]
