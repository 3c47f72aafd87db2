"""`dreamartist evaluate`: from names and folders to the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.errors import FileError, SettingError
from ..engine.prompts import is_one_line
from ..evaluation.clip import ClipNet
from ..evaluation.evaluate import Evaluation
from ..evaluation.eyes import Eyes
from ..evaluation.features import FeatureNet
from ..evaluation.gather import References, check_widths, concept_of, files_of, other_pictures
from ..evaluation.plan import Plan, Progress
from ..evaluation.prompt_lists import EMBEDDED, GENERAL, KINDS, load_lists
from ..evaluation.report import write_report
from ..evaluation.studio import studio_of
from ..files.picture_files import load_picture
from ..hosts.diffusers.model_files import load_host, quiet_libraries
from .output import answer, say
from .progress import bar

EMBEDDED_NAME = "the embedded model"
LONGEST_GROUP = 40


def copy_prompts(folder: Path, is_embedded: bool) -> None:
    """Put the shipped lists into a folder, to be edited; raises FileError if one is there already."""
    shipped = EMBEDDED if is_embedded else GENERAL
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            if (folder / f"{kind}.txt").exists():
                raise FileError(f"{folder / kind}.txt is there already; choose another folder.")
        for kind in KINDS:
            shutil.copyfile(shipped / f"{kind}.txt", folder / f"{kind}.txt")
    except OSError as error:
        raise FileError(f"the lists could not be written to {folder}: {error.strerror}.") from error


def evaluate(
    targets: Sequence[str],
    embeddings: Path,
    references: Sequence[str],
    plain_words: Sequence[str],
    prompts: Path | None,
    plan: dict[str, Any],
    out: Path,
    clip: tuple[Path, str] | None,
    loading: tuple[Path | None, str, str, int],
) -> None:
    """Draw, measure, and write the report; what was drawn before is not drawn again.

    plan: fields of `Plan`, without lists. loading: what `load_host` takes.
    """
    is_embedded = loading[0] is None
    lists = load_lists(prompts or (EMBEDDED if is_embedded else GENERAL))
    drawn = Plan(lists, judges_styles=is_embedded, **plan)
    files = files_of(targets, embeddings)
    given = References.parse(references)
    found = [load_picture(given.find(each, len(files) == 1)) for each in files]
    words = words_by_name(plain_words)
    eyes = Eyes(FeatureNet(), ClipNet(*clip) if clip else None)
    quiet_libraries()
    host = load_host(*loading)
    side = host.picture_size
    concepts = [
        concept_of(each, picture, side, words.get(each.name.lower(), words.get("", "")))
        for each, picture in zip(files, found, strict=True)
    ]
    for concept in concepts:
        check_widths(concept.pair, host.widths, host.name)
    studio = studio_of(host)
    studio = replace(studio, name=EMBEDDED_NAME) if is_embedded else studio
    others = other_pictures(given, concepts, side)
    with bar("drawing") as shown:
        evaluation = Evaluation(concepts, drawn, eyes, studio, out / "pictures", others, showing(shown))
        results = evaluation.run()
    written = write_report(results, out)
    say(f"Look at {written[0].resolve()}\nThe figures are in {written[1].name} and {written[2].name} beside it.")
    answer({"report": str(written[0].resolve()), "files": [str(path) for path in written]})


def words_by_name(given: Sequence[str]) -> dict[str, str]:
    """WORD for all pairs, under the empty name, or NAME=WORD for one."""
    words = {}
    for text in given:
        name, equals, word = text.partition("=")
        name, word = (name.lower(), word) if equals else ("", text)
        if not word.strip() or not is_one_line(word):
            raise SettingError(f"plain_word must be a word such as cat, or NAME=WORD, got {text[:80]!r}.")
        words[name] = word.strip()
    return words


def showing(shown: Any) -> Callable[[Progress], None]:
    """A bar with the time left, of what is still to be drawn."""

    def show(progress: Progress) -> None:
        shown.total = progress.total
        shown.set_description(progress.doing[:LONGEST_GROUP], refresh=False)
        shown.update(progress.done - shown.n)

    return show
