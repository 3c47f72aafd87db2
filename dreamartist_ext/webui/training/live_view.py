"""A training as HTML: progress, the curve, rows of previews. Everything that came from a user is escaped."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping
from html import escape
from typing import Any

from ...files.curve import curve_csv, curve_png
from .curve_svg import FEW, curve_svg
from .estimate import Estimate
from .job import Job, Stage, Status
from .kinds import LABELS, by_hand, kind_of
from .recall import pictures_html

SHOWN_BYTES = 50_000_000
KEPT = (Status.DONE, Status.STOPPED)
_WAITING_WORDS = {
    Status.WAITING: "waiting for its turn: a picture or another job is using the model",
    Status.RUNNING: "",
}


def duration(seconds: float) -> str:
    """2:05, 1:02:03"""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def message_html(text: str, kind: str = "info") -> str:
    """kind: "info", "good", "warning" or "error", which is read out at once."""
    if not text:
        return ""
    role = "alert" if kind == "error" else "status"
    return f'<div class="dreamartist-message dreamartist-{kind}" role="{role}">{escape(text)}</div>'


def beat_html(is_active: bool, job: Job | None) -> str:
    """For the page's script, anew with every answer: that the server is there, whether to ask on, the title's words."""
    title = done = ""
    if job is not None and not job.is_over:
        title = f"{job.share:.0f} % {job.name}"
    elif job is not None and not job.is_recalled:
        done = f"{job.created}: {job.message}"
    return (
        f'<i class="dreamartist-beat" data-beat="{time.time():.3f}" data-active="{int(is_active)}" '
        f'data-title="{escape(title)}" data-done="{escape(done)}"></i>'
    )


def progress_html(job: Job | None, model: Mapping[str, Any] | None = None) -> str:
    if job is None:
        return message_html("Drop a picture, give it a name, and press Train. What is learned shows here.")
    head = f'<b>{escape(job.name)}</b> <span class="dreamartist-step">{job.step} of {job.config.steps}</span>'
    pictures = f'<div class="dreamartist-learned">{pictures_html(job)}</div>'
    body = f"{head}{_stages(job)}{_bar(job)}{_facts(job)}{pictures}{settings_html(job, model or {})}"
    return f'<div class="dreamartist-live" data-status="{job.status.value}">{body}</div>'


def _bar(job: Job) -> str:
    return (
        f'<div class="dreamartist-bar" role="progressbar" aria-label="training {escape(job.name)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{job.share:.0f}"><div style="width:{job.share:.2f}%"></div></div>'
    )


def _stages(job: Job) -> str:
    if job.is_over or job.status is Status.WAITING:
        return ""
    words = [
        f'<li class="now" aria-current="step">{stage.value}</li>' if stage is job.stage else f"<li>{stage.value}</li>"
        for stage in Stage
    ]
    return f'<ol class="dreamartist-stages">{"".join(words)}</ol>'


def settings_html(job: Job, model: Mapping[str, Any]) -> str:
    """What of its settings is not as usual for its kind, in words."""
    hand = by_hand(job.config.to_mapping(), model, kind_of(job.config.template), "")
    shown = [f"{LABELS[key]}: {value}" for key, value in hand.items() if key != "name"]
    if not shown:
        return ""
    count = "1 setting" if len(shown) == 1 else f"{len(shown)} settings"
    words = escape("; ".join(shown))
    return f'<details class="dreamartist-settings"><summary>{count} not as usual</summary><p>{words}</p></details>'


def _facts(job: Job) -> str:
    if job.is_over:
        kind = {Status.FAILED: "error", Status.PAUSED: "info", Status.DISCARDED: "info"}.get(job.status, "good")
        return message_html(job.message, "warning" if job.is_worse else kind) + message_html(job.notice, "warning")
    if job.asked is not None:
        return message_html("Stopping after this step ...")
    if job.status is Status.WAITING:
        return message_html(_WAITING_WORDS[job.status]) + message_html(job.message)
    if not job.seconds_per_step:
        return message_html("Looking at the picture ...")
    left = "drawing the last pictures" if job.step >= job.config.steps else f"{job.seconds_per_step:.2g} s/step"
    facts = [f"about {duration(job.seconds_left)} left", left]
    if job.stage is Stage.WRITING:
        facts = ["writing the files"]
    if job.peak_memory:
        facts.append(f"{job.peak_memory / 1e9:.1f} GB")
    said = message_html(job.message) + message_html(job.notice, "warning")
    return f'<div class="dreamartist-facts">{" · ".join(facts)}</div>{said}'


def estimate_text(found: Estimate) -> str:
    """How long, of what, and what it takes."""
    training = found.steps * found.step
    parts = [f"{found.steps} steps of {found.step:.2g} s"]
    if found.views > 1:
        parts.insert(0, f"{duration(found.encoding)} to encode {found.views} views, then")
    if (rest := found.seconds - found.encoding - training) >= 1:
        parts.append(f"and {duration(rest)} for checks and previews")
    memory = f", {found.memory / 1e9:.1f} GB of GPU memory" if found.memory else ""
    size = f" at {found.width}x{found.height}" if found.width else ""
    text = f"About {duration(found.seconds)}{size}: {' '.join(parts)}{memory}."
    if found.kept >= SHOWN_BYTES:
        without = f' ({found.plain / 1e9:.1f} GB without "Less memory")' if found.kept < found.plain else ""
        text += f" Computed from the model's shapes, a step needs about {found.kept / 1e9:.1f} GB{without}."
    share = f" Reconstruction takes {found.reconstruction:.0%} of a step." if found.reconstruction else ""
    return text + share


def curve_html(job: Job | None) -> str:
    """The check loss, best step marked, over the empty prompt's; before the first check the plain loss of steps."""
    checks = [] if job is None else [(check.step, check.loss) for check in job.checks if math.isfinite(check.loss)]
    if job is None or (not checks and len(job.losses) < 2):
        return ""
    if not checks:
        caption = "Loss of each step (noisy; the first check on fixed noises comes with the first snapshot)"
        return _figure(curve_svg(job.losses, job.config.steps, None, None), caption)
    caption = "Check loss, always on the same noises: lower is better"
    caption += "; the thick line is smoothed" if len(checks) > FEW else ""
    if job.best_step is not None:
        caption += f"; best at step {job.best_step}"
    svg = curve_svg(checks, job.config.steps, job.checks[-1].baseline, job.best_step)
    return _figure(svg, caption + ".", downloads_html(job))


