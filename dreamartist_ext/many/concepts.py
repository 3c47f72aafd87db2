"""From a folder of pictures to concepts with names, and to the groups that share their passes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.config import TrainConfig
from ..engine.errors import DreamArtistError, FileError, PictureError, SettingError
from ..engine.names import name_of_file
from ..files.atomic import make_folder, write_atomically
from ..files.formats import shown
from ..files.picture_files import MASK_SUFFIX, shown_name
from ..files.run import RunFiles

ENDINGS = frozenset(".png .jpg .jpeg .webp .avif .bmp .gif .tif .tiff .ppm".split())
PLAN = "groups.json"


@dataclass(frozen=True)
class Concept:
    """One picture, and the word that it becomes."""

    name: str
    picture: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a concept. what: "trained", "already" (it was done before), "stopped" or "failed"; the last with a
    sentence."""

    name: str
    what: str
    sentence: str = ""


def concept_name(picture: Path) -> str:
    """The file's name as a word: `my cat (1).jpg` becomes `my-cat-1`; raises SettingError where it gives none."""
    return name_of_file(picture.stem)


def concepts_in(folder: Path, settings: Mapping[str, Any]) -> tuple[list[Concept], list[Outcome]]:
    """The concepts of a folder by name, and those whose names or settings are refused.

    Raises FileError for a folder that cannot be read, and PictureError for one without a picture.
    """
    concepts: dict[str, Concept] = {}
    refused = []
    for picture in _pictures_in(folder):
        try:
            concept = _concept_of(picture, settings, concepts)
        except DreamArtistError as error:
            refused.append(Outcome(shown(picture.name), "failed", str(error)))
            continue
        concepts[concept.name.lower()] = concept
    return [concepts[key] for key in sorted(concepts)], refused


def _concept_of(picture: Path, settings: Mapping[str, Any], others: Mapping[str, Concept]) -> Concept:
    concept = Concept(concept_name(picture), picture)
    if other := others.get(concept.name.lower()):
        raise SettingError(f"its name, {concept.name}, is that of {shown_name(other.picture)} too; rename one.")
    TrainConfig.from_mapping({**settings, "name": concept.name})
    return concept


def _is_picture(path: Path) -> bool:
    """By its name; what a Mac lays beside every file, `._cat.png`, is none."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def _pictures_in(folder: Path) -> list[Path]:
    """Without the masks of others."""
    try:
        files = sorted(path for path in folder.resolve().iterdir() if _is_picture(path))
    except OSError as error:
        raise FileError(f"the folder {shown_name(folder)} could not be read: {error.strerror}.") from error
    stems = {path.stem for path in files}
    pictures = [p for p in files if not (p.stem.endswith(MASK_SUFFIX) and p.stem[: -len(MASK_SUFFIX)] in stems)]
    if not pictures:
        raise PictureError(f"There is no picture in the folder {shown_name(folder)}; put one per concept into it.")
    return pictures


def groups_of(concepts: Sequence[Concept], per_pass: int, out: Path) -> list[list[Concept]]:
    """Groups of `per_pass` concepts. Raises FileError.

    A group that has begun stays together, even if pictures were added or removed since: so its trainings go on as they
    began.
    """
    if per_pass == 1:
        return [[concept] for concept in concepts]
    plan = RunFiles(out, PLAN).folder
    by_name = {concept.name: concept for concept in concepts}
    old = _read_plan(plan, per_pass)
    begun = [group for group in old if any(RunFiles(out, name).snapshot.exists() for name in group)]
    groups = [[by_name[name] for name in group if name in by_name] for group in begun]
    grouped = {concept.name for group in groups for concept in group}
    rest = [concept for concept in concepts if concept.name not in grouped]
    groups = [g for g in groups if g] + [rest[i : i + per_pass] for i in range(0, len(rest), per_pass)]
    elsewhere = [group for group in begun if not any(name in by_name for name in group)]
    names = [[concept.name for concept in group] for group in groups] + elsewhere
    make_folder(plan.parent)
    write_atomically(plan, json.dumps({"per_pass": per_pass, "groups": names}).encode())
    return groups


def _read_plan(plan: Path, per_pass: int) -> list[list[str]]:
    """The groups of an earlier run of as many per pass; none where there is no such plan."""
    try:
        found = json.loads(plan.read_text(encoding="utf-8"))
        same = found["per_pass"] == per_pass
        return [[str(name) for name in group] for group in found["groups"]] if same else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
