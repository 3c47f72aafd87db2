"""Files to give away: the card of a concept, and its two .safetensors."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ...engine.embedding import EmbeddingPair, pair_id
from ...engine.errors import SettingError
from ..card import CARD_SUFFIX, card_bytes, read_card
from ..card_pattern import pattern_of
from ..importing import safe_name
from ..storage import load_embedding, pair_contents
from . import thumbnails
from .index import Concept, vectors_key


def pair_to_share(concept: Concept) -> EmbeddingPair:
    """The vectors of a concept, under a name that any concept can have; raises SettingError, FileError."""
    if concept.positive is None:
        raise SettingError(f"only the negative half of {concept.name} is here; there is nothing to share.")
    if concept.positive.is_card:
        return replace(read_card(concept.positive.path), name=safe_name(concept.name))
    positive = load_embedding(concept.positive.path)
    negative = load_embedding(concept.negative.path).vectors if concept.negative else None
    about = {key: value for key, value in positive.provenance.items() if key not in ("pair", "half")}
    return EmbeddingPair(safe_name(concept.name), positive.vectors, negative, positive.step or 0, about)


def picture_for(embeddings: Path, pair: EmbeddingPair) -> Image.Image:
    """The picture drawn at the end of the training, never the one that was learned from; or a pattern of colours."""
    kept = thumbnails.read_large(embeddings, vectors_key(pair.positive))
    return Image.open(io.BytesIO(kept)) if kept else pattern_of(pair_id(pair))


def files_to_share(embeddings: Path, concept: Concept) -> dict[str, bytes]:
    """The card first; by the names that the files are to have."""
    pair = pair_to_share(concept)
    card = card_bytes(pair, picture_for(embeddings, pair))
    return {f"{pair.name}{CARD_SUFFIX}": card, **pair_contents(pair, ".safetensors")}
