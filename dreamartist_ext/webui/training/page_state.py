"""What the page shows of the training under way, and which parts of it have changed since a browser last looked."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..gradio_compat import NOTHING
from .job import Job, Status
from .jobs import Desk
from .live_view import curve_html, previews_html, progress_html

KEPT = (Status.DONE, Status.STOPPED)


def updates(desk: Desk, seen: Any) -> list[Any]:
    """Progress, curve, previews, steps to choose from and their row, unfinished trainings; whether there is something
    to end, to use, to undo and to go on with; and what this page has seen then."""
    job = desk.looked_at()
    state = shown_state(job, desk)
    before = seen if isinstance(seen, dict) else {}
    changed = {key for key in state if before.get(key) != state[key]}
    return [
        progress_html(job) if "progress" in changed else NOTHING,
        curve_html(job) if "curve" in changed else NOTHING,
        previews_html(job) if "previews" in changed else NOTHING,
        steps_choice(job) if "steps" in changed else NOTHING,
        gr.update(visible=bool(steps_to_choose(job))) if "steps" in changed else NOTHING,
        unfinished_choice(desk) if "unfinished" in changed else NOTHING,
        *(gr.update(visible=visible) if "buttons" in changed else NOTHING for visible in state["buttons"]),
        state,
    ]


def shown_state(job: Job | None, desk: Desk) -> dict[str, Any]:
    """What each part of the page depends on."""
    unfinished = [list(item) for item in desk.unfinished()] if job is None or job.is_over else []
    rest = {"unfinished": unfinished, "buttons": [*buttons(job, desk), bool(unfinished)]}
    if job is None:
        return {"progress": 0, "curve": 0, "previews": 0, "steps": 0} | rest
    identity = [job.name, job.created]
    return {
        "progress": [*identity, job.status.value, job.step, str(job.asked), job.message],
        "curve": [*identity, len(job.checks), len(job.losses), job.best_step],
        "previews": [*identity, len(job.previews), job.best_step],
        "steps": [*identity, len(job.checks), job.best_step, job.used_step, job.status.value],
    } | rest


def buttons(job: Job | None, desk: Desk) -> list[bool]:
    """Whether a training can be ended, its word be used, and a Discard be undone."""
    is_kept = job is not None and job.status in KEPT and job.used_step is not None
    return [job is not None and not job.is_over, is_kept, bool(desk.thrown)]


def steps_to_choose(job: Job | None) -> list[int]:
    return job.files.kept_steps() if job is not None and job.status in KEPT else []


def steps_choice(job: Job | None) -> Any:
    best = None if job is None else job.best_step
    labels = [f"{step} (best)" if step == best else str(step) for step in steps_to_choose(job)]
    return gr.update(choices=labels, value=None)


def unfinished_choice(desk: Desk) -> Any:
    names = [name for name, _, _ in desk.unfinished()]
    about = "; ".join(f"{name} stopped at step {step} of {steps}" for name, step, steps in desk.unfinished())
    return gr.update(choices=names, value=names[0] if names else None, label=about or "Nothing is unfinished")
