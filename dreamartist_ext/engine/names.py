"""The names of a concept: a word in prompts and a file on any system. The one place that knows "-neg"."""

from __future__ import annotations

import re

from .errors import SettingError

NEGATIVE_SUFFIX = "-neg"


MAX_NAME_LENGTH = 64


MAX_VECTORS = 75  # more would overflow one chunk of the prompt


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")


_KEYWORD = re.compile(r"\b(AND|BREAK)\b")  # of the WebUI's prompts, as it looks for them


_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))])


def negative_name(name: str) -> str:
    """The word that stands for the other half of `name`."""
    return name + NEGATIVE_SUFFIX


def positive_name(word: str) -> str:
    """The name of the pair that a word belongs to by its ending."""
    return word[: -len(NEGATIVE_SUFFIX)] if word.lower().endswith(NEGATIVE_SUFFIX) else word


def check_name(name: str) -> str:
    """Return the name, or raise SettingError: it becomes both a word in prompts and a file on any system."""
    if len(name) > MAX_NAME_LENGTH:
        raise SettingError(f"name must have at most {MAX_NAME_LENGTH} characters, got {len(name)}.")
    if not _NAME.fullmatch(name):
        raise SettingError(
            "name must be letters a-z, digits, - and _ only, beginning and ending with a letter or digit, "
            f"got {_shown(name)}."
        )
    if name.lower().endswith(NEGATIVE_SUFFIX):
        raise SettingError(f'name must not end with "{NEGATIVE_SUFFIX}", which marks the negative half, got "{name}".')
    if cut := _KEYWORD.search(name):
        raise SettingError(f'name must not hold the word {cut[0]}, at which prompts are cut in two, got "{name}".')
    if name.lower() in _RESERVED:
        raise SettingError(f'name must not be "{name}", which Windows reserves.')
    return name


def _shown(name: str) -> str:
    return '"' + "".join(c if c.isprintable() else "?" for c in name) + '"'
