"""Changes of a concept's files: another name, and two halves that find each other again. All of it, or nothing."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ...engine.config import TrainConfig
from ...engine.errors import DreamArtistError, FileError, SettingError
from ...engine.names import check_name, negative_name, positive_name
from ...engine.snapshot import Snapshot
from ..atomic import TEMPORARY_SUFFIX
from ..below import is_file
from ..generations import one_before
from ..moves import move_together
from ..only_one import only_one
from ..pairing import Pairing, words_of
from ..run import RunFiles
from ..storage import save_snapshot
from .host_cards import card_picture_of
from .index import Concept, FactsCache, HalfFile, are_of_one_pair, best_file, is_name, list_files, trainings

MOST_CANDIDATES = 30


def rename(embeddings: Path, concept: Concept, new: str) -> None:
    """Give both halves and their training another name, also where the other half has none of its own.

    Raises SettingError for a name that cannot be used or is taken, and while another process trains it, FileError when
    one of the files cannot be moved.
    """
    check_name(new)
    concept = with_other_half(embeddings, concept)
    if concept.positive is not None and concept.positive.is_card:
        where = concept.positive.path.name
        raise SettingError(f"the word {concept.name} stands inside the card {where}; make files of it first.", "card")
    named = {file.path: _renamed(file, concept, new) for file in concept.files if not file.is_card}
    named |= {
        card_picture_of(path): card_picture_of(target)
        for path, target in named.items()
        if is_file(card_picture_of(path))
    }
    moves = {path: target for path, target in named.items() if path != target}
    if not moves:
        raise SettingError(f"{new} is its name already.")
    files = RunFiles(embeddings, new)
    if new.lower() != concept.name.lower():
        files.check_free(own=named)
    old = RunFiles(embeddings, concept.name)
    if not concept.is_trained or new == concept.name:
        return move_together(embeddings, moves)
    with only_one(old):
        pass
    return _move_with_training(moves, old, files)


def with_other_half(embeddings: Path, concept: Concept) -> Concept:
    """The concept, completed with its other half: the one that its files say belongs to it, whatever its name."""
    files = list_files(embeddings)
    cards = {file.stem: file.path for file in files if file.is_card}
    pairing = Pairing({**cards, **words_of(file.path for file in files if not file.is_card)})
    positive, negative = (half.stem if half else None for half in (concept.positive, concept.negative))
    words = {file.stem.lower() for file in files}
    if positive is not None:
        found = pairing.negative_of(positive)
        if found is not None and not _is_of_another(found, positive_name(found), positive, words):
            negative = found
    elif negative is not None:
        found = pairing.positive_of(negative)
        if found is not None and not _is_of_another(found, negative_name(found), negative, words):
            positive = found
    own = {each.lower() for each in (positive, negative) if each is not None}
    own_files = tuple(file for file in files if file.stem.lower() in own)
    name = positive or concept.name
    is_trained = concept.is_trained or name in trainings(embeddings)
    return Concept(name, _best(own_files, positive), _best(own_files, negative), own_files, is_trained)


def _is_of_another(half: str, partner: str, word: str, words: Collection[str]) -> bool:
    """Whether the found half already has a partner under its own name.

    Then the concept to be renamed is only a copy, and the pair that it was copied from must stay together.
    """
    return partner.lower() != word.lower() and partner.lower() != half.lower() and partner.lower() in words


def _best(files: Sequence[HalfFile], stem: str | None) -> HalfFile | None:
    named = [file for file in files if stem is not None and file.stem.lower() == stem.lower()]
    return best_file(named, stem or "") if named else None


def _renamed(file: HalfFile, concept: Concept, new: str) -> Path:
    is_positive = concept.positive is not None and file.stem.lower() == concept.positive.stem.lower()
    return file.path.with_name((new if is_positive else negative_name(new)) + file.path.suffix)


def _move_with_training(moves: Mapping[Path, Path], old: RunFiles, new: RunFiles) -> None:
    """The files, the training's folder, then what in it bears the name: files, and the name inside the snapshots."""
    if is_name(new.name) and not new.kept_steps() and new.folder.is_dir() and not _is_same(old.folder, new.folder):
        with only_one(new):
            pass
        shutil.rmtree(new.folder, ignore_errors=True)  # of a training that never made a step
    inside = _names_inside(old, new)
    snapshots = [path.name for path in (one_before(old.snapshot), old.snapshot) if path.is_file()]
    try:
        snapshot = _renamed_snapshot(old, new.name)
        if snapshot is not None:
            for name in snapshots:
                save_snapshot(snapshot, old.folder / _written(name))
                inside |= {name: _replaced(name), _written(name): name}
        within = {new.folder / name: new.folder / target for name, target in inside.items()}
        gone = [new.folder / _replaced(name) for name in snapshots]
        move_together(old.out, {**moves, old.folder: new.folder, **within}, gone)
    except DreamArtistError:
        for name in snapshots:
            (old.folder / _written(name)).unlink(missing_ok=True)
        raise


