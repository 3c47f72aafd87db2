"""One file or card, and the other half that lies beside it, as a pair."""

from __future__ import annotations

from pathlib import Path

from ..engine.embedding import EmbeddingPair, pair_id
from ..engine.errors import FileError
from ..engine.names import negative_name
from .formats import shown
from .importing import Offer, look
from .storage import embedding_files

_MOST_SEARCHED = 2000  # files of a folder whose other half has another name


def read_offer(path: Path) -> Offer:
    """What a file holds, with its other half where that lies in the same folder; raises FileError in one sentence.

    Also where the two halves are not what was written: their vectors do not give the id that both of them name.
    """
    offer = _look_at([path])
    missing = offer.positive is None or (offer.negative is None and not offer.is_plain)
    if missing or not _pair_named(offer):
        offer = _with_other_half(path, offer)
    if offer.positive is not None and offer.negative is not None and _pair_named(offer) not in ("", _pair_held(offer)):
        raise FileError(f"{shown(path.name)} and its other half are not the vectors that they say they are.")
    return offer


def _look_at(paths: list[Path]) -> Offer:
    offers, refusals = look(paths)
    if refusals or len(offers) != 1:
        raise FileError(refusals[0].sentence if refusals else f"{shown(paths[0].name)} is more than one concept.")
    return offers[0]


def _with_other_half(path: Path, alone: Offer) -> Offer:
    """By the name first, then by the pair's id; raises FileError where the one of the name cannot be used."""
    others = [other for other in embedding_files(path.parent, inside=False) if not _is_same(other, path)]
    others.sort(key=lambda other: not _is_named_half(other, path))
    unusable = ""
    for other in others[:_MOST_SEARCHED]:
        offers, refusals = look([path, other])
        if len(offers) == 1 and len(offers[0].sources) == 2:
            return offers[0]
        if refusals and _is_named_half(other, path):
            unusable = unusable or refusals[0].sentence
    if unusable:
        raise FileError(f"the other half cannot be used: {unusable}")
    return alone


def _is_named_half(one: Path, other: Path) -> bool:
    """Whether one is called like the other, but for the ending that marks a negative."""
    stems = one.stem.lower(), other.stem.lower()
    return stems[0] == negative_name(stems[1]) or stems[1] == negative_name(stems[0])


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)


def _pair_named(offer: Offer) -> str:
    half = offer.positive or offer.negative
    return half.provenance.get("pair", "") if half else ""


def _pair_held(offer: Offer) -> str:
    assert offer.positive is not None
    negative = offer.negative.vectors if offer.negative else None
    return pair_id(EmbeddingPair(offer.name, offer.positive.vectors, negative))
