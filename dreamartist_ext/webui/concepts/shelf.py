"""My concepts: what the page's buttons and the API's routes do with them. Every method names a concept by its key."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ...engine.errors import FileError, SettingError
from ...engine.names import check_name, negative_name
from ...files.concepts import thumbnails
from ...files.concepts.changes import candidates, rename, reunite
from ...files.concepts.host_cards import keep_card_picture
from ...files.concepts.index import (
    Concept,
    Facts,
    FactsCache,
    are_of_one_pair,
    concepts_in,
    is_name,
    lacks_negative,
    vectors_key,
)
from ...files.concepts.sharing import files_to_share
from ...files.concepts.trash import (
    MissingError,
    Thrown,
    bring_back_thrown,
    find_concept,
    is_learned,
    key_of_place,
    list_concepts,
    list_trash,
    throw_away_concept,
)
from ...files.importing import Offer, accept
from ...files.run import RunFiles
from ...files.storage import find_embedding
from ..training.jobs import Desk
from .drawings import Drawer

PAGE_SIZE = 48


class Show(str, Enum):
    """Which of the embeddings a page shows."""

    LEARNED = "Learned concepts"
    ALL = "All embeddings"
    BROKEN = "Halves and refused files"
    TRASH = "Trash"


class Order(str, Enum):
    """How a page is sorted."""

    NEWEST = "Newest first"
    NAME = "By name"


@dataclass(frozen=True)
class Card:
    """One concept as a page shows it."""

    concept: Concept
    facts: Facts
    preview: bytes  # a JPEG file, or nothing
    is_of_picture: bool  # the preview is the picture that was learned from
    kept_steps: int
    lacks: str  # "", "positive" or "negative"
    is_mixed: bool  # the two halves say that they are of different pairs
    is_drawn_now: bool = False
    others: tuple[tuple[Concept, bool], ...] = ()  # what may be the missing half; whether it certainly is


@dataclass(frozen=True)
class Page:
    """Some of the cards; `number` counts from 0."""

    cards: tuple[Card, ...]
    number: int
    pages: int
    found: int
    thrown: tuple[Thrown, ...] = ()


class Shelf:
    """The concepts of one embeddings folder. A concept that is being trained is neither renamed nor thrown away."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.cache = FactsCache()
        self.drawer = Drawer(desk)

    @property
    def embeddings(self) -> Path:
        return self.desk.workplace.embeddings

    def described(self) -> list[dict[str, Any]]:
        """For programs."""
        return list_concepts(self.embeddings, self.cache)

    def page(self, words: str = "", show: Show = Show.LEARNED, order: Order = Order.NEWEST, number: int = 0) -> Page:
        """The cards of a page whose names hold `words`; raises FileError when the folder cannot be listed."""
        if show is Show.TRASH:
            thrown = [each for each in list_trash(self.embeddings) if words.lower() in each.name.lower()]
            number, pages, part = _part(thrown, number)
            return Page((), number, pages, len(thrown), tuple(part))
        concepts = concepts_in(self.embeddings)
        found = [each for each in concepts if words.lower() in each.name.lower() and self._is_shown(each, show)]
        if order is Order.NEWEST:
            found.sort(key=lambda concept: concept.changed, reverse=True)
        number, pages, part = _part(found, number)
        return Page(tuple(self._card(each, concepts) for each in part), number, pages, len(found))

    def _is_shown(self, concept: Concept, show: Show) -> bool:
        if show is Show.BROKEN:
            return self._is_broken(concept)
        return show is Show.ALL or is_learned(concept, self.cache)

    def _is_broken(self, concept: Concept) -> bool:
        halves = [half for half in (concept.positive, concept.negative) if half is not None]
        facts = [self.cache.of(half) for half in halves]
        return concept.positive is None or lacks_negative(concept, facts[0]) or any(fact.problem for fact in facts)

    def _card(self, concept: Concept, concepts: Sequence[Concept]) -> Card:
        halves = [self.cache.of(half) for half in (concept.positive, concept.negative) if half is not None]
        facts = next((half for half in halves if half.problem), halves[0])
        lacks = "positive" if concept.positive is None else "negative" if lacks_negative(concept, halves[0]) else ""
        files = RunFiles(self.embeddings, concept.name)
        is_trained = concept.is_trained and is_name(concept.name)
        preview = thumbnails.read(self.embeddings, halves[0].key)
        if not preview and concept.positive is not None and concept.positive.is_card:
            card = concept.positive
            preview = thumbnails.small_on_card(card.path, card.size, card.changed)
        learned_from = b"" if preview or not is_trained else thumbnails.first_picture(files)
        return Card(
            concept,
            facts,
            preview or learned_from,
            bool(learned_from),
            len(files.kept_steps()) if is_trained else 0,
            lacks,
            concept.positive is not None and len(halves) == 2 and are_of_one_pair(*halves) is False,
            concept.key == self.drawer.key,
            tuple(candidates(concept, concepts, self.cache)) if lacks else (),
        )

    def find(self, key: str) -> Concept:
        """Raises MissingError for a concept that is not there (any more)."""
        for concept in concepts_in(self.embeddings):
            if concept.key == key:
                return concept
        raise MissingError("that concept is not in the folder any more.")

    def named(self, name: str) -> Concept:
        """By its word; raises MissingError."""
        return find_concept(self.embeddings, name)

    def delete(self, concept: Concept) -> str:
        """Move it to the trash; returns by what `bring_back` finds it. Raises SettingError, FileError."""
        self._check_idle(concept.name)
        key = self.cache.of(concept.positive).key if concept.positive else ""
        place = throw_away_concept(self.embeddings, concept, key)
        self._changed(concept.name)
        return key_of_place(place)

    def bring_back(self, key: str) -> str:
        """Undo a deletion; returns the concept's name. Raises SettingError, FileError."""
        for thrown in list_trash(self.embeddings):
            if thrown.key == key:
                self._check_idle(thrown.name)
                bring_back_thrown(self.embeddings, thrown)
                self.desk.workplace.learned()
                return thrown.name
        raise MissingError("that is not in the trash any more.")

    def rename(self, concept: Concept, new: str) -> None:
        """Raises SettingError for a name that cannot be used, FileError when nothing could be changed."""
        self._check_idle(concept.name)
        self._check_idle(new)
        self.check_clash(new)
        rename(self.embeddings, concept, new)
        self._changed(concept.name)

    def check_clash(self, name: str) -> None:
        """Raises SettingError for a word that a prompt would take for another one."""
        for word in (name, negative_name(name)):
            if clash := self.desk.workplace.clash(word):
                raise SettingError(clash)

    def reunite(self, concept: Concept, other: Concept) -> str:
        """Make two halves a pair, under the positive's name; returns it. Raises SettingError, FileError."""
        positive, negative = (concept, other) if concept.positive is not None else (other, concept)
        for each in (positive, negative):
            self._check_idle(each.name)
        reunite(positive, negative, self.cache)
        self.desk.workplace.learned()
        return positive.name

    def share(self, concept: Concept) -> dict[str, bytes]:
        """Its card and .safetensors files, by name; raises SettingError, FileError."""
        return files_to_share(self.embeddings, concept)

    def accept(self, offer: Offer, name: str, overwrite: bool, picture: bytes = b"") -> str:
        """Import under a name, and keep the card's picture as its preview; returns the name. Raises SettingError for a
        name that cannot be used or is taken, FileError."""
        name = check_name(name or offer.name)
        self._check_idle(name)
        self.check_clash(name)
        accept(offer, self.embeddings, name, overwrite)
        if picture and offer.positive is not None:
            with suppress(FileError):  # a concept is worth having without a preview
                thumbnails.keep(self.embeddings, vectors_key(offer.positive.vectors), picture)
            path = find_embedding(self.embeddings, name)
            if self.desk.workplace.has_cards and path is not None:
                keep_card_picture(path, picture)
        self._changed(name)
        return name

    def _check_idle(self, name: str) -> None:
        job = self.desk.job
        if job is not None and not job.is_over and job.name.lower() == name.lower():
            raise SettingError(f"the word {job.name} is being trained; stop it first.")

    def _changed(self, name: str) -> None:
        self.desk.forget(name)
        self.desk.workplace.learned()


def _part(items: Sequence[Any], number: int) -> tuple[int, int, Sequence[Any]]:
    """The page's number within bounds, how many there are, and its items."""
    pages = max(1, -(-len(items) // PAGE_SIZE))
    number = min(max(number, 0), pages - 1)
    return number, pages, items[number * PAGE_SIZE : (number + 1) * PAGE_SIZE]
