"""Prompts to train with: templates, what is put into them, and how a caption varies from sample to sample."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .draws import seed_for
from .errors import FileError, SettingError

MAX_TEMPLATE_BYTES = 100_000
TEMPLATE_SETTINGS = ("template", "negative_template")

_PLACEHOLDERS = re.compile(r"\[(name|filewords)\]")
_GLUED_NAME = re.compile(r"[\w-]\[name\]|\[name\][\w-]")  # the tokenizer would not find the word in it


def check_template(template: str, what: str = "template") -> str:
    """Return the template, or raise SettingError when it has no place for the concept's name."""
    if "[name]" not in template:
        raise SettingError(f'{what} must contain [name], got "{template[:80]}".')
    if _GLUED_NAME.search(template):
        raise SettingError(f'{what} must have [name] as a word of its own, got "{template[:80]}".')
    return template


def check_templates(templates: Sequence[str], what: str = "template") -> tuple[str, ...]:
    """Return the templates without blank lines; raise SettingError when none is left or one has no [name]."""
    checked = tuple(check_template(line.strip(), what) for line in templates if line.strip())
    if not checked:
        raise SettingError(f"{what} must hold at least one prompt that contains [name], got none.")
    return checked


def read_templates(path: Path) -> str:
    """Return the templates of a file with one a line, as the WebUI's `textual_inversion_templates`, separated by |.

    The text itself becomes the setting, so that a training does not depend on where the file lies. Raises FileError
    for a file that is no such text, and SettingError for a line that is no template.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TEMPLATE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        raise FileError(f"the template file {path.name[:80]} could not be read; check its name and folder.") from error
    if len(content) > MAX_TEMPLATE_BYTES:
        raise FileError(f"the template file {path.name[:80]} is longer than {MAX_TEMPLATE_BYTES // 1000} kB.")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FileError(f"the template file {path.name[:80]} is not plain text; save it as UTF-8.") from error
    if any("|" in line for line in lines):
        raise SettingError(f"the template file {path.name[:80]} must not contain |, which separates templates.")
    return "|".join(check_templates(lines, f"the template file {path.name[:80]}"))


def with_template_files(values: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Settings in which `template` and `negative_template` may be the name of a .txt file: with what it holds instead.

    `folder` is the only place where names are looked up; None takes any path. Raises as `read_templates`.
    """
    read = dict(values)
    for setting in TEMPLATE_SETTINGS:
        text = str(values.get(setting, "")).strip()
        if not text.lower().endswith(".txt") or "[name]" in text:
            continue
        if folder is not None and Path(text).name != text:
            raise SettingError(f'{setting} must be the name of a file in {folder}, got "{text[:80]}".')
        read[setting] = read_templates(Path(text) if folder is None else folder / text)
    return read


def fill(template: str, name: str, filewords: str = "") -> str:
    """Return the prompt: [name] and [filewords] replaced once each place; raises SettingError as `check_template`."""
    words = {"name": name, "filewords": filewords}
    prompt = _PLACEHOLDERS.sub(lambda found: words[found[1]], check_template(template))
    return prompt if filewords else prompt.strip(" ,")


def negative_captions(captions: Sequence[str], name: str, positive_only: bool = False) -> list[str]:
    """What [filewords] says in negative prompts: nothing if captions are for the positive only, otherwise the captions
    without the concept's own word, which would bring the positive vectors with it."""
    return ["" if positive_only else _without_word(caption, name) for caption in captions]


def _without_word(caption: str, name: str) -> str:
    word = re.compile(rf"(?<![^\W\d_]){re.escape(name)}(-neg)?(?![^\W\d_])", re.IGNORECASE)
    if not word.search(caption):
        return caption
    tags = (" ".join(word.sub(" ", tag).split()) for tag in caption.split(","))
    return ", ".join(tag for tag in tags if tag)


@dataclass(frozen=True)
class CaptionWays:
    """How captions vary. `dropout` is the share of samples without any, `tag_dropout` the share of tags left out."""

    dropout: float = 0.0
    tag_dropout: float = 0.0
    shuffle: bool = False
    separator: str = ","

    def vary(self, captions: Sequence[str], seed: int, step: int) -> list[str]:
        """The captions of one step's samples, as a function of seed and step alone: the same after every resume,
        and for one batch of N as for N accumulated passes."""
        generator = torch.Generator().manual_seed(seed_for(seed, "captions", step))
        return [self._varied(caption, generator) for caption in captions]

    def _varied(self, caption: str, generator: torch.Generator) -> str:
        if self.dropout and _draw(1, generator)[0] < self.dropout:
            return ""
        if not self.tag_dropout and not self.shuffle:
            return caption
        tags = [tag.strip() for tag in caption.split(self.separator) if tag.strip()]
        if self.tag_dropout:
            kept = _draw(len(tags), generator)
            tags = [tag for tag, draw in zip(tags, kept, strict=True) if draw >= self.tag_dropout]
        if self.shuffle:
            tags = [tags[i] for i in torch.randperm(len(tags), generator=generator).tolist()]
        return f"{self.separator.strip()} ".join(tags)


def _draw(count: int, generator: torch.Generator) -> list[float]:
    """Numbers in [0, 1)"""
    return torch.rand(count, generator=generator, dtype=torch.float64).tolist()