def _names_inside(old: RunFiles, new: RunFiles) -> dict[str, str]:
    """The steps' files in a training's folder."""
    found = (re.fullmatch(re.escape(old.name) + r"(-\d{6,}.*)", path.name) for path in old.folder.iterdir())
    return {match[0]: f"{new.name}{match[1]}" for match in found if match}


def _written(name: str) -> str:
    return f".{name}.written{TEMPORARY_SUFFIX}"


def _replaced(name: str) -> str:
    return f".{name}.replaced{TEMPORARY_SUFFIX}"


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _renamed_snapshot(old: RunFiles, new: str) -> Snapshot | None:
    """None where there is none that could be continued."""
    with suppress(DreamArtistError):
        snapshot = old.last_snapshot()
        return replace(snapshot, config=replace(TrainConfig.from_json(snapshot.config), name=new).to_json())
    return None


def reunite(positive: Concept, negative: Concept, cache: FactsCache) -> None:
    """Give a lone negative the name of a lone positive; raises SettingError or FileError.

    `negative` may also be an embedding without the ending that marks a negative.
    """
    if positive.positive is None or positive.negative is not None:
        raise SettingError(f"{positive.name} is not a positive half that lacks its negative.")
    if negative.positive is not None and negative.negative is not None:
        raise SettingError(f"{negative.name} is whole: it has a negative of its own.")
    half = negative.negative or negative.positive
    if half is None or negative.name == positive.name:
        raise SettingError(f"{negative.name} cannot be the negative of {positive.name}.")
    facts, others = cache.of(positive.positive), cache.of(half)
    for problem in filter(None, (facts.problem, others.problem)):
        raise FileError(problem)
    if facts.family != others.family:
        raise SettingError(
            f"{positive.name} belongs to {facts.family} and {negative.name} to {others.family}: they are no pair."
        )
    move_together(half.path.parent, {half.path: half.path.with_name(negative_name(positive.name) + half.path.suffix)})


def candidates(concept: Concept, concepts: Sequence[Concept], cache: FactsCache) -> list[tuple[Concept, bool]]:
    """What the missing half of `concept` may be called now, likeliest first; and whether it is certainly that one."""
    wants_positive = concept.positive is None
    mine = concept.negative or concept.positive
    lone = [each for each in concepts if each is not concept and (each.positive is None or each.negative is None)]
    fitting = [each for each in lone if each.positive is not None] if wants_positive else lone

    def closeness(each: Concept) -> int:
        letters = zip(_word(each), _word(concept), strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], letters))

    def is_certain(each: Concept) -> bool:
        half = each.positive or each.negative
        return bool(mine and half and cache.is_ours(half) and are_of_one_pair(cache.of(mine), cache.of(half)))

    ranked = sorted(
        ((is_certain(each), each.positive is None and not wants_positive, closeness(each), each) for each in fitting),
        key=lambda row: row[:3],
        reverse=True,
    )
    return [(each, certain) for certain, _, _, each in ranked[:MOST_CANDIDATES]]


def _word(concept: Concept) -> str:
    name = concept.name.lower()
    return name if concept.positive is not None else name[: -len(negative_name(""))]
