"""The evaluation itself: draw what the plan says, or find it on disk, and measure it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from . import looking
from .drawing_styles import StyleJudge, examples_batch, grouped, left_out_accuracy
from .eyes import Eyes
from .figures import Figure, Observation, figures_of
from .pictures import Album, Batch, Studio
from .plan import Concept, Drawing, Plan, Progress, drawings, start_batch


@dataclass(frozen=True)
class Shown:
    """The pictures of a drawing, by line, each with every seed; `start` is what an edit began with."""

    drawing: Drawing
    pictures: tuple[tuple[Image.Image, ...], ...]
    start: Image.Image | None = None


@dataclass(frozen=True)
class Results:
    """All that a report is made of.

    `candidates` are the names of the pictures among which things were recognised; `style_ceiling` is how often the
    judge of drawing styles is right about what the model knows by itself.
    """

    concepts: tuple[Concept, ...]
    plan: Plan
    shown: tuple[Shown, ...]
    observations: tuple[Observation, ...]
    figures: tuple[Figure, ...]
    eyes: str
    model: str
    candidates: tuple[str, ...]
    style_ceiling: float | None = None


class Evaluation:
    """One run. What was drawn stays in `folder`, so that a run that was stopped goes on there."""

    def __init__(
        self,
        concepts: Sequence[Concept],
        plan: Plan,
        eyes: Eyes,
        studio: Studio,
        folder: Path,
        others: Mapping[str, Image.Image] | None = None,
        on_progress: Callable[[Progress], object] = lambda progress: None,
    ) -> None:
        """others: pictures of more things, by name, to make recognising harder. `on_progress` may raise to stop."""
        self.concepts, self.plan, self.eyes, self.studio = tuple(concepts), plan, eyes, studio
        self.on_progress = on_progress
        self.candidates = {**(others or {}), **{concept.name: concept.reference for concept in concepts}}
        self.album = Album(folder, studio.identity, self._draw, studio.most)
        self.progress = Progress(0)
        self._began = 0.0

    def run(self) -> Results:
        todo = list(drawings(self.concepts, self.plan))
        self.progress.total = self._steps_to_draw(todo)
        self._began = time.monotonic()
        self.on_progress(self.progress)
        judge, ceiling = self._style_judge()
        references = {concept.name: self.eyes([concept.reference]) for concept in self.concepts}
        names = list(self.candidates)
        candidates = torch.cat([self.eyes([picture]).content for picture in self.candidates.values()])
        shown: list[Shown] = []
        observations: list[Observation] = []
        for drawing in todo:
            self.progress.doing = f"{drawing.concept}, {drawing.section}: {drawing.way.value}"
            start = self._start(drawing)
            pictures = self.album(drawing.batch(self.plan, start))
            if drawing.section == "composition":
                values = looking.of_compositions(drawing, pictures, candidates, names, self.eyes)
            elif start is not None:
                reference = references[drawing.concept]
                values = looking.of_edits(drawing, self.plan, pictures, start, reference, self.eyes)
            else:
                reference = references[drawing.concept]
                values = looking.of_prompts(drawing, self.plan, pictures, reference, self.eyes, judge)
            observations += observed(drawing, self.plan, values)
            shown.append(Shown(drawing, by_line(pictures, len(self.plan.seeds)), start))
        about = (self.eyes.name, self.studio.name, tuple(names), ceiling)
        found = tuple(figures_of(observations))
        return Results(self.concepts, self.plan, tuple(shown), tuple(observations), found, *about)

    def _draw(self, batch: Batch) -> list[Image.Image]:
        def on_step() -> None:
            self.progress.done += len(batch.seeds)
            self.progress.seconds = time.monotonic() - self._began
            self.on_progress(self.progress)

        return self.studio.draw(batch, on_step)

    def _start(self, drawing: Drawing) -> Image.Image | None:
        if drawing.edit is None:
            return None
        if drawing.edit.start is None:
            return drawing.words[0].reference
        return self.album(start_batch(drawing.edit, self.plan))[0]

    @property
    def _judges(self) -> bool:
        return self.plan.judges_styles and looking.can_judge(self.plan.lists.styles)

    def _style_judge(self) -> tuple[StyleJudge | None, float | None]:
        if not self._judges:
            return None, None
        self.progress.doing = "drawing styles of things that the model knows"
        pictures = self.album(examples_batch(self.plan.steps))
        examples = grouped(self.eyes(pictures).statistics)
        return StyleJudge(examples), left_out_accuracy(examples)

    def _steps_to_draw(self, todo: Sequence[Drawing]) -> int:
        """Of what is not on disk; what an edit makes is looked for only where its start is there already."""
        batches: dict[str, tuple[Batch, int]] = {}

        def add(batch: Batch, steps: int) -> None:
            batches[batch.key(self.studio.identity)] = batch, steps

        if self._judges:
            add(examples_batch(self.plan.steps), self.plan.steps)
        unknown = 0
        for drawing in todo:
            edit = drawing.edit
            start = None
            if edit is not None and edit.start is not None:
                first = start_batch(edit, self.plan)
                add(first, self.plan.steps)
                if self.album.missing(first):
                    unknown += drawing.steps(self.plan)
                    continue
            start = self._start(drawing)
            batch = drawing.batch(self.plan, start)
            add(batch, drawing.steps(self.plan) // len(batch.seeds))
        return unknown + sum(self.album.missing(batch) * steps for batch, steps in batches.values())


def by_line(pictures: Sequence[Image.Image], seeds: int) -> tuple[tuple[Image.Image, ...], ...]:
    return tuple(tuple(pictures[first : first + seeds]) for first in range(0, len(pictures), seeds))


def observed(drawing: Drawing, plan: Plan, values: looking.Values) -> list[Observation]:
    prompts = [prompt for prompt in drawing.lines for _ in plan.seeds]
    seeds = plan.seeds * len(drawing.lines)
    return [
        Observation(
            *(drawing.section, drawing.concept, drawing.way.value, drawing.guidance, drawing.strength, prompt, seed),
            found,
        )
        for prompt, seed, found in zip(prompts, seeds, values, strict=True)
        if found
    ]