def downloads_html(job: Job) -> str:
    """Links that hold the curve's files themselves, since no gradio serves the folder where they lie."""
    table = download_html("as a table", f"{job.name}-curve.csv", "text/csv", curve_csv(job.checks))
    drawn = curve_png(job.checks, job.config.steps)
    picture = download_html("as a picture", f"{job.name}-curve.png", "image/png", drawn)
    return f'<div class="dreamartist-facts">Save the curve {table} or {picture}.</div>'


def download_html(label: str, name: str, kind: str, content: bytes) -> str:
    """A link that is the file."""
    code = base64.b64encode(content).decode()
    return f'<a download="{escape(name)}" href="data:{kind};base64,{code}">{escape(label)}</a>'


def _figure(svg: str, caption: str, below: str = "") -> str:
    return f'<figure class="dreamartist-curve">{svg}<figcaption>{escape(caption)}</figcaption>{below}</figure>'


def steps_html(job: Job | None) -> str:
    """The steps on disk as buttons: which one is the best, and which one is in use."""
    steps = steps_to_choose(job)
    if job is None or not steps:
        return ""
    group = '<div class="dreamartist-steps" role="group" aria-label="the step in use">'
    return f"{group}Use this step: {''.join(_step_button(job, step) for step in steps)}</div>"


def _step_button(job: Job, step: int) -> str:
    is_used = step == job.used_step
    notes = ", ".join(word for word, is_so in (("best", step == job.best_step), ("in use", is_used)) if is_so)
    note = f" <em>{notes}</em>" if notes else ""
    return (
        f'<button type="button" class="dreamartist-do" data-dreamartist-train="use_step" data-key="{step}" '
        f'aria-pressed="{str(is_used).lower()}">{step}{note}</button>'
    )


def steps_to_choose(job: Job | None) -> list[int]:
    return job.files.kept_steps() if job is not None and job.status in KEPT else []


def masks_html(painted: bytes, spread: bytes, strength: float) -> str:
    """A mask over its picture, as painted and spread."""
    if painted == spread:
        says = "The mask stays as it is painted: to this model's VAE all parts of the picture look alike."
        return (
            f'<div class="dreamartist-masks">{picture_html(painted, "the mask as painted")}</div>{message_html(says)}'
        )
    says = (
        "Dark parts count less, orange parts up to five times as much. Left: as painted. Right: as training will use "
        f"it, with the setting Spread the mask at {strength:g}."
    )
    pictures = picture_html(painted, "the mask as painted") + picture_html(spread, "the mask when it has spread")
    return f'<div class="dreamartist-masks">{pictures}</div>{message_html(says)}'


def picture_html(png: bytes, label: str) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(label)}">'
