"""What went wrong, and how a training ended, in the page's own words."""

from __future__ import annotations

import re
from dataclasses import fields

from ...engine.config import TrainConfig
from ...engine.errors import PictureError
from ...engine.prompts import is_one_line
from ...engine.stopping import Check
from .job import Job

_LABELS = {item.name: item.metadata["label"] for item in fields(TrainConfig)}
_NAMES = re.compile(r"\b(" + "|".join(name for name in _LABELS if "_" in name) + r")\b")
TRY_NEXT = (
    'Try another picture without a busy background, a word in "Starts from" that says what it is, or a smaller '
    "learning rate."
)


def sentence(error: BaseException) -> str:
    """An error as the page shows it: beginning with a capital, settings by their labels instead of their names.

    It may name files: what no page can show is a question mark.
    """
    text = "".join(char if is_one_line(char) else "?" for char in str(error))
    first, _, rest = text.partition(" ")
    text = f"{_LABELS[first]} {rest}" if first in _LABELS else text[:1].upper() + text[1:]
    return _NAMES.sub(lambda match: f'"{_LABELS[match[1]]}"', text)


def place_of(error: BaseException) -> str:
    """Beside which part of the page an error belongs: "pictures", "name", a setting's name, or "train"."""
    words = str(error).split(maxsplit=3)
    if isinstance(error, PictureError) or words[:4] == ["there", "is", "no", "picture to learn from; drop one first."]:
        return "pictures"
    if words[:1] == ["name"] or words[:2] == ["the", "name"]:
        return "name"
    return words[0] if words and words[0] in _LABELS else "train"


def is_worse_than_nothing(checks: tuple[Check, ...], step: int | None) -> bool:
    """Whether the pair of this step foresees the noise worse than the empty prompt does."""
    used = next((check for check in checks if check.step == step), None)
    return used is not None and used.loss >= used.baseline


def how_it_ended(job: Job) -> str:
    """What the page says of a training that came to its end."""
    early = ""
    if job.step < job.config.steps:
        early = f" It stopped at step {job.step} of {job.config.steps}, because nothing better was found."
    if job.is_worse:
        says = f"{job.name} has not learned its picture: its check loss is higher than without the word."
        return f"{says}{early} {TRY_NEXT}"
    best = f" The pair is that of step {job.used_step}, the best." if job.used_step != job.step else ""
    return f"{job.name} is learned: type {job.name} in a prompt.{early}{best}"
