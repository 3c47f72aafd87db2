"""The learned concepts on disk: what a program sees of them, and a trash from which they come back."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ...engine.errors import FileError, SettingError
from ...engine.names import NEGATIVE_SUFFIX, negative_name
from ..below import is_file, is_there
from ..card_files import card_word
from ..earlier import INSIDE, REPLACED, place_inside, trash_of
from ..formats import clean_text
from ..moves import move_together
from ..only_one import only_one
from ..run import RunFiles
from ..storage import EMBEDDING_SUFFIXES
from . import thumbnails
from .host_cards import card_picture_of
from .index import Concept, FactsCache, concepts_in, is_name, lacks_negative

_TRAINING = "training"  # within a concept's folder in the trash
_STAMP = r"\d{8}-\d{6}-\d{6}"
_PLACE = re.compile(rf".+-{_STAMP}", re.DOTALL)
_LONGEST = 64  # characters of a name that are a part of its folder's name in the trash


class MissingError(FileError):
    """There is no such concept, or none of that name in the trash."""


@dataclass(frozen=True)
class Thrown:
    """A concept in the trash."""

    name: str
    place: Path
    when: datetime

    @property
    def key(self) -> str:
        """Stands for it in a page."""
        return key_of_place(self.place)

    @property
    def is_replaced(self) -> bool:
        """Whether it was overwritten, and not deleted."""
        return REPLACED in self.place.name


def key_of_place(place: Path) -> str:
    return place.name[-len("yyyymmdd-hhmmss-ffffff") :]


def list_concepts(embeddings: Path, cache: FactsCache) -> list[dict[str, Any]]:
    """The words that have a negative, a training beside the folder, or half of a pair; by name."""
    return [described(concept, cache) for concept in concepts_in(embeddings) if is_learned(concept, cache)]


def is_learned(concept: Concept, cache: FactsCache) -> bool:
    """Whether it is one of the method's concepts and not just any embedding."""
    if concept.negative is not None or concept.is_trained:
        return True
    return concept.positive is not None and cache.is_ours(concept.positive)


def described(concept: Concept, cache: FactsCache) -> dict[str, Any]:
    """What a program is told of it."""
    about: dict[str, Any] = {"name": clean_text(concept.name), "size": concept.size}
    halves = [half for half in (concept.positive, concept.negative) if half is not None]
    facts = [cache.of(half) for half in halves]
    for fact in facts:
        if fact.problem:
            return {**about, "problem": fact.problem}
    negative = cache.of(concept.negative).vectors if concept.negative else 0
    return {
        **about,
        "has_negative": concept.negative is not None,
        "lacks": "positive" if concept.positive is None else "negative" if lacks_negative(concept, facts[0]) else "",
        "step": facts[0].step or 0,
        "model": facts[0].provenance.get("model", ""),
        "family": facts[0].family,
        "vectors": facts[0].vectors if concept.positive else 0,
        "negative_vectors": negative,
    }


def find_concept(embeddings: Path, name: str) -> Concept:
    """By its word, whose case does not matter; raises MissingError."""
    for concept in concepts_in(embeddings):
        if concept.name.lower() in _words(name):
            return concept
    raise MissingError(f"there is no concept {name}.")


def _words(name: str) -> tuple[str, str]:
    """What a concept of this name is called: a lone negative is called as such."""
    return name.lower(), negative_name(name).lower()


def throw_away(files: RunFiles) -> Path:
    """Move both halves and what belongs to their training into the trash; returns their folder there.

    Raises MissingError when there are none, SettingError while another process trains them, FileError when one stays.
    """
    with suppress(MissingError):
        return throw_away_concept(files.out, find_concept(files.out, files.name))
    if not files.folder.is_dir():
        raise MissingError(f"there is no concept {files.name}.")
    return throw_away_concept(files.out, Concept(files.name, None, None, (), is_trained=True))


def throw_away_concept(embeddings: Path, concept: Concept, key: str = "") -> Path:
    """As `throw_away`; `key` is that of the positive's facts, by which its preview comes along."""
    files = RunFiles(embeddings, concept.name)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    name = concept.files[0].path.stem if concept.files else concept.name  # a card's word may be any text
    place = _trash(embeddings) / f"{name[:_LONGEST]}-{stamp}"
    paths = dict.fromkeys(file.path for file in concept.files)
    paths |= dict.fromkeys(shown for path in paths if is_file(shown := card_picture_of(path)))
    moves = {path: place / place_inside(embeddings, path) for path in paths}
    if concept.is_trained and is_name(concept.name) and files.folder.is_dir():
        with only_one(files):
            pass
        moves[files.folder] = place / _TRAINING
    for preview in (thumbnails.path_of(embeddings, key), thumbnails.large_path_of(embeddings, key)):
        if key and preview.is_file():
            moves[preview] = place / preview.name
    move_together(embeddings, moves)
    return place


