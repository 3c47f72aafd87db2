"""A training as HTML: progress, the curve, rows of previews. Everything that came from a user is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from ...files.curve import curve_csv, curve_png
from .estimate import Estimate
from .job import Job, Status

SHOWN_BYTES = 50_000_000
CURVE_SIZE = (520, 170)
CURVE_MARGIN = (46, 12, 14, 26)  # left, top, right, bottom
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
    """kind: "info", "good" or "error"."""
    return f'<div class="dreamartist-message dreamartist-{kind}">{escape(text)}</div>' if text else ""


def progress_html(job: Job | None) -> str:
    if job is None:
        return message_html("Nothing is being trained. Time left, loss and pictures of a training show here.")
    steps = job.config.steps
    share = 100 * job.step / steps
    bar = (
        '<div class="dreamartist-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}"><div style="width:{share:.2f}%"></div></div>'
    )
    head = f'<b>{escape(job.name)}</b> <span class="dreamartist-step">{job.step} of {steps}</span>'
    return f'<div class="dreamartist-live" data-status="{job.status.value}">{head}{bar}{_facts(job)}</div>'


def _facts(job: Job) -> str:
    if job.is_over:
        kind = "error" if job.status is Status.FAILED else "good"
        return message_html(job.message, kind) + message_html(job.notice)
    if job.asked is not None:
        return message_html("Stopping after this step ...")
    if job.status is Status.WAITING:
        return message_html(_WAITING_WORDS[job.status]) + message_html(job.message)
    if not job.seconds_per_step:
        return message_html("Looking at the picture ...")
    facts = [f"{duration(job.seconds_left)} left", f"{job.seconds_per_step:.2g} s/step"]
    if job.peak_memory:
        facts.append(f"{job.peak_memory / 1e9:.1f} GB")
    said = message_html(job.message) + message_html(job.notice)
    return f'<div class="dreamartist-facts">{" · ".join(facts)}</div>{said}'


def estimate_text(found: Estimate) -> str:
    """How long, of what, and what it takes."""
    step = (found.seconds - found.encoding) / found.steps
    parts = [f"{found.steps} steps of {step:.2g} s"]
    if found.views > 1:
        parts.insert(0, f"{duration(found.encoding)} to encode {found.views} views, then")
    memory = f", {found.memory / 1e9:.1f} GB of GPU memory" if found.memory else ""
    text = f"About {duration(found.seconds)}: {' '.join(parts)}{memory}."
    if found.kept >= SHOWN_BYTES:
        without = f' ({found.plain / 1e9:.1f} GB without "Less memory")' if found.kept < found.plain else ""
        text += f" By the model's shapes, a pass keeps about {found.kept / 1e9:.1f} GB{without}."
    share = f" The reconstruction takes {found.reconstruction:.0%} of a step." if found.reconstruction else ""
    return text + share


def curve_html(job: Job | None) -> str:
    """The check loss, best step marked, over the empty prompt's; before the first check the plain loss of steps."""
    if job is None or (len(job.checks) < 1 and len(job.losses) < 2):
        return ""
    checks = [(check.step, check.loss) for check in job.checks]
    if not checks:
        caption = "Loss of each step (noisy; the first check on fixed noises comes with the first snapshot)"
        return _figure(_svg(list(job.losses), job.config.steps, None, None), caption)
    baseline = job.checks[-1].baseline
    caption = "Check loss, always on the same noises: lower is better"
    if job.best_step is not None:
        caption += f"; best at step {job.best_step}"
    svg = _svg(checks, job.config.steps, baseline, job.best_step)
    return _figure(svg, caption + ". Dashed: without the word.", downloads_html(job))


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


def _svg(points: Sequence[tuple[int, float]], steps: int, baseline: float | None, best: int | None) -> str:
    width, height = CURVE_SIZE
    left, top, right, bottom = CURVE_MARGIN
    values = [value for _, value in points] + ([] if baseline is None else [baseline])
    low, high = min(values), max(values)
    room = max((high - low) * 0.1, 1e-4)
    low, high = low - room, high + room

    def place(step: float, value: float) -> tuple[float, float]:
        x = left + (width - left - right) * step / steps
        return round(x, 1), round(top + (height - top - bottom) * (high - value) / (high - low), 1)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="loss over steps">']
    for text, value in {f"{value:.4f}": value for value in (low + room, high - room)}.items():
        _, y = place(0, value)
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{text}</text>')
    for step, anchor in ((0, "start"), (steps, "end")):
        x, _ = place(step, low)
        parts.append(f'<text x="{x}" y="{height - 8}" text-anchor="{anchor}">{step}</text>')
    if baseline is not None:
        (x1, y), (x2, _) = place(0, baseline), place(steps, baseline)
        parts.append(f'<line class="baseline" x1="{x1}" y1="{y}" x2="{x2}" y2="{y}"/>')
    line = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
    parts.append(f'<polyline points="{line}"/>')
    for step, value in points if len(points) <= 60 else []:
        x, y = place(step, value)
        kind = ' class="best"' if step == best else ""
        parts.append(f'<circle{kind} cx="{x}" cy="{y}" r="{5 if step == best else 2.5}"/>')
    return "".join([*parts, "</svg>"])


