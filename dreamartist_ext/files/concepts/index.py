"""What is in the embeddings folder, for the page of cards: a listing by name, and a cache of what the files say.

Listing a folder of thousands opens no file. Only the files of the cards on the page are read, and again only when their
time or size on disk has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...engine.errors import FileError, SettingError
from ...engine.family import family_of, widths_of
from ...engine.host import Vectors
from ...engine.names import NEGATIVE_SUFFIX, check_name, negative_name
from ..below import entries_below
from ..card import CARD_SUFFIXES, read_card
from ..card_files import card_word
from ..formats import Embedding, shown
from ..run import RunFiles
from ..storage import EMBEDDING_SUFFIXES, MAX_EMBEDDING_BYTES, load_embedding

_SUFFIXES = (*EMBEDDING_SUFFIXES, *CARD_SUFFIXES)  # the first one is read, where a word has several files
KEPT_FACTS = 20_000  # files; a fact is a few hundred bytes
OUR_MARK = b"use_negative"  # one of the settings that every file of ours holds, as plain text


@dataclass(frozen=True)
class HalfFile:
    """One embedding file, as the folder lists it."""

    path: Path
    size: int  # bytes
    changed: int  # nanoseconds since 1970
    stem: str  # the word that it is in prompts: of a card, whose file may have any name, the one inside it
    is_card: bool = False


@dataclass(frozen=True)
class Facts:
    """What reading an embedding file gave; with a problem, nothing else is known."""

    family: str = ""
    vectors: int = 0
    step: int | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    key: str = ""  # the same for the same vectors, whatever the file is called
    problem: str = ""
    packed: int = 0  # vectors of the negative half inside a card, where prompts do not find it


@dataclass(frozen=True)
class Concept:
    """The files of one word and of its negative; one of the two may be missing."""

    name: str
    positive: HalfFile | None
    negative: HalfFile | None
    files: tuple[HalfFile, ...]  # also those that lose against another file of the same word
    is_trained: bool = False  # here: there is a folder of its training

    @property
    def key(self) -> str:
        """Stands for the concept in a page: names may hold whatever a file name may."""
        return hashlib.sha256(os.fsencode(self.name)).hexdigest()[:16]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def changed(self) -> int:
        return max(file.changed for file in self.files)


def list_files(folder: Path) -> list[HalfFile]:
    """The embedding files in a folder, which need not exist, and in those inside it; raises FileError if it cannot be
    listed."""
    found = []
    try:
        for entry in entries_below(folder, _SUFFIXES):
            with suppress(OSError):  # it went away in between, or is a link that leads nowhere
                found += _listed(entry)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(f"the folder {shown(folder.name)} could not be read: {error.strerror or error}.") from error
    return found


def _listed(entry: os.DirEntry[str]) -> list[HalfFile]:
    path, is_card = Path(entry.path), entry.name.lower().endswith(CARD_SUFFIXES)
    word = card_word(path) if is_card else entry.name.rpartition(".")[0]
    if not word or not entry.is_file():
        return []
    status = entry.stat()
    return [HalfFile(path, status.st_size, status.st_mtime_ns, word, is_card)]


def concepts_in(folder: Path) -> list[Concept]:
    """Every word in the folder with its negative, by name. A file ending in "-neg" is a word of its own only without
    a positive."""
    words: dict[str, list[HalfFile]] = {}
    for file in list_files(folder):
        words.setdefault(file.stem.lower(), []).append(file)
    trained = trainings(folder)
    concepts = []
    for word, files in words.items():
        is_negative = word.endswith(NEGATIVE_SUFFIX)
        if is_negative and word[: -len(NEGATIVE_SUFFIX)] in words:
            continue
        best = best_file(files)
        negatives = [] if is_negative else words.get(negative_name(word), [])
        concepts.append(
            Concept(
                name=best.stem,
                positive=None if is_negative else best,
                negative=best if is_negative else best_file(negatives, negative_name(best.stem)) if negatives else None,
                files=(*files, *negatives),
                is_trained=not is_negative and best.stem in trained,
            )
        )
    return sorted(concepts, key=lambda concept: concept.name.lower())


def best_file(files: Iterable[HalfFile], stem: str = "") -> HalfFile:
    """Of the files of one word, the one that is read: the spelling asked for first, then .pt before .safetensors."""
    files = tuple(files)
    if len(files) == 1:
        return files[0]
    return min(
        files, key=lambda f: (f.stem != stem, -len(f.path.parts), _SUFFIXES.index(f.path.suffix.lower()), f.stem)
    )


def trainings(folder: Path) -> frozenset[str]:
    """The names that have a folder beside the embeddings for their training."""
    try:
        with os.scandir(RunFiles(folder, "x").folder.parent) as entries:
            return frozenset(entry.name for entry in entries if is_name(entry.name) and entry.is_dir())
    except OSError:
        return frozenset()


def is_name(text: str) -> bool:
    """Whether a concept of ours can have this name, so that it is safe as a part of a path."""
    try:
        return bool(check_name(text))
    except SettingError:
        return False


class FactsCache:
    """What files hold, read once for each state that they have on disk."""

    def __init__(self) -> None:
        self._facts: dict[HalfFile, Facts] = {}
        self._marks: dict[HalfFile, bool] = {}

    def of(self, file: HalfFile) -> Facts:
        """Never raises for a bad file: its sentence is in the facts."""
        if file not in self._facts:
            try:
                facts = facts_of(file.path)
            except FileError as error:
                if isinstance(error.__cause__, OSError):
                    return Facts(problem=str(error))  # may well be readable the next time
                facts = Facts(problem=str(error))
            _limit(self._facts)[file] = facts
        return self._facts[file]

    def is_ours(self, file: HalfFile) -> bool:
        """Whether a file says that DreamArtist made it, by a look at its bytes: thousands take no second."""
        if file not in self._marks:
            _limit(self._marks)[file] = has_mark(file)
        return self._marks[file]


def _limit(kept: dict) -> dict:
    if len(kept) >= KEPT_FACTS:
        kept.clear()
    return kept


def has_mark(file: HalfFile) -> bool:
    if not 0 < file.size <= MAX_EMBEDDING_BYTES:
        return False
    try:
        return OUR_MARK in file.path.read_bytes()
    except OSError:
        return False


def facts_of(path: Path) -> Facts:
    """Read a file; raises FileError in one sentence."""
    if path.suffix.lower() in CARD_SUFFIXES:
        pair = read_card(path)
        card = Embedding(pair.name, pair.positive, pair.step, pair.provenance)
        return _facts(card, 0 if pair.negative is None else len(next(iter(pair.negative.values()))))
    return _facts(load_embedding(path))


def _facts(embedding: Embedding, packed: int = 0) -> Facts:
    return Facts(
        family=family_of(widths_of(embedding.vectors)),
        vectors=len(next(iter(embedding.vectors.values()))),
        step=embedding.step,
        provenance=embedding.provenance,
        key=vectors_key(embedding.vectors),
        packed=packed,
    )


def vectors_key(vectors: Vectors) -> str:
    digest = hashlib.sha256()
    for encoder, tensor in sorted(vectors.items()):
        digest.update(f"{encoder} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def lacks_negative(concept: Concept, facts: Facts) -> bool:
    """Whether a positive was learned together with a negative that is not there."""
    if concept.positive is None or concept.negative is not None or facts.packed:
        return False
    return bool(made_with(facts).get("use_negative"))


def made_with(facts: Facts) -> dict[str, object]:
    """The training's settings that a file of ours holds, or nothing."""
    try:
        settings = json.loads(facts.provenance.get("settings", "{}"))
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def are_of_one_pair(positive: Facts, negative: Facts) -> bool | None:
    """Whether two files say that they are; None where one does not say."""
    if "pair" in positive.provenance and "pair" in negative.provenance:
        return positive.provenance["pair"] == negative.provenance["pair"]
    if made_with(positive) and made_with(negative):
        return (positive.step, positive.provenance) == (negative.step, negative.provenance)
    return None
