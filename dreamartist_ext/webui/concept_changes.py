"""Changes of a concept's files: another name, and two halves that find each other again. All of it, or nothing."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..engine.config import TrainConfig
from ..engine.embedding import check_name, negative_name
from ..engine.errors import DreamArtistError, FileError, SettingError
from ..engine.generations import one_before
from ..engine.run import RunFiles
from ..engine.snapshot import Snapshot
from ..engine.storage import save_snapshot
from ..hosts.only_one import only_one
from .concept_index import Concept, FactsCache, HalfFile, are_of_one_pair, is_name
from .concepts import move_all

MOST_CANDIDATES = 30


def rename(embeddings: Path, concept: Concept, new: str) -> None:
    """Give both halves and their training another name.

    Raises SettingError for a name that cannot be used or is taken, and while another process trains it, FileError when
    one of the files cannot be moved.
    """
    check_name(new)
    if new == concept.name:
        raise SettingError(f"{new} is its name already.")
    files = RunFiles(embeddings, new)
    if new.lower() != concept.name.lower():
        files.check_free()
    moves = {file.path: _renamed(file, concept, new) for file in concept.files}
    old = RunFiles(embeddings, concept.name)
    snapshot = None
    if concept.is_trained:
        with only_one(old):
            pass
        moves |= _training_moves(old, files)
        snapshot = _renamed_snapshot(old, new)
    move_all(moves)
    if snapshot is not None:
        _save_or_undo(snapshot, files, moves)


def _renamed(file: HalfFile, concept: Concept, new: str) -> Path:
    is_positive = concept.positive is not None and file.stem.lower() == concept.positive.stem.lower()
    return file.path.with_name((new if is_positive else negative_name(new)) + file.path.suffix)


def _training_moves(old: RunFiles, new: RunFiles) -> dict[Path, Path]:
    """The folder first, then the files in it that bear the name."""
    if is_name(new.name) and not new.kept_steps() and new.folder.is_dir() and not _is_same(old.folder, new.folder):
        with only_one(new):
            pass
        shutil.rmtree(new.folder, ignore_errors=True)  # of a training that never made a step
    moves = {old.folder: new.folder}
    for path in old.folder.iterdir():
        if match := re.fullmatch(re.escape(old.name) + r"(-\d{6,}.*)", path.name):
            moves[new.folder / path.name] = new.folder / f"{new.name}{match[1]}"
    return moves


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _renamed_snapshot(old: RunFiles, new: str) -> Snapshot | None:
    """None where there is none that could be continued."""
    with suppress(DreamArtistError):
        snapshot = old.last_snapshot()
        return replace(snapshot, config=replace(TrainConfig.from_json(snapshot.config), name=new).to_json())
    return None


def _save_or_undo(snapshot: Snapshot, files: RunFiles, moves: dict[Path, Path]) -> None:
    try:
        for path in (one_before(files.snapshot), files.snapshot):
            save_snapshot(snapshot, path)
    except FileError:
        move_all({target: source for source, target in reversed(moves.items())})
        raise


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
    move_all({half.path: half.path.with_name(negative_name(positive.name) + half.path.suffix)})


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
