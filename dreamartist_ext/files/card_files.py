"""Cards in an embeddings folder, which the WebUI takes for words; and all files that one word has there."""

from __future__ import annotations

import stat
from functools import lru_cache
from pathlib import Path

from ..engine.errors import FileError
from ..engine.family import SDXL_KEYS
from ..engine.names import negative_name
from .below import entries_below
from .card import CARD_SUFFIXES, POSITIVE_KEY, holds_embedding, name_in_card, read_card
from .png_text import holds_text
from .storage import embedding_files

_KEPT = 20_000  # pictures whose words are remembered
_PREVIEW = ".preview"  # NAME.preview.png is a picture of NAME for the WebUI, and no word


def card_word(path: Path) -> str:
    """The word that the WebUI takes a picture in its embeddings folder for, or "" for what is only a picture.

    It opens a picture by what is in it, whatever its ending. The word is the name inside the card, whatever the file
    is called; SDXL's have none, and go by the file's.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            return ""
        return _word(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=_KEPT)
def _word(path: Path, _size: int, _changed: int) -> str:
    if path.suffix.lower() not in CARD_SUFFIXES or path.stem.lower().endswith(_PREVIEW):
        return ""
    with path.open("rb") as file:
        has_text = holds_text(file, POSITIVE_KEY)
    if not has_text and not holds_embedding(path):
        return ""
    try:
        pair = read_card(path)
    except FileError:
        return _word_of_refused(path)
    return path.stem if set(pair.positive) == set(SDXL_KEYS) else pair.name


def _word_of_refused(path: Path) -> str:
    """The WebUI may load it all the same."""
    try:
        return name_in_card(path)
    except FileError:
        return path.stem


def cards_in(folder: Path, inside: bool = True) -> dict[Path, str]:
    """The cards in a folder, which need not exist, and in those inside it, each with its word."""
    try:
        if inside:
            paths = [Path(entry.path) for entry in entries_below(folder, CARD_SUFFIXES)]
        else:
            paths = [path for path in folder.iterdir() if path.suffix.lower() in CARD_SUFFIXES]
    except OSError:
        return {}
    found = {path: card_word(path) for path in sorted(paths)}
    return {path: word for path, word in found.items() if word}


def files_of_word(folder: Path, name: str, inside: bool = True) -> list[Path]:
    """Every file that a prompt's `name` or its negative may be read from; raises FileError if there is no listing."""
    words = (name.lower(), negative_name(name).lower())
    found = [path for path in embedding_files(folder, inside) if path.stem.lower() in words]
    found.sort(key=lambda path: words.index(path.stem.lower()))
    return found + [path for path, word in cards_in(folder, inside).items() if word.lower() in words]


def home_of_word(folder: Path, name: str) -> Path:
    """Where the files of a word are to be written: in the folder inside where they lie, or in the folder itself.

    Elsewhere, the WebUI would still read the ones that lie inside.
    """
    return max((path.parent for path in files_of_word(folder, name)), key=lambda home: len(home.parts), default=folder)
