"""A training that begins from an embedding or a pair that is there already, also a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.embedding import EmbeddingPair
from ..engine.errors import FileError
from ..engine.trainer import Training
from .card import read_card
from .card_files import cards_in
from .formats import shown
from .storage import find_embedding, load_pair

COUNTS = ("vectors", "negative_vectors")


def pair_called(folder: Path, word: str) -> EmbeddingPair:
    """The pair of a word in an embeddings folder, of files or of a card; raises FileError."""
    if find_embedding(folder, word) is not None:
        return load_pair(folder, word)
    card = next((path for path, name in cards_in(folder).items() if name.lower() == word.lower()), None)
    if card is None:
        raise FileError(f"there is no embedding {shown(word)} in {folder} to start from; check the word.")
    return read_card(card)


def with_start(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings with as many vectors as the word has that `start_from` names, where they do not say how many; raises
    FileError."""
    word = values.get("start_from")
    return {**(counts_of(word, folder) if isinstance(word, str) else {}), **values}


def counts_of(word: str, folder: Path) -> dict[str, int]:
    """The settings for as many vectors as a word has, of the halves that there are; nothing for no word. Raises
    FileError."""
    if not word.strip():
        return {}
    pair = pair_called(folder, word.strip())
    halves = (pair.positive, pair.negative)
    return {key: len(next(iter(half.values()))) for key, half in zip(COUNTS, halves, strict=True) if half}


def start(training: Training, folder: Path) -> None:
    """Put the vectors of the word that the settings name into a training that has not begun; raises FileError or
    SettingError."""
    word = training.config.start_from.strip()
    if word and not training.step:
        training.start_from(pair_called(folder, word))
