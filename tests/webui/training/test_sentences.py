"""Every error that the page can show, in its own words: no option of the command line, no code name of a setting."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import dreamartist_ext
from dreamartist_ext.cli.advice import ADVICE
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import FileError, PictureError, SettingError
from dreamartist_ext.webui.training.sentences import place_of, sentence

PACKAGE = Path(dreamartist_ext.__file__).parent
NOT_SHOWN = {  # the command line's own; what of them a page can meet is said anew there
    "cli", "many", "__main__.py", "evaluation/clip.py", "evaluation/gather.py", "evaluation/prompt_lists.py",
    "hosts/diffusers/processes.py",
}  # fmt: skip
CODE_NAMES = {item.name for item in fields(TrainConfig) if "_" in item.name}


def raised(everywhere=False):
    """(file:line, text) of every sentence in a raised error, {} for what is filled in; `everywhere`: of the command
    line too, and without those of the page's own room."""
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE).as_posix()
        if any(place == each or place.startswith(f"{each}/") for each in (["webui"] if everywhere else NOT_SHOWN)):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                yield f"{place}:{node.lineno}", text_of(node.exc.args[0])


def text_of(node):
    parts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return " ".join(parts)


def test_no_sentence_has_an_option_of_the_command_line():
    found = dict(raised())
    assert len(found) > 100
    assert {where: text for where, text in found.items() if re.search(r"(^|\s)--[a-z]|\bpip\b", text)} == {}


def button_labels():
    """What is written on the page's buttons, where it is more than one word: one word alone may be any sentence's."""
    labels = set()
    for file in (PACKAGE / "webui").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            is_button = isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "gr.Button",
                "button",
                "_button",
                "go",
            )
            if is_button and node.args and isinstance(node.args[0], ast.Constant):
                labels.add(node.args[0].value)
    return {label for label in labels if " " in label}


def test_no_sentence_of_the_command_line_has_a_button_of_the_page():
    labels = button_labels()
    assert {"Stop, keep best", "Full report"} <= labels
    sentences = [text for _, text in raised(everywhere=True)] + [*ADVICE.values()]
    pressed = r"\b(press|click|button)\b"
    assert [text for text in sentences if re.search(pressed, text) or any(label in text for label in labels)] == []


def test_no_sentence_has_a_settings_code_name_once_it_is_shown():
    for where, text in raised():
        shown = sentence(SettingError(text)) if text else ""
        assert not CODE_NAMES & set(re.findall(r"[a-z_]+", shown)), where


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (PictureError("x.png is damaged."), "pictures"),
        (SettingError("there is no picture to learn from; drop one first."), "pictures"),
        (SettingError("name must be letters."), "name"),
        (SettingError("the name cat is taken: choose another."), "name"),
        (SettingError("batch_size must be positive, got 0."), "batch_size"),
        (FileError("the disk is full."), "train"),
    ],
)
def test_an_error_is_said_where_it_belongs(error, place):
    assert place_of(error) == place


def test_settings_are_called_as_on_the_page():
    error = SettingError("out of memory; less_memory on, or a smaller batch_size, width or height, needs less.")
    assert sentence(error) == (
        'Out of memory; "Less memory" on, or a smaller "Batch size", width or height, needs less.'
    )
