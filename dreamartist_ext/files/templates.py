"""Template files: prompts to train with, one a line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.errors import FileError, SettingError
from ..engine.prompts import check_templates, is_one_line, lines_of
from .bounded import read_at_most

MAX_TEMPLATE_BYTES = 100_000


TEMPLATE_SETTINGS = ("template", "negative_template")


def read_templates(path: Path) -> str:
    """Return the templates of a file with one a line, as the WebUI's `textual_inversion_templates`, separated by |.

    The text itself becomes the setting, so that a training does not depend on where the file lies. Raises FileError
    for a file that is no such text, and SettingError for a line that is no template.
    """
    try:
        content = read_at_most(path, MAX_TEMPLATE_BYTES)
    except OSError as error:
        raise FileError(f"the template file {path.name[:80]} could not be read; check its name and folder.") from error
    if content is None:
        raise FileError(f"the template file {path.name[:80]} is longer than {MAX_TEMPLATE_BYTES // 1000} kB.")
    try:
        lines = lines_of(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise FileError(f"the template file {path.name[:80]} is not plain text; save it as UTF-8.") from error
    if not all(map(is_one_line, lines)):
        raise FileError(f"the template file {path.name[:80]} holds control characters; save it as UTF-8 text.")
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
