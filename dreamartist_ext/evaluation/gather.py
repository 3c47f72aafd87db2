"""What is to be evaluated, found by name: pairs, the pictures they were learned from, and what is known of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from ..engine.embedding import EmbeddingPair
from ..engine.errors import DreamArtistError, FileError, SettingError
from ..engine.host import Vectors
from ..engine.names import NEGATIVE_SUFFIX
from ..engine.prompts import is_one_line
from ..engine.stopping import Check
from ..files.picture_files import MASK_SUFFIX, load_picture
from ..files.run import RunFiles
from ..files.storage import embedding_files, load_pair, load_snapshot
from .plan import Concept

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp")
ANYTHING = "thing"  # the plain word of a pair that started from no word
MOST_CONCEPTS = 200


@dataclass(frozen=True)
class References:
    """The pictures that pairs were learned from: by NAME=PICTURE, in folders as NAME.png, or one for a single pair."""

    named: dict[str, Path]
    folders: tuple[Path, ...] = ()
    single: Path | None = None

    @staticmethod
    def parse(given: Sequence[str]) -> References:
        """Raises FileError for what is not there."""
        named: dict[str, Path] = {}
        folders, single = [], None
        for text in given:
            name, equals, path = text.partition("=")
            if equals and not Path(text).exists():
                named[name.lower()] = Path(path)
            elif Path(text).is_dir():
                folders.append(Path(text))
            else:
                single = Path(text)
        for missing in [path for path in (*named.values(), *([single] if single else [])) if not path.is_file()]:
            raise FileError(f"there is no picture {missing}.")
        return References(named, tuple(folders), single)

    def find(self, files: RunFiles, is_only: bool) -> Path:
        """Of a pair; raises FileError in one sentence where there is none."""
        name = files.name.lower()
        found = self.named.get(name) or next((p for p in self.in_folders() if p.stem.lower() == name), None)
        if found is None and is_only:
            found = self.single
        found = found or kept_picture(files)
        if found is None:
            raise FileError(
                f"there is no picture of {files.name} to compare with; give the one that it was learned from.",
                "picture of it",
            )
        return found

    def in_folders(self) -> list[Path]:
        return [path for folder in self.folders for path in pictures_in(folder)]


def pictures_in(folder: Path) -> list[Path]:
    """Without masks; raises FileError if the folder cannot be read."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    except OSError as error:
        raise FileError(f"the folder {folder} could not be read: {error.strerror}.") from error
    return [path for path in found if not path.stem.endswith(MASK_SUFFIX)]


def kept_picture(files: RunFiles) -> Path | None:
    """The first picture that the page keeps beside a training, if it does."""
    folder = files.folder / "pictures"
    return next(iter(pictures_in(folder)), None) if folder.is_dir() else None


def files_of(targets: Sequence[str], embeddings: Path) -> list[RunFiles]:
    """The pairs meant by names, looked up in `embeddings`, and by folders; raises FileError or SettingError."""
    found: dict[str, RunFiles] = {}
    for target in targets:
        folder = Path(target)
        is_folder = folder.is_dir()
        names = names_in(folder) if is_folder else [target]
        if not names:
            raise FileError(f"there is no embedding in the folder {folder}.")
        for name in names:
            if name.lower() in found:
                raise SettingError(f"{name} was given twice; a report tells its concepts apart by their names.")
            found[name.lower()] = RunFiles(folder if is_folder else embeddings, name)
    if len(found) > MOST_CONCEPTS:
        raise SettingError(f"{len(found)} pairs are too many for one report; {MOST_CONCEPTS} is the most.")
    return list(found.values())


def names_in(folder: Path) -> list[str]:
    """Words in a folder of embeddings; a negative belongs to its positive."""
    stems = {path.stem for path in embedding_files(folder)}
    lower = {stem.lower() for stem in stems}
    halves = {stem for stem in stems if stem.lower().endswith(NEGATIVE_SUFFIX)}
    lone = {half for half in halves if half.lower().removesuffix(NEGATIVE_SUFFIX) not in lower}
    return sorted(stems - halves | lone)


def concept_of(files: RunFiles, reference: Image.Image, side: int, plain_word: str = "") -> Concept:
    """A pair with all that is known of it. `side`: pixels of the model's pictures."""
    pair = load_pair(files.out, files.name)
    return Concept(pair, square(reference, side), plain_word or start_word(pair), checks_of(files))


def check_widths(pair: EmbeddingPair, widths: dict[str, int], model: str) -> None:
    """Raises SettingError for a pair of another kind of model."""
    halves: list[Vectors] = [pair.positive, *([pair.negative] if pair.negative is not None else [])]
    for half in halves:
        if {key: vectors.shape[1] for key, vectors in half.items()} != widths:
            raise SettingError(f"{pair.name} was made for another kind of model than {model}.")


def start_word(pair: EmbeddingPair) -> str:
    """The word that the training started from, as far as the file says."""
    try:
        settings = json.loads(pair.provenance.get("settings", "{}"))
    except (ValueError, RecursionError):
        settings = {}
    word = str(settings.get("initialization_text", "")) if isinstance(settings, dict) else ""
    return word.strip() if any(map(str.isalpha, word)) and is_one_line(word) else ANYTHING


def checks_of(files: RunFiles) -> tuple[Check, ...]:
    """The check losses of a training whose files are still there."""
    try:
        return load_snapshot(files.snapshot).checks
    except DreamArtistError:
        return ()


def other_pictures(references: References, concepts: Sequence[Concept], side: int) -> dict[str, Image.Image]:
    """Pictures in the reference folders that no pair was learned from: more to tell things apart from."""
    names = {concept.name.lower() for concept in concepts}
    paths = [path for path in references.in_folders() if path.stem.lower() not in names]
    return {path.stem: square(load_picture(path), side) for path in paths}


def square(picture: Image.Image, side: int) -> Image.Image:
    """The middle of the picture, as a training sees it."""
    return ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
