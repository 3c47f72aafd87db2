"""Every claim in docs/files.md names a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")


def test_every_test_that_it_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`(?:, `(test_\w+)`)?", TEXT)
    assert len(named) > 10
    for file, *tests in named:
        source = (ROOT / file).read_text(encoding="utf-8")
        for test in filter(None, tests):
            assert f"def {test}(" in source, test


def test_every_mark_has_a_test():
    marks = set(re.findall(r"\[(\d+)\]", TEXT))
    assert marks == set(re.findall(r"^\| \[(\d+)\] \|", TEXT, re.MULTILINE))


def test_every_test_that_the_plan_for_many_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"))
    assert named
    assert all((ROOT / file).is_file() for file in named)
