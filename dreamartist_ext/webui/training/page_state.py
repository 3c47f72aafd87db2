"""What the page shows of the training under way, and which parts of it have changed since a browser last looked."""

from __future__ import annotations

import copy
import io
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from ..gradio_compat import NOTHING
from .job import Job
from .jobs import Desk
from .live_view import KEPT, beat_html, curve_html, progress_html, steps_html
from .recall import trainings_in
from .slider import slider_html

if TYPE_CHECKING:
    from .measuring import Measuring

# The page's parts, in the order of `updates`.
PARTS = (
    "live", "train", "measured", "estimate", "slider", "curve", "gallery", "alone", "alone_box", "steps", "unfinished",
    "to_go_on", "controls", "done", "go_on", "undo", "shown", "queue", "add",
    "beat",
)  # fmt: skip
MEASURE, CALL_OFF = "Measure the time", "Measuring ..., call off"


def updates(desk: Desk, measuring: Measuring, seen: Any, shown: str = "") -> list[Any]:
    """The values of PARTS, and what this page has seen then; `shown` names the training that it wants to see.

    All parts are of one moment: a page that is told of the end does not ask again.
    """
    goes_on = measuring.is_under_way or desk.queue.goes_on
    before = seen if isinstance(seen, dict) else {}
    newest = None if desk.job is None else [desk.job.name, desk.job.created]
    is_news = bool(before) and before.get("newest") != newest  # it may be over before any page has seen it go on
    job = copy.copy(desk.shown("" if is_news else shown))
    state = shown_state(job, desk, measuring) | {"newest": newest}
    made = {part: value for key, value in state.items() if before.get(key) != value for part in _OF.get(key, ())}
    found = _values(job, desk, measuring, set(made))
    is_active = goes_on or (job is not None and not job.is_over)
    found["beat"] = beat_html(is_active, job)
    return [*(found.get(part, NOTHING) for part in PARTS), state]


_OF = {
    "progress": ("live", "train"),
    "measuring": ("measured", "estimate"),
    "curve": ("curve",),
    "previews": ("gallery", "alone", "alone_box", "slider"),
    "steps": ("steps",),
    "unfinished": ("unfinished", "to_go_on"),
    "buttons": ("controls", "done", "go_on", "undo"),
    "trainings": ("shown",),
    "queue": ("queue", "add"),
}


def _values(job: Job | None, desk: Desk, measuring: Measuring, wanted: set[str]) -> dict[str, Any]:
    """Only of what is wanted: pictures are dear."""
    controls, done, go_on, undo = buttons(job, desk)
    make: dict[str, Any] = {
        "live": lambda: progress_html(job, desk.workplace.defaults),
        "train": lambda: train_button(job),
        "measured": measuring.html,
        "estimate": lambda: gr.update(value=CALL_OFF if measuring.is_under_way else MEASURE),
        "slider": lambda: slider_html(job),
        "curve": lambda: curve_html(job),
        "gallery": lambda: gr.update(value=pictures(job, False), visible=bool(pictures(job, False))),
        "alone": lambda: gr.update(value=pictures(job, True)),
        "alone_box": lambda: gr.update(visible=bool(pictures(job, True))),
        "steps": lambda: steps_html(job),
        "unfinished": lambda: unfinished_choice(desk),
        "to_go_on": lambda: gr.update(visible=bool(_unfinished(job, desk))),
        "controls": lambda: gr.update(visible=controls),
        "done": lambda: gr.update(visible=done),
        "go_on": lambda: gr.update(visible=go_on),
        "undo": lambda: gr.update(visible=undo),
        "shown": lambda: shown_choice(job, desk),
        "queue": desk.queue.html,
        "add": lambda: gr.update(visible=controls or bool(desk.queue.jobs)),
    }
    return {part: make[part]() for part in wanted}


def shown_state(job: Job | None, desk: Desk, measuring: Measuring) -> dict[str, Any]:
    """What each part of the page depends on."""
    unfinished = [list(item) for item in _unfinished(job, desk)]
    rest = {
        "unfinished": unfinished,
        "buttons": [*buttons(job, desk), bool(unfinished)],
        "measuring": measuring.html(),
        "queue": [desk.queue.html(), job is not None and not job.is_over],
        "trainings": [
            trainings_in(desk.workplace.embeddings) if job is None or job.is_over else [job.name],
            "" if job is None else job.name,
        ],
    }
    if job is None:
        return {"progress": 0, "curve": 0, "previews": 0, "steps": 0} | rest
    identity = [job.name, job.created, job.is_recalled]
    about = [job.status.value, job.step, job.stage.value, str(job.asked), job.message, round(job.seconds_left)]
    return {
        "progress": [*identity, *about],
        "curve": [*identity, len(job.checks), len(job.losses) if not job.checks else 0, job.best_step],
        "previews": [*identity, len(job.previews), [row.step for row in job.previews], job.best_step, job.used_step],
        "steps": [*identity, len(job.checks), job.best_step, job.used_step, job.status.value],
    } | rest


def _unfinished(job: Job | None, desk: Desk) -> list[tuple[str, int, int]]:
    return desk.unfinished() if job is None or job.is_over else []


def buttons(job: Job | None, desk: Desk) -> list[bool]:
    """Whether a training can be ended, its word be used, the training go on, and a Discard be undone."""
    is_kept = job is not None and job.status in KEPT and job.used_step is not None
    can_go_on = job is not None and job.is_over and 0 < job.step < job.config.steps
    return [job is not None and not job.is_over, is_kept, can_go_on and is_kept, bool(desk.thrown)]


def train_button(job: Job | None) -> Any:
    """The button says what is being done while it cannot be pressed."""
    if job is None or job.is_over:
        return gr.update(value="Train", interactive=True)
    return gr.update(value=f"Training: {job.share:.0f} %" if job.step else "Training begins ...", interactive=False)


def pictures(job: Job | None, alone: bool) -> list[tuple[Image.Image, str]]:
    """Every drawing with what it is, the newest step first."""
    if job is None:
        return []
    found: list[tuple[Image.Image, str]] = []
    for row in reversed(job.previews):
        note = ", best so far" if row.step == job.best_step else ""
        for content, caption in zip_longest(row.positive_only if alone else row.pair, row.captions):
            if content is not None:
                words = f"step {row.step}{note}: {caption}" if caption else f"step {row.step}{note}"
                found.append((Image.open(io.BytesIO(content)), words))
    return found


def unfinished_choice(desk: Desk) -> Any:
    names = [name for name, _, _ in desk.unfinished()]
    about = "; ".join(f"{name} stopped at step {step} of {steps}" for name, step, steps in desk.unfinished())
    return gr.update(choices=names, value=names[0] if names else None, label=about or "Nothing is unfinished")


def shown_choice(job: Job | None, desk: Desk) -> Any:
    """Which training the right half shows; nothing to choose while one goes on."""
    if job is not None and not job.is_over:
        return gr.update(choices=[job.name], value=job.name, visible=False)
    names = trainings_in(desk.workplace.embeddings)
    return gr.update(
        choices=names, value=job.name if job is not None and job.name in names else None, visible=len(names) > 1
    )
