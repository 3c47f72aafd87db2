"""The sub-tab "Compare": what to draw, the grid, and a step to put in use."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gradio as gr

from ...engine.errors import DreamArtistError
from ...engine.prompts import lines_of
from ...evaluation.features import PACKAGES
from ...evaluation.gather import names_in
from ...evaluation.prompt_lists import GENERAL, load_lists
from ...files.concepts.index import is_name
from ..gradio_compat import NOTHING, on
from ..training.actions import read_wish
from ..training.job import Status
from ..training.jobs import Desk, sentence
from ..training.live_view import beat_html, message_html
from .comparison import Comparer, Comparison, What, comparer_of
from .evaluation import Report, evaluator_of
from .view import comparison_html, report_html

PROMPTS_SHOWN = 3  # of the shipped list, to begin with


class ComparisonActions:
    """What the buttons do, without gradio: every method returns the values of its outputs."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.comparer: Comparer = comparer_of(desk)
        self.evaluator = evaluator_of(desk)

    def names(self) -> list[str]:
        try:
            return [name for name in names_in(self.desk.workplace.embeddings) if is_name(name)]
        except DreamArtistError:
            return []

    def choices(self, chosen: str | None) -> Any:
        names = self.names()
        return gr.update(choices=names, value=chosen if chosen in names else names[0] if names else None)

    def choose(self, wish: str) -> Any:
        """The concept that another part of the page asks for (JSON: key, its name)."""
        return self.choices(read_wish(wish)["key"])

    def prompts(self) -> str:
        folder: Path = getattr(self.desk.workplace, "prompts", GENERAL)
        return "\n".join(load_lists(folder).subjects[:PROMPTS_SHOWN])

    def compare(self, name: str | None, what: str, prompts: str, seeds: Any, guidance: Any, steps: Any) -> str:
        """Begin, and return what to say; the drawing goes on in a thread of its own."""
        if not name:
            return message_html("There is no concept yet; train one first.", "error")
        lines = list(filter(None, lines_of(prompts)))
        try:
            comparison = self.comparer.prepare(name, What(what), lines, int(seeds), float(guidance), int(steps))
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        self.comparer.begin(comparison)
        return ""

    def evaluate(self, name: str | None, seeds: Any, guidance: Any, steps: Any) -> list[Any]:
        """Begin a full report of one concept, with the shipped lists of prompts; what to say, and whether the packages
        that it needs can be brought in."""
        says, lacks = self._evaluate(name, seeds, guidance, steps)
        return [says, gr.update(visible=lacks)]

    def install(self) -> list[Any]:
        """The packages that a report needs."""
        try:
            self.desk.workplace.install(PACKAGES)
        except DreamArtistError as error:
            return [message_html(sentence(error), "error"), NOTHING]
        return [message_html("They are installed: ask for the report again.", "good"), gr.update(visible=False)]

    def _evaluate(self, name: str | None, seeds: Any, guidance: Any, steps: Any) -> tuple[str, bool]:
        if not name:
            return message_html("There is no concept yet; train one first.", "error"), False
        try:
            report = self.evaluator.prepare(
                [name], seeds=tuple(range(int(seeds))), guidances=(float(guidance),), steps=int(steps)
            )
        except DreamArtistError as error:
            return message_html(sentence(error), "error"), error.remedy == "packages that measure"
        self.evaluator.begin(report)
        return "", False

    def stop(self) -> str:
        """Whichever is under way."""
        doing = [each for each in (self.comparer, self.evaluator) if each.current and not each.current.is_over]
        if not doing:
            return message_html("Nothing is being drawn.", "error")
        for each in doing:
            each.stop()
        return ""

    def use(self, step: Any) -> str:
        if not step:
            return message_html("Choose a step first.", "error")
        number = int(str(step).split()[0])
        try:
            name = self.comparer.use_step(number)
        except DreamArtistError as error:
            return message_html(sentence(error), "error")
        return message_html(f"{name} is now the pair of step {number}.", "good")

    def refresh(self, seen: Any) -> list[Any]:
        """Update the page, but only where something changed.

        In order: the grid, the steps to choose from, their row, the report's progress, its file, a sign of life, and
        what this page has now seen.
        """
        comparison, report = copy.copy(self.comparer.current), copy.copy(self.evaluator.current)
        state = {"grid": grid_state(comparison), "report": report_state(report)}
        before = seen if isinstance(seen, dict) else {}
        is_other = state["grid"][:1] != before.get("grid", [])[:1]
        is_ready = report is not None and report.status is Status.DONE
        steps = [str(column.step) for column in comparison.columns if column.step] if comparison else []
        file = gr.update(value=str(report.page) if report and is_ready else None, visible=is_ready)
        doing = [each for each in (comparison, report) if each is not None and not each.is_over]
        return [
            comparison_html(comparison) if state["grid"] != before.get("grid") else NOTHING,
            gr.update(choices=steps, value=None) if is_other else NOTHING,
            gr.update(visible=bool(steps)) if is_other else NOTHING,
            report_html(report) if state["report"] != before.get("report") else NOTHING,
            file if state["report"] != before.get("report") else NOTHING,
            beat_html(bool(doing), None),
            state,
        ]