def throw_away_training(files: RunFiles) -> str:
    """Move a training into the trash, the concept of its name staying; returns what stands for it there, or nothing.

    Raises SettingError while another process trains it, FileError when it stays.
    """
    if not files.folder.is_dir():
        return ""
    return key_of_place(throw_away_concept(files.out, Concept(files.name, None, None, (), is_trained=True)))


def bring_back_training(embeddings: Path, key: str) -> str:
    """Undo `throw_away_training`; returns the name. Raises as `bring_back`."""
    for thrown in list_trash(embeddings):
        if thrown.key == key:
            bring_back_thrown(embeddings, thrown)
            return thrown.name
    raise MissingError("that is not in the trash any more.")


def list_trash(embeddings: Path) -> list[Thrown]:
    """What can be brought back, the latest first."""
    try:
        named = [place for place in _trash(embeddings).iterdir() if _PLACE.fullmatch(place.name)]
        places = [place for place in named if place.is_dir() and any(place.iterdir())]
    except OSError:
        return []
    found = []
    for place in sorted(places, key=key_of_place, reverse=True):
        with suppress(ValueError, OSError):  # no time that there is; or gone in between
            when = datetime.strptime(key_of_place(place), "%Y%m%d-%H%M%S-%f")
            found.append(Thrown(_name_in(place), place, when))
    return found


def _name_in(place: Path) -> str:
    """By the files that lie there: the folder's own name may be cut short."""
    short = place.name[: -len(key_of_place(place)) - 1].removesuffix(REPLACED.rstrip("-"))
    paths = _files_in(place)
    stems = [path.stem for path in paths if path.suffix.lower() in EMBEDDING_SUFFIXES]
    stems = stems or list(filter(None, map(card_word, paths)))
    words = [stem for stem in stems if not stem.lower().endswith(NEGATIVE_SUFFIX)] or stems
    return min(words, key=len, default=short)


def bring_back(files: RunFiles) -> None:
    """Undo the last `throw_away` of this name.

    Raises MissingError when the trash has nothing of it, SettingError when the name is taken meanwhile, FileError when
    one cannot be moved.
    """
    for thrown in list_trash(files.out):
        if thrown.name.lower() in _words(files.name):
            return bring_back_thrown(files.out, thrown)
    raise MissingError(f"the trash holds nothing of {files.name}.")


def bring_back_thrown(embeddings: Path, thrown: Thrown) -> None:
    """As `bring_back`, of exactly this one."""
    files = RunFiles(embeddings, thrown.name)
    homes = {path: _home(files, path, thrown.place) for path in _files_in(thrown.place)}
    if any(path.suffix.lower() in EMBEDDING_SUFFIXES or card_word(path) for path in homes):
        files.check_free()
    elif is_there(files.snapshot):
        raise SettingError(f"the word {thrown.name} has been trained again meanwhile; rename or delete that first.")
    if is_name(thrown.name) and thrown.place / _TRAINING in homes and not files.kept_steps():
        shutil.rmtree(files.folder, ignore_errors=True)  # of a training that never made a step
    move_together(embeddings, homes)
    if not _files_in(thrown.place):
        shutil.rmtree(thrown.place, ignore_errors=True)


def _files_in(place: Path) -> list[Path]:
    """The files of a concept in the trash, and the folder of its training."""
    inside = [path for path in (place / INSIDE).rglob("*") if path.is_symlink() or not path.is_dir()]
    return [path for path in place.iterdir() if path.name != INSIDE.name] + inside


def _home(files: RunFiles, path: Path, place: Path) -> Path:
    if path.is_relative_to(place / INSIDE):
        return files.out / path.relative_to(place / INSIDE)
    if path.name == _TRAINING:
        return files.folder
    return thumbnails.path_of(files.out, path.stem) if path.suffix == thumbnails.SUFFIX else files.out / path.name


def _trash(embeddings: Path) -> Path:
    return trash_of(embeddings)
