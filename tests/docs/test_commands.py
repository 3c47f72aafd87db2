"""Every `dreamartist` command that the README and the pages tell a reader to type runs; what they mention is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dreamartist_ext.cli.commands import dreamartist

from .pages import DOCS, PAGES, README, ROOT, commands, label, text

# The README's come first: they learn the concept that the others use. What renames it comes last.
IN_ORDER = [
    README,
    *(DOCS / page for page in ("install.md", "command-line.md", "compare.md", "concepts-and-sharing.md", "files.md")),
]


def test_no_page_with_commands_is_left_out():
    with_commands = {
        page for page in DOCS.rglob("*.md") if any(each.startswith("dreamartist ") for each in commands(page))
    }
    assert with_commands <= set(IN_ORDER)


@pytest.mark.slow
def test_every_dreamartist_command_runs(tmp_path):
    (tmp_path / "dreamartist_ext").symlink_to(ROOT / "dreamartist_ext")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    typed = [command for page in IN_ORDER for command in commands(page) if command.startswith("dreamartist ")]
    for command in dict.fromkeys(typed):
        run = [sys.executable, "-m", "dreamartist_ext", *shlex.split(command)[1:]]
        result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, (command, result.stderr)
    for written in ("mypineapple.png", "two.png", "two-2.png", "mycard.png", "embeddings/yourpineapple.pt"):
        assert (tmp_path / written).stat().st_size > 1000


# What is told beside the bash blocks: in text blocks, examples, tables and sentences. It is read, not run.
TOLD = re.compile(r"`{1,3}(?:text\n)?([^`]+)`|^ {4}(\S.*)$", re.MULTILINE)


def told(page: Path, beginning: str) -> Iterator[list[str]]:
    """The words of each command that begins so, wherever on the page it stands."""
    for parts in TOLD.findall(text(page)):
        for line in "".join(parts).splitlines():
            if line.strip().startswith(beginning):
                yield line.strip().removeprefix(beginning).split()


def flags(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_command_and_flag_that_a_page_mentions_is_there(page):
    context = click.Context(dreamartist)
    for name, *words in filter(None, told(page, "dreamartist ")):
        command = dreamartist.get_command(context, name)
        if name.startswith("-"):
            known = {"--help", "--version"}
            words = [name]
        else:
            assert command is not None, name
            known = {"--help"}.union(*((*each.opts, *each.secondary_opts) for each in command.params))
        assert flags(words) <= known, (name, words)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_module_and_flag_that_a_page_mentions_is_there(page):
    for name, *words in filter(None, told(page, "python -m ")):
        place = ROOT / name.replace(".", "/")
        files = [*place.rglob("*.py"), *filter(Path.is_file, [place.with_suffix(".py")])]
        assert files, name
        source = "".join(file.read_text(encoding="utf-8") for file in files)
        assert all(f'"{flag}"' in source for flag in flags(words)), (name, words)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_extra_that_a_page_mentions_is_there(page):
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for names in re.findall(r"(?:dreamartist|\"\.)\[([a-z,-]+)\]", text(page)):
        assert all(re.search(rf"^{name} = \[", project, re.MULTILINE) for name in names.split(",")), names
