"""Comparing: one concept drawn in several ways, or as it was at several steps, a cell of the grid after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from weakref import WeakKeyDictionary

from ...engine.embedding import EmbeddingPair
from ...engine.errors import SettingError
from ...engine.names import check_name, negative_name
from ...evaluation.figures import Way
from ...evaluation.gather import start_word
from ...evaluation.pictures import Album, Batch
from ...evaluation.prompt_lists import checked_subject, filled
from ...evaluation.studio import studio_of
from ...files.storage import load_pair
from ..one_at_a_time import OneAtATime, Work, finish, in_background
from ..training.job import Status
from ..training.jobs import Desk
from ..training.previews import png_bytes

KEPT = "_compared"  # folder beside the trainings
MOST_PROMPTS, MOST_SEEDS, MOST_STEPS, MOST_COLUMNS = 12, 8, 100, 12
MOST_GUIDANCE = 30.0
MOST_KEPT = 300  # strips of pictures on disk


class What(str, Enum):
    """The columns of the grid."""

    WAYS = "Pair, positive only, plain word"
    STEPS = "Saved steps"


@dataclass(frozen=True)
class Column:
    """`step`: of the steps on disk, so that it can be put in use."""

    label: str
    pair: EmbeddingPair
    way: Way
    step: int | None = None

    def batch(self, line: str, seeds: Sequence[int], guidance: float, steps: int) -> Batch:
        is_plain = self.way is Way.PLAIN
        prompt = filled(line, start_word(self.pair) if is_plain else self.pair.name)
        has_negative = self.way is Way.PAIR and self.pair.negative is not None
        embeddings = {} if is_plain else self.pair.named() if has_negative else {self.pair.name: self.pair.positive}
        negative = negative_name(self.pair.name) if has_negative else ""
        count = len(seeds)
        return Batch((prompt,) * count, (negative,) * count, tuple(seeds), guidance, steps, embeddings)


@dataclass
class Comparison(Work):
    name: str
    what: What
    prompts: tuple[str, ...]
    columns: tuple[Column, ...]
    seeds: tuple[int, ...]
    guidance: float
    steps: int
    cells: dict[tuple[int, int], tuple[bytes, ...]] = field(default_factory=dict)  # (prompt, column): PNG files
    done: int = 0
    began: float = 0.0

    @property
    def total(self) -> int:
        """Steps of all pictures."""
        return len(self.prompts) * len(self.columns) * len(self.seeds) * self.steps

    @property
    def seconds_left(self) -> float:
        passed = time.monotonic() - self.began
        return passed / self.done * (self.total - self.done) if self.done and self.began else 0.0


class Comparer(OneAtATime[Comparison]):
    """One comparison at a time. It waits for the model like every picture and training."""

    doing = "being compared"

    def prepare(
        self,
        name: str,
        what: What,
        prompts: Sequence[str],
        seeds: int = 2,
        guidance: float = 5.0,
        steps: int = 20,
        first_seed: int = 0,
    ) -> Comparison:
        """Check all that can be checked without the model; raises SettingError or FileError."""
        lines = tuple(checked_subject(f"prompt {n}", line) for n, line in enumerate(prompts, start=1))
        for label, value, most in (
            ("prompts", len(lines), MOST_PROMPTS),
            ("seeds", seeds, MOST_SEEDS),
            ("steps", steps, MOST_STEPS),
        ):
            if not 1 <= value <= most:
                raise SettingError(f"{label} must be 1 to {most}, got {value}.")
        if not 0 <= guidance <= MOST_GUIDANCE:
            raise SettingError(f"the guidance must be 0 to {MOST_GUIDANCE:g}, got {guidance:g}.")
        columns = self._columns(check_name(name), what)
        numbers = tuple(range(first_seed, first_seed + seeds))
        comparison = Comparison(name, what, lines, columns, numbers, guidance, steps)
        return self._take(
            comparison, lambda other: SettingError(f"{other.name} is being compared; stop it first, or wait.")
        )

    def _columns(self, name: str, what: What) -> tuple[Column, ...]:
        files = self.desk.files(name)
        files.finish_interrupted()
        if what is What.STEPS:
            kept = files.kept_steps()[-MOST_COLUMNS:]
            if not kept:
                raise SettingError(f"{name} has no saved steps; they are saved while it is trained here.")
            pairs = [load_pair(files.folder, files.step_stem(step)) for step in kept]
            for pair in pairs:
                pair.name = name
            return tuple(Column(f"step {s}", pair, Way.PAIR, s) for s, pair in zip(kept, pairs, strict=True))
        pair = load_pair(files.out, name)
        ways = tuple(Way) if pair.negative is not None else (Way.POSITIVE_ONLY, Way.PLAIN)
        labels = {Way.PAIR: "the pair", Way.POSITIVE_ONLY: "positive only", Way.PLAIN: f"“{start_word(pair)}”"}
        return tuple(Column(labels[way], pair, way) for way in ways)

    def run(self, comparison: Comparison) -> Comparison:
        """Draw every cell, or find it on disk. Never raises: what went wrong is in the comparison."""

        def draw() -> str:
            with self.desk.workplace.gpu(comparison.task):
                self._draw(comparison)
            return ""

        finish(comparison, draw, "Comparing")
        return comparison

    def _draw(self, comparison: Comparison) -> None:
        workplace = self.desk.workplace
        comparison.status, comparison.began = Status.RUNNING, time.monotonic()
        self._check_wanted(comparison)
        host = workplace.host()
        studio = studio_of(host)
        text = f"DreamArtist: comparing {comparison.name}"

        def draw(batch: Batch) -> list:
            def on_step() -> None:
                comparison.done += len(batch.seeds)
                workplace.show(comparison.done, comparison.total, text)
                self._check_wanted(comparison)

            return studio.draw(batch, on_step)

        folder = self.desk.files(comparison.name).folder.with_name(KEPT)
        album = Album(folder, studio.identity, draw, studio.most)
        for row, line in enumerate(comparison.prompts):
            for number, column in enumerate(comparison.columns):
                self._check_wanted(comparison)
                batch = column.batch(line, comparison.seeds, comparison.guidance, comparison.steps)
                pictures = tuple(png_bytes(picture) for picture in album(batch))
                comparison.cells = {**comparison.cells, (row, number): pictures}
                comparison.done = len(comparison.cells) * len(comparison.seeds) * comparison.steps
        album.forget_oldest(MOST_KEPT)

    def use_step(self, step: int) -> str:
        """Put a step that is shown in use; returns the concept's name. Raises SettingError or FileError."""
        comparison = self.current
        if comparison is None or step not in [column.step for column in comparison.columns]:
            raise SettingError(f"step {step} is not shown.")
        self.desk.use_step(comparison.name, step)
        return comparison.name

    def begin(self, comparison: Comparison) -> threading.Thread:
        """Draw in a thread of its own."""
        return in_background(self.run, comparison, f"compares {comparison.name}")


_comparers: WeakKeyDictionary[Desk, Comparer] = WeakKeyDictionary()


def comparer_of(desk: Desk) -> Comparer:
    """The desk's own: the page and the API see the same comparison."""
    return _comparers.setdefault(desk, Comparer(desk))