def previews_html(job: Job | None) -> str:
    """A row per snapshot, newest first; the same seeds each time."""
    if job is None or not job.previews:
        return ""
    cells = ["<span></span><span>with the pair</span><span>positive only</span>"]
    for row in reversed(job.previews):
        best = "<br><em>best so far</em>" if row.step == job.best_step else ""
        pair = "".join(picture_html(png, f"{job.name}, step {row.step}") for png in row.pair)
        alone = "".join(
            picture_html(png, f"{job.name} without its negative, step {row.step}") for png in row.positive_only
        )
        cells.append(f"<span>step {row.step}{best}</span><div>{pair}</div><div>{alone}</div>")
    return f'<div class="dreamartist-previews">{"".join(cells)}</div>'


def masks_html(painted: bytes, spread: bytes, strength: float) -> str:
    """A mask over its picture, as painted and spread."""
    if painted == spread:
        says = "The mask stays as it is painted: to this model's VAE all parts of the picture look alike."
        return (
            f'<div class="dreamartist-masks">{picture_html(painted, "the mask as painted")}</div>{message_html(says)}'
        )
    says = (
        "Dark counts less, orange up to five times as much. At the right the mask as training uses it now: Spread the "
        f"mask, under All options > Picture, is {strength:g}; 0 is as at the left."
    )
    pictures = picture_html(painted, "the mask as painted") + picture_html(spread, "the mask when it has spread")
    return f'<div class="dreamartist-masks">{pictures}</div>{message_html(says)}'


def picture_html(png: bytes, label: str) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escape(label)}">'


STYLE = """<style>
[id^="dreamartist_"] .pending { opacity: 1 !important; } /* gradio 4 fades what is being updated */
.dreamartist-hidden { position: absolute !important; width: 1px !important; height: 1px !important; opacity: 0;
  overflow: hidden; pointer-events: none; min-width: 0 !important; padding: 0 !important; border: 0 !important }
.dreamartist-bar { height: 10px; border-radius: 5px; background: rgba(128, 128, 128, .25); margin: 6px 0;
  overflow: hidden }
.dreamartist-bar div { height: 100%; background: #2f9e6e; transition: width .4s }
.dreamartist-step { float: right } .dreamartist-facts { opacity: .8 }
.dreamartist-message { padding: 2px 0 } .dreamartist-error { color: #d6453d !important; font-weight: 600 }
.dreamartist-good { color: #2f9e6e !important; font-weight: 600 }
.dreamartist-curve { margin: 8px 0 } .dreamartist-curve svg { width: 100%; max-width: 620px }
.dreamartist-curve polyline { fill: none; stroke: #2f9e6e; stroke-width: 2 }
.dreamartist-curve circle { fill: #2f9e6e } .dreamartist-curve circle.best { fill: #e08a1e }
.dreamartist-curve .baseline { stroke: currentColor; opacity: .5; stroke-dasharray: 5 4 }
.dreamartist-curve text { font-size: 11px; fill: currentColor; opacity: .7 }
.dreamartist-curve figcaption { font-size: 12px; opacity: .8 }
.dreamartist-masks { display: flex; gap: 6px } .dreamartist-masks img { flex: 1 1 0; min-width: 0; margin: 0 }
.dreamartist-previews { display: grid; grid-template-columns: max-content 1fr 1fr; gap: 6px 10px; font-size: 12px;
  max-height: 460px; overflow: auto }
.dreamartist-previews em { color: #e08a1e; font-style: normal }
.dreamartist-previews div { display: flex; gap: 3px; min-width: 0 }
.dreamartist-previews img { flex: 1 1 0; min-width: 0; max-width: 110px; aspect-ratio: 1; object-fit: contain;
  border-radius: 4px; margin: 0 }
</style>"""
