"""Files from strangers into the embeddings folder: read first, shown, and only then written, by our own writer.

Not a byte of a file that was received reaches the folder: its vectors and its texts are written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..engine.embedding import EmbeddingPair, pair_id
from ..engine.errors import DreamArtistError, FileError, SettingError
from ..engine.family import family_of, widths_of
from ..engine.names import (
    NEGATIVE_SUFFIX,
    check_name,
    is_long_enough,
    negative_name,
    readable_name,
)
from .card import PICTURE_SUFFIXES, read_card
from .card_files import files_of_word, home_of_word
from .earlier import keep_earlier
from .formats import EMBEDDING_SUFFIXES, Embedding, load_embedding, shown
from .storage import find_embedding, save_half, save_pair

IMPORT_SUFFIXES = (*EMBEDDING_SUFFIXES, *PICTURE_SUFFIXES)


@dataclass(frozen=True)
class Offer:
    """What could be imported from one card, one file, or two files that are a pair. Nothing is written yet."""

    name: str  # the word it would become; another one than the file's where that cannot be a word
    positive: Embedding | None  # one of the two may be missing
    negative: Embedding | None
    sources: tuple[str, ...]  # the names of the files, as they can be shown
    stem: str = ""  # what the WebUI takes the positive for: its file's name, or the name inside a card

    @property
    def family(self) -> str:
        """Of the models that it belongs to."""
        half = self.positive or self.negative
        return family_of(widths_of(half.vectors)) if half else ""

    @property
    def is_plain(self) -> bool:
        """Whether it is a single embedding that was never one of a pair."""
        if self.positive is None or self.negative is not None:
            return False
        pair = self.positive.provenance.get("pair", "")
        return pair in ("", pair_id(EmbeddingPair(self.name, self.positive.vectors)))

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it would bring."""
        halves = ((self.name, self.positive), (negative_name(self.name), self.negative))
        return tuple(word for word, half in halves if half is not None)

    def taken(self, folder: Path, inside: bool = True) -> list[Path]:
        """The files in the embeddings folder that would be replaced: all of this name, but for the half that is
        missing here. `inside` is whether those in folders inside it count."""
        named = files_of_word(folder, self.name, inside)
        return sorted((path for path in named if not self._lacks(path)), key=lambda path: len(path.stem))

    def is_here(self, folder: Path) -> bool:
        """Whether the folder holds the same vectors under the same name."""
        halves = zip(self.words, filter(None, (self.positive, self.negative)), strict=True)
        return all(_holds(folder, word, half) for word, half in halves)

    def _lacks(self, path: Path) -> bool:
        """Whether a file is the half that is missing here, as far as the two say."""
        half = self.positive or self.negative
        if half is None or path.stem.lower() in (word.lower() for word in self.words):
            return False
        try:
            pair = load_embedding(path).provenance.get("pair")
        except FileError:
            return False
        return pair is None or half.provenance.get("pair", pair) == pair


def _holds(folder: Path, word: str, half: Embedding) -> bool:
    try:
        path = find_embedding(folder, word)
        vectors = load_embedding(path).vectors if path else {}
    except FileError:
        return False
    return set(vectors) == set(half.vectors) and all(torch.equal(vectors[key], half.vectors[key]) for key in vectors)


@dataclass(frozen=True)
class Refusal:
    """A file that is not imported, and why, in one sentence."""

    source: str
    sentence: str


def look(paths: Sequence[Path]) -> tuple[list[Offer], list[Refusal]]:
    """Read cards and embedding files (.png, .pt, .safetensors, .bin) without writing anything.

    Two files become one offer where both say that they are one pair, or are called NAME and NAME-neg.
    """
    found = [_read(path) for path in paths]
    refusals = [item for item in found if isinstance(item, Refusal)]
    offers = [item for item in found if isinstance(item, Offer)]
    offers += _pair_up([item for item in found if isinstance(item, _Half)], refusals)
    return offers, refusals


def _read(path: Path) -> Offer | _Half | Refusal:
    where = shown(path.name)
    try:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return _offer_of_card(path)
        if path.suffix.lower() in EMBEDDING_SUFFIXES:
            return _Half(where, path.stem, load_embedding(path))
    except DreamArtistError as error:
        return Refusal(where, str(error))
    return Refusal(where, f"{where} cannot be imported; what can ends in {', '.join(IMPORT_SUFFIXES)}.")


