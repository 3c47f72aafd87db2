"""Every `dreamartist` command that the README and the pages tell a reader to type runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from .pages import DOCS, README, ROOT, commands

# The README's come first: they learn the concept that the others use. What renames it comes last.
IN_ORDER = [
    README,
    *(DOCS / page for page in ("install.md", "command-line.md", "compare.md", "concepts-and-sharing.md", "files.md")),
]


def test_no_page_with_commands_is_left_out():
    told = {page for page in DOCS.rglob("*.md") if any(each.startswith("dreamartist ") for each in commands(page))}
    assert told <= set(IN_ORDER)


@pytest.mark.slow
def test_every_dreamartist_command_runs(tmp_path):
    (tmp_path / "dreamartist_ext").symlink_to(ROOT / "dreamartist_ext")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = [command for page in IN_ORDER for command in commands(page) if command.startswith("dreamartist ")]
    for command in dict.fromkeys(told):
        run = [sys.executable, "-m", "dreamartist_ext", *shlex.split(command)[1:]]
        result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, (command, result.stderr)
    for written in ("mypot.png", "two.png", "two-2.png", "mycard.png", "embeddings/yourpot.pt"):
        assert (tmp_path / written).stat().st_size > 1000