def grid_state(comparison: Comparison | None) -> list[Any]:
    """What the grid depends on; first, which comparison it is."""
    if comparison is None:
        return []
    about = [comparison.status.value, comparison.done, len(comparison.cells), comparison.message]
    return [comparison.created, *about]


def report_state(report: Report | None) -> list[Any]:
    return [] if report is None else [report.created, report.status.value, report.progress.done, report.message]


def build_comparison(desk: Desk, tab: Any) -> None:
    """Put "Compare" into the tab that is open; its concepts are looked up whenever the tab is opened."""
    actions = ComparisonActions(desk)
    with gr.Row(elem_id="dreamartist_compare_tab"):
        with gr.Column(scale=1, min_width=280):
            name = gr.Dropdown([], label="Concept", elem_id="dreamartist_compare_name")
            what = gr.Radio(
                [each.value for each in What],
                value=What.WAYS.value,
                label="Side by side",
                elem_id="dreamartist_compare_what",
            )
            prompts = gr.Textbox(
                actions.prompts(),
                lines=4,
                label="Prompts, one a line; [name] is the word",
                elem_id="dreamartist_compare_prompts",
            )
            with gr.Row():
                seeds = gr.Slider(1, 4, 2, step=1, label="Pictures of each", elem_id="dreamartist_compare_seeds")
                guidance = gr.Slider(1, 15, 5, step=0.5, label="Guidance (CFG)", elem_id="dreamartist_compare_guidance")
                steps = gr.Slider(5, 50, 20, step=1, label="Drawing steps", elem_id="dreamartist_compare_steps")
            with gr.Row():
                begin = gr.Button("Compare", variant="primary", elem_id="dreamartist_compare")
                evaluate = gr.Button("Full report", elem_id="dreamartist_evaluate")
                stop = gr.Button("Stop", elem_id="dreamartist_compare_stop")
            says = gr.HTML(elem_id="dreamartist_compare_says")
            bring = gr.Button("Install these packages", visible=False, elem_id="dreamartist_install")
            report = gr.HTML(elem_id="dreamartist_report")
            file = gr.File(label="The report", visible=False, interactive=False, elem_id="dreamartist_report_file")
            with gr.Row(visible=False) as row:
                step = gr.Dropdown(choices=[], label="Saved step", elem_id="dreamartist_compare_step")
                use = gr.Button("Use this step", elem_id="dreamartist_compare_use")
        with gr.Column(scale=3, min_width=320):
            grid = gr.HTML(comparison_html(None), elem_id="dreamartist_compare_grid")
    parts = {
        "asked": [name, what, prompts, seeds, guidance, steps],
        "drawn": [grid, step, row, report, file],
        "buttons": [begin, evaluate, stop, use, bring],
    }
    _connect(actions, tab, parts, says)


def _connect(actions: ComparisonActions, tab: Any, parts: dict[str, list[Any]], says: Any) -> None:
    """What the buttons do, and what brings the grid up to date."""
    asked, (begin, evaluate, stop, use, bring), name = parts["asked"], parts["buttons"], parts["asked"][0]
    hidden = ["dreamartist-hidden"]
    refresh = gr.Button("refresh", elem_id="dreamartist_compare_refresh", elem_classes=hidden)
    beat = gr.HTML(elem_id="dreamartist_compare_beat")
    wish = gr.Textbox(elem_id="dreamartist_compare_wish", elem_classes=hidden, show_label=False)
    do = gr.Button("do", elem_id="dreamartist_compare_do", elem_classes=hidden)
    seen = gr.State({})
    then = "() => dreamartistAnswered()"
    on(tab.select, actions.choices, [name], [name], queue=False)
    on(do.click, actions.choose, [wish], [name], js="(wish) => [dreamartistWish()]", queue=False)
    on(begin.click, actions.compare, asked, [says], then=then, queue=False)
    on(evaluate.click, actions.evaluate, [name, *asked[3:]], [says, bring], then=then, queue=False)
    on(bring.click, actions.install, [], [says, bring], then=then, queue=False)
    on(stop.click, actions.stop, [], [says], then=then, queue=False)
    on(use.click, actions.use, [parts["drawn"][1]], [says], then=then, queue=False)
    on(refresh.click, actions.refresh, [seen], [*parts["drawn"], beat, seen], queue=False)