def accept(offer: Offer, folder: Path, name: str = "", overwrite: bool = False, suffix: str = "") -> list[Path]:
    """Write an offer into the embeddings folder, under another name if one is given; returns the files.

    Raises SettingError for a name that cannot be used, or is taken and `overwrite` is not given; FileError when a
    file cannot be written. What is overwritten is in the trash afterwards.
    """
    name = check_name(name or offer.name)
    offer = replace(offer, name=name)
    if not overwrite and (taken := offer.taken(folder)):
        raise SettingError(f"the name {name} is taken by {taken[0].name}; choose another, or overwrite it.")
    half = offer.positive or offer.negative
    if half is None:
        raise FileError("there is nothing to import.")
    suffix = suffix or (".pt" if len(half.vectors) == 1 else ".safetensors")
    home = home_of_word(folder, name)
    replaced = [path for path in offer.taken(folder) if path.parent == home]
    keep_earlier(folder, name, replaced)
    earlier = [path.name for path in replaced]
    if offer.positive is None:
        return [save_half(half, home, negative_name(name), suffix, earlier)]
    if offer.negative is None and not offer.is_plain:
        return [save_half(half, home, name, suffix, earlier)]  # its negative may still come
    return save_pair(as_pair(offer, name), home, suffix, replacing=earlier)


def safe_name(text: str) -> str:
    """The nearest name that a concept can have. One that would become shorter than a word is not made up unasked."""
    name = readable_name(text)
    while name.lower().endswith(NEGATIVE_SUFFIX):
        name = name[: -len(NEGATIVE_SUFFIX)].strip("-_")
    if name == text or is_long_enough(name):
        with suppress(SettingError):
            return check_name(name)
    return check_name(readable_name(f"imported-{name}"))


def as_pair(offer: Offer, name: str) -> EmbeddingPair:
    """The vectors of an offer that has a positive, under another name."""
    assert offer.positive is not None
    negative = offer.negative.vectors if offer.negative else None
    about = {key: value for key, value in offer.positive.provenance.items() if key not in ("pair", "half")}
    return EmbeddingPair(name, offer.positive.vectors, negative, offer.positive.step or 0, about)


def _offer_of_card(path: Path) -> Offer:
    pair = read_card(path)
    positive = Embedding(pair.name, pair.positive, pair.step, pair.provenance)
    negative = None
    if pair.negative is not None:
        negative = Embedding(negative_name(pair.name), pair.negative, pair.step, pair.provenance)
    return Offer(safe_name(pair.name), positive, negative, (shown(path.name),), pair.name)


@dataclass(frozen=True)
class _Half:
    source: str
    stem: str  # of the file: in the WebUI, the word
    embedding: Embedding

    @property
    def pair(self) -> str:
        return self.embedding.provenance.get("pair", "")

    @property
    def is_negative(self) -> bool:
        """By what the file says, or else by its name."""
        half = self.embedding.provenance.get("half")
        return half == "negative" if half else self.stem.lower().endswith(NEGATIVE_SUFFIX)


def _pair_up(halves: Sequence[_Half], refusals: list[Refusal]) -> Iterable[Offer]:
    negatives = [half for half in halves if half.is_negative]
    for positive in (half for half in halves if not half.is_negative):
        negative = next((n for n in negatives if _belong(positive, n)), None)
        if negative is not None:
            negatives.remove(negative)
            if widths_of(positive.embedding.vectors) != widths_of(negative.embedding.vectors):
                sentence = f"{positive.source} and {negative.source} are not for the same kind of model."
                refusals += [Refusal(half.source, sentence) for half in (positive, negative)]
                continue
        sources = (positive.source,) if negative is None else (positive.source, negative.source)
        embedding = None if negative is None else negative.embedding
        yield Offer(safe_name(positive.stem), positive.embedding, embedding, sources, positive.stem)
    for negative in negatives:
        yield Offer(safe_name(negative.stem), None, negative.embedding, (negative.source,), negative.stem)


def _belong(positive: _Half, negative: _Half) -> bool:
    """By the pair's id where both have one, so that renamed files find each other; by their names otherwise."""
    if positive.pair and negative.pair:
        return positive.pair == negative.pair
    return negative_name(positive.stem).lower() == negative.stem.lower()
