"""The routes that draw and measure: /compare and /evaluate under /dreamartist/v1."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Response
from pydantic import Field

from ...engine.errors import SettingError
from ...evaluation.figures import as_json
from ...evaluation.prompt_lists import PromptLists, checked_lists
from ..api_guards import Body, answering, decoded
from ..training.jobs import Desk
from .comparison import Comparison, What, comparer_of
from .evaluation import Report, evaluator_of

SHORT = {"ways": What.WAYS, "steps": What.STEPS}


class CompareBody(Body):
    """A grid of pictures of one concept."""

    name: str = Field(description="The word of the concept.")
    prompts: list[str] = Field(description='Each with [name], such as "a [name] on a beach".')
    what: str = Field("ways", description="ways: pair, positive only, plain word. steps: the saved steps.")
    seeds: int = Field(2, description="How many pictures of each prompt.")
    first_seed: int = Field(0, description="Seed of the first picture.")
    guidance: float = Field(5.0, description="CFG scale.")
    steps: int = Field(20, description="Steps of the sampler.")
    wait: bool = Field(False, description="Answer when it is drawn.")


class EvaluateBody(Body):
    """A full report."""

    names: list[str] = Field(description="The words of the concepts.")
    pictures: dict[str, str] = Field(
        {}, description="By name, in base64: the picture that each was trained on, if it is not kept here."
    )
    prompts: dict[str, list[str]] = Field({}, description="subjects, styles, editing, composition: lists of prompts.")
    plain_word: str = Field("", description="Ordinary word to compare with, such as cat.")
    seeds: list[int] = Field([0, 1, 2, 3], description="A picture of each prompt for each.")
    guidances: list[float] = Field([3, 5, 7], description="CFG scales.")
    strengths: list[float] = Field([0.5, 0.7, 0.9], description="img2img: how much of the picture is drawn anew.")
    steps: int = Field(20, description="Steps of the sampler.")
    wait: bool = Field(False, description="Answer when the report is written.")


class DrawingRoutes:
    """What each route does. They run in threads of their own, and return what is sent as JSON."""

    def __init__(self, desk: Desk) -> None:
        self.comparer, self.evaluator = comparer_of(desk), evaluator_of(desk)

    def routes(self) -> list[tuple[str, str, Callable]]:
        return [
            ("POST", "/compare", self.compare),
            ("GET", "/compare", self.compared),
            ("POST", "/compare/cancel", self.stop_comparing),
            ("POST", "/evaluate", self.evaluate),
            ("GET", "/evaluate", self.evaluated),
            ("GET", "/evaluate/report", self.report),
            ("POST", "/evaluate/cancel", self.stop_evaluating),
        ]

    def compare(self, body: CompareBody) -> dict[str, Any]:
        """Draw a concept in several ways, or as it was at several steps, with the same seeds."""
        if body.what not in SHORT:
            raise SettingError(f"what must be ways or steps, got {body.what[:40]!r}.")
        self._check_idle(self.comparer.current)
        comparison = self.comparer.prepare(
            body.name, SHORT[body.what], body.prompts, body.seeds, body.guidance, body.steps, body.first_seed
        )
        if body.wait:
            self.comparer.run(comparison)
        else:
            self.comparer.begin(comparison)
        return comparison_state(comparison)

    def compared(self) -> dict[str, Any]:
        """The comparison under way or just over, with the pictures that are drawn."""
        comparison = self.comparer.current
        return {"comparison": None if comparison is None else comparison_state(comparison)}

    def stop_comparing(self) -> dict[str, Any]:
        """Stop the comparison after the picture under way; what is drawn is kept."""
        with answering(409, SettingError):
            self.comparer.stop()
        return self.compared()

    def evaluate(self, body: EvaluateBody) -> dict[str, Any]:
        """Draw, measure and report. The same request goes on where it was stopped."""
        self._check_idle(self.evaluator.current)
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            pictures = {}
            for number, (name, code) in enumerate(body.pictures.items()):
                pictures[name] = Path(folder) / f"{number}.png"
                pictures[name].write_bytes(decoded(code, f"the picture of {name[:80]}"))
            report = self.evaluator.prepare(
                body.names,
                pictures,
                lists_of(body.prompts),
                body.plain_word,
                seeds=tuple(body.seeds),
                guidances=tuple(body.guidances),
                strengths=tuple(body.strengths),
                steps=body.steps,
            )
        if body.wait:
            self.evaluator.run(report)
        else:
            self.evaluator.begin(report)
        return report_state(report)

    def evaluated(self) -> dict[str, Any]:
        """The report under way or just over, with its figures."""
        report = self.evaluator.current
        return {"report": None if report is None else report_state(report)}

    def report(self) -> Response:
        """The page itself."""
        report = self.evaluator.current
        if report is None or report.results is None:
            raise HTTPException(404, "No report is ready.")
        return Response(report.page.read_bytes(), media_type="text/html")

    def stop_evaluating(self) -> dict[str, Any]:
        """Stop the report after the picture under way; the same request goes on with it."""
        with answering(409, SettingError):
            self.evaluator.stop()
        return self.evaluated()

    @staticmethod
    def _check_idle(job: Comparison | Report | None) -> None:
        if job is not None and not job.is_over:
            raise HTTPException(409, "Another is under way; stop it first, or wait.")


def lists_of(prompts: dict[str, list[str]]) -> PromptLists | None:
    """None for the shipped ones; raises SettingError."""
    if not prompts:
        return None
    return checked_lists({kind: [(f"{kind} {n}", line) for n, line in enumerate(prompts[kind], 1)] for kind in prompts})


def comparison_state(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON; pictures are PNG files in base64."""
    return {
        "name": comparison.name,
        "status": comparison.status.value,
        "message": comparison.message,
        "steps_done": comparison.done,
        "steps_total": comparison.total,
        "seconds_left": comparison.seconds_left,
        "columns": [column.label for column in comparison.columns],
        "seeds": list(comparison.seeds),
        "cells": [
            {"prompt": line, "column": column.label, "pictures": [base64.b64encode(png).decode() for png in pictures]}
            for row, line in enumerate(comparison.prompts)
            for number, column in enumerate(comparison.columns)
            if (pictures := comparison.cells.get((row, number)))
        ],
    }


def report_state(report: Report) -> dict[str, Any]:
    """A report as JSON; its figures once they are there."""
    return {
        "names": list(report.names),
        "status": report.status.value,
        "message": report.message,
        "steps_done": report.progress.done,
        "steps_total": report.progress.total,
        "seconds_left": report.progress.seconds_left,
        "figures": as_json(report.results.figures) if report.results else [],
    }
