"""What is drawn: lists of prompts in plain text files, shipped, and to be copied and edited."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..engine.errors import FileError, SettingError
from ..engine.prompts import is_one_line, lines_of

SHIPPED = Path(__file__).parents[1] / "assets" / "prompts"
EMBEDDED, GENERAL = SHIPPED / "embedded", SHIPPED / "general"
NAME, PICTURE, ARROW = "[name]", "[picture]", "=>"
MOST_BYTES, MOST_PROMPTS = 100_000, 200
_GLUED = re.compile(r"[\w-]\[name\]|\[name\][\w-]")  # the tokenizer would not find the word in it


@dataclass(frozen=True)
class Edit:
    """A picture to start from, drawn by a prompt without the word (None: the one that was learned from), and what it
    is to become."""

    start: str | None
    prompt: str


@dataclass(frozen=True)
class PromptLists:
    """Every prompt holds [name]; those of `composition` two or three times."""

    subjects: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    editing: tuple[Edit, ...] = ()
    composition: tuple[str, ...] = ()


KINDS = tuple(item.name for item in fields(PromptLists))


def filled(prompt: str, *names: str) -> str:
    """The prompt with a word for each [name], in order; a single word stands for all of them."""
    words = iter(names if len(names) > 1 else names * prompt.count(NAME))
    return re.sub(re.escape(NAME), lambda _match: next(words), prompt)


def load_lists(folder: Path) -> PromptLists:
    """Read subjects.txt, styles.txt, editing.txt and composition.txt, those that are there; raises FileError or
    SettingError for what cannot be drawn, naming the line."""
    lists = {kind: _lines(folder / f"{kind}.txt") for kind in KINDS}
    if not any(lists.values()):
        raise FileError(f"there is no list of prompts in {folder}; copy the shipped ones there.", "lists of prompts")
    return checked_lists(lists)


def checked_lists(lists: Mapping[str, Sequence[tuple[str, str]]]) -> PromptLists:
    """lists: by kind, (where it stands, the prompt); raises SettingError that begins with where."""
    if unknown := sorted(set(lists) - set(KINDS)):
        raise SettingError(f"prompts are {', '.join(KINDS)}, got {unknown[0][:40]!r}.")
    return PromptLists(
        subjects=tuple(checked_subject(*line) for line in lists.get("subjects", ())),
        styles=tuple(checked_subject(*line) for line in lists.get("styles", ())),
        editing=tuple(_edit(*line) for line in lists.get("editing", ())),
        composition=tuple(_composed(*line) for line in lists.get("composition", ())),
    )


def _lines(path: Path) -> list[tuple[str, str]]:
    """(where, text) of the lines that are not empty and not comments; none if there is no such file."""
    try:
        if not path.exists():
            return []
        content = path.read_bytes()
        if len(content) > MOST_BYTES:
            raise FileError(f"{path.name} has more than {MOST_BYTES} bytes, which is no list of prompts.")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise FileError(f"{path.name} could not be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path.name} is not UTF-8 text.") from error
    numbered = [(f"{path.name}, line {n}", line) for n, line in enumerate(lines_of(text), start=1)]
    found = [(where, line) for where, line in numbered if line and not line.startswith("#")]
    if len(found) > MOST_PROMPTS:
        raise SettingError(f"{path.name} holds {len(found)} prompts; {MOST_PROMPTS} is the most.")
    return found


def checked_subject(where: str, line: str) -> str:
    """The prompt, if it holds [name] once; raises SettingError that begins with `where`."""
    return _counted(where, line, 1, 1)


def _composed(where: str, line: str) -> str:
    return _counted(where, line, 2, 3)


def _edit(where: str, line: str) -> Edit:
    start, arrow, prompt = (part.strip() for part in line.partition(ARROW))
    if not arrow or not start or NAME in start:
        raise SettingError(f"{where}: an edit is START => PROMPT, with [name] in the prompt only.")
    return Edit(None if start == PICTURE else start, _counted(where, prompt, 1, 1))


def _counted(where: str, line: str, least: int, most: int) -> str:
    count = line.count(NAME)
    if not least <= count <= most:
        wanted = str(least) if least == most else f"{least} or {most}"
        raise SettingError(f"{where}: [name] must be in it {wanted} times, and is {count} times.")
    if _GLUED.search(line):
        raise SettingError(f"{where}: [name] must stand apart from other letters, or the word is not found.")
    if not is_one_line(line):
        raise SettingError(f"{where}: there are characters in it that do not print.")
    return line
