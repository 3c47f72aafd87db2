"""Two pictures on top of each other, with an edge to move between them: any two of a training or of a comparison."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from html import escape

from ...files.concepts import thumbnails
from .job import Job
from .recall import first_picture

Shown = tuple[str, bytes]  # what it is, and the file
LEARNED = "the picture that is learned"


def slider_html(job: Job | None) -> str:
    """At first the picture that is learned beside what is drawn of it."""
    pictures = [] if job is None else pictures_of(job)
    if job is None or len(pictures) < 2:
        return ""
    starts = [f"step {row.step}" for row in job.previews if row.step == (job.used_step or job.best_step)]
    wanted = starts[0] if starts else f"step {job.previews[-1].step}"
    right = next((number for number, (label, _) in enumerate(pictures) if label.startswith(wanted)), 1)
    hidden = "".join(_image(content, label) for label, content in pictures)
    pool = f'<template class="pool">{hidden}</template>'
    return figure_html([label for label, _ in pictures], (0, right), (pictures[0], pictures[right]), pool)


def pictures_of(job: Job) -> list[Shown]:
    """The picture that is learned, and everything that is drawn, the newest step first."""
    learned = first_picture(job)
    found = [(LEARNED, learned)] if learned else []
    for row in reversed(job.previews):
        for number, content in enumerate(row.pair):
            words = f": {row.captions[number]}" if number < len(row.captions) else ""
            large = row.large if number == 0 and row.large else content
            found.append((f"step {row.step}{words}", _light(large)))
    return found


@lru_cache(maxsize=256)
def _light(content: bytes) -> bytes:
    """Every page that looks gets all of them."""
    return thumbnails.medium_jpeg(content)


def figure_html(labels: Sequence[str], at: tuple[int, int], two: tuple[Shown, Shown], pool: str = "") -> str:
    """`two` are shown at first, those `at` these places among the labels. The page's script takes the others from the
    pool, or from the grid of pictures above."""
    (left, first), (right, second) = two
    choices = _choice("Left", labels, at[0]) + _choice("Right", labels, at[1])
    return (
        f'<figure class="dreamartist-slider"><div>{_image(first, left)}{_image(second, right)}</div>'
        '<input type="range" min="0" max="100" value="50" aria-label="the edge between the two pictures">'
        f'<figcaption class="dreamartist-sides">{choices}</figcaption>{pool}</figure>'
    )


def _choice(side: str, labels: Sequence[str], chosen: int) -> str:
    options = "".join(
        f'<option value="{number}"{" selected" if number == chosen else ""}>{escape(label)}</option>'
        for number, label in enumerate(labels)
    )
    return f"<label>{side} <select>{options}</select></label>"


def _image(content: bytes, label: str) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f'<img src="data:image/{kind};base64,{base64.b64encode(content).decode()}" alt="{escape(label)}">'
