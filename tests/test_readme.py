"""What the README says is what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from tools.options_table import README, with_table

ROOT = README.parent
TEXT = README.read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_the_options_table_is_the_one_of_train_config():
    assert with_table(TEXT) == TEXT, "run python -m tools.options_table"


def test_every_picture_and_file_that_it_names_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_test_that_it_names_is_there():
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


def test_every_cell_of_the_compatibility_table_names_its_test():
    section = TEXT.split("## Compatibility\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    models = [row for row in rows if len(row) == 6][2:]
    legend = {row[0]: row[1] for row in rows if len(row) == 2 and row[0].startswith("[")}
    assert len(models) > 10
    used = {mark for row in models for cell in row[1:] for mark in re.findall(r"\[\d+\]", cell)}
    assert all(re.search(r"\[\d+\]", cell) for row in models for cell in row[1:])
    assert used == set(legend)
    assert all(re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", test) for test in legend.values())


def test_every_make_target_that_it_names_is_there_and_ci_runs_the_rest():
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    for command in commands():
        if command.startswith("make "):
            assert re.search(rf"^{command[5:]}:", makefile, re.MULTILINE), command
            assert command in ci, command
        else:
            assert command.startswith(("dreamartist ", "source ")), command


@pytest.mark.slow
def test_every_dreamartist_command_in_it_runs(tmp_path):
    (tmp_path / "dreamartist_ext").symlink_to(ROOT / "dreamartist_ext")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command in [shlex.split(c) for c in commands() if c.startswith("dreamartist ")]:
        run = [sys.executable, "-m", "dreamartist_ext", *command[1:]]
        result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, (command, result.stderr)
    for written in ("embeddings/mypot.pt", "embeddings/mypot-neg.pt", "mypot.png", "two.png", "two-2.png"):
        assert (tmp_path / written).stat().st_size > 1000


def test_every_place_that_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w./]+/[\w./]*)`", text)
    assert len(named) > 15
    for place in named:
        assert (ROOT / place).exists() or (ROOT / "dreamartist_ext" / place).exists(), place
