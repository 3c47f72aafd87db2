"""A full evaluation from the page or by a program: the same report as `dreamartist evaluate` writes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from PIL import Image

from ...engine.errors import FileError, SettingError
from ...engine.names import check_name
from ...evaluation.evaluate import Evaluation, Results
from ...evaluation.eyes import Eyes
from ...evaluation.features import FeatureNet, check_packages
from ...evaluation.gather import References, concept_of
from ...evaluation.plan import Plan, Progress
from ...evaluation.prompt_lists import EMBEDDED, GENERAL, PromptLists, load_lists
from ...evaluation.report import write_report
from ...evaluation.studio import studio_of
from ...files.picture_files import load_picture
from ...files.run import RunFiles
from ...files.storage import load_pair
from ..one_at_a_time import OneAtATime, Work, finish, in_background
from ..training.job import Status
from ..training.jobs import Desk

REPORTS = "_reports"  # folder beside the trainings
MOST_AT_ONCE = 12
MOST_KEPT = 1000  # strips of pictures on disk


@dataclass
class Report(Work):
    names: tuple[str, ...]
    references: tuple[Image.Image, ...]
    plan: Plan
    plain_word: str
    folder: Path
    progress: Progress = field(default_factory=lambda: Progress(0))
    results: Results | None = None

    @property
    def page(self) -> Path:
        return self.folder / "report.html"


class Evaluator(OneAtATime[Report]):
    """One report at a time. It waits for the model like every picture and training."""

    doing = "being evaluated"

    def prepare(
        self,
        names: Sequence[str],
        references: Mapping[str, Path] | None = None,
        lists: PromptLists | None = None,
        plain_word: str = "",
        **plan: Any,
    ) -> Report:
        """references: pictures by name, where the training did not keep them. plan: fields of `Plan`.

        Checks all that can be checked without the model; raises SettingError, FileError or PictureError.
        """
        check_packages()
        if not 1 <= len(names) <= MOST_AT_ONCE or len({name.lower() for name in names}) != len(names):
            raise SettingError(f"names must be 1 to {MOST_AT_ONCE} different ones, got {len(names)}.")
        shipped: Path = getattr(self.desk.workplace, "prompts", GENERAL)
        drawn = Plan(lists or load_lists(shipped), judges_styles=shipped == EMBEDDED, **plan)
        given = References({name.lower(): path for name, path in (references or {}).items()})
        files = [self.desk.files(check_name(name)) for name in names]
        for each in files:
            each.finish_interrupted()
            load_pair(each.out, each.name)
        found = tuple(load_picture(_reference(given, each)) for each in files)
        folder = files[0].folder.with_name(REPORTS) / "+".join(names)[:100]
        report = Report(tuple(names), found, drawn, plain_word, folder)
        return self._take(
            report, lambda other: SettingError(f"{', '.join(other.names)} is being evaluated; stop it first, or wait.")
        )

    def run(self, report: Report) -> Report:
        """Draw, measure and write. Never raises: what went wrong is in the report."""

        def draw() -> str:
            with self.desk.workplace.gpu(report.task):
                self._write(report)
            return f"The report is {report.page}."

        finish(report, draw, "The evaluation")
        return report

    def _write(self, report: Report) -> None:
        report.status = Status.RUNNING
        workplace = self.desk.workplace
        text = f"DreamArtist: evaluating {', '.join(report.names)}"

        def follow(progress: Progress) -> None:
            report.progress = progress
            workplace.show(progress.done, progress.total, text)
            self._check_wanted(report)

        eyes = Eyes(FeatureNet())
        host = workplace.host()
        concepts = [
            concept_of(RunFiles(workplace.embeddings, name), reference, host.picture_size, report.plain_word)
            for name, reference in zip(report.names, report.references, strict=True)
        ]
        pictures = report.folder.with_name("_pictures")
        evaluation = Evaluation(concepts, report.plan, eyes, studio_of(host), pictures, None, follow)
        report.results = evaluation.run()
        write_report(report.results, report.folder)
        evaluation.album.forget_oldest(MOST_KEPT)

    def begin(self, report: Report) -> threading.Thread:
        """Run it in a thread of its own."""
        return in_background(self.run, report, f"evaluates {report.names[0]}")


def _reference(given: References, files: RunFiles) -> Path:
    """In the words of a page and of a program, which have no command's options."""
    try:
        return given.find(files, False)
    except FileError as error:
        raise FileError(
            f"there is no picture of {files.name} to compare with: the one that it was trained on is not "
            "here; train it again, or give the picture."
        ) from error


_evaluators: WeakKeyDictionary[Desk, Evaluator] = WeakKeyDictionary()


def evaluator_of(desk: Desk) -> Evaluator:
    """The desk's own: the page and the API see the same report."""
    return _evaluators.setdefault(desk, Evaluator(desk))
