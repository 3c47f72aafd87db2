"""Prompts to train with: templates, what is put into them, and how a caption varies from sample to sample."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from .errors import SettingError

_PLACEHOLDERS = re.compile(r"\[(name|filewords)\]")
_NOT_IN_A_LINE = frozenset(["Cc", "Cs", "Zl", "Zp"])  # Unicode's categories
_LINE_ENDS = re.compile(r"\r\n?|\n")
_GLUED_NAME = re.compile(r"[\w-]\[name\]|\[name\][\w-]")  # the tokenizer would not find the word in it


def is_one_line(text: str) -> bool:
    """Whether text can be a prompt: any letters, blanks, tabs and emoji, but no line break, no other control character
    and no half of a character (a lone surrogate)."""
    return text.isprintable() or all(c == "\t" or unicodedata.category(c) not in _NOT_IN_A_LINE for c in text)


def lines_of(text: str) -> list[str]:
    """The lines of a user's text, with single blanks in them: \\n, \\r\\n and \\r end one, as in an editor.

    `str.splitlines` cuts at eight more, such as U+2028, which stand for a blank in what people paste.
    """
    return [" ".join(line.split()) for line in _LINE_ENDS.split(text)]


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


def fill(template: str, name: str, filewords: str = "") -> str:
    """Return the prompt: [name] and [filewords] replaced once each place; raises SettingError as `check_template`."""
    words = {"name": name, "filewords": filewords}
    prompt = _PLACEHOLDERS.sub(lambda found: words[found[1]], check_template(template))
    return prompt if filewords else prompt.strip(" ,")


def negative_captions(captions: Sequence[str], name: str, positive_only: bool = False) -> list[str]:
    """What [filewords] says in negative prompts: nothing if captions are for the positive only.

    Otherwise the captions without the concept's own word, which would bring the positive vectors along."""
    return ["" if positive_only else _without_word(caption, name) for caption in captions]


def _without_word(caption: str, name: str) -> str:
    word = re.compile(rf"(?<![^\W\d_]){re.escape(name)}(-neg)?(?![^\W\d_])", re.IGNORECASE)
    if not word.search(caption):
        return caption
    tags = (" ".join(word.sub(" ", tag).split()) for tag in caption.split(","))
    return ", ".join(tag for tag in tags if tag)
