"""What the README and the pages say is what there is."""

from __future__ import annotations

import re

import pytest

from tools.pages.__main__ import PARTS
from tools.pages.marks import put
from tools.pages.remedies import TELLS, remedy_of
from tools.pages.sentences import sentences

from .pages import DOCS, PAGES, README, ROOT, commands, label, text

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MOST_WORDS, MOST_LINES = 900, 150
PLACES = ("", "dreamartist_ext", "dreamartist_ext/engine")  # that CONTRIBUTING's paths begin from
MAKES = re.compile(r"<!-- made by: (\S.*?) -->")


@pytest.mark.parametrize("page", PARTS)
def test_what_the_program_writes_is_up_to_date(page):
    name, content = PARTS[page]
    assert put(text(DOCS / page), name, content()) == text(DOCS / page), "run python -m tools.pages"


def test_every_message_says_what_to_do_or_the_page_does():
    said = {each.text for each in sentences()}
    assert len(said) > 300
    assert not [text for text in said if not TELLS.search(text) and not remedy_of(text)]


def test_the_readme_is_read_to_the_end():
    seen = re.sub(r"<!--.*?-->|!?\[([^\]]*)\]\([^)]*\)", r"\1", text(README), flags=re.DOTALL)
    assert len(seen.split()) <= MOST_WORDS
    assert len(text(README).splitlines()) < MOST_LINES


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_file_that_a_link_names_is_there(page):
    for target in LINK.findall(text(page)):
        path = target.partition("#")[0]
        assert "://" in target or not path or (page.parent / path).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_test_that_it_names_is_there(page):
    for file, *names in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`(?:, `(test_\w+)`)?", text(page)):
        source = (ROOT / file).read_text(encoding="utf-8")
        assert all(f"def {name}(" in source for name in names if name), (file, names)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_picture_names_the_command_that_makes_it(page):
    made_by = ""
    for line in text(page).splitlines():
        if found := MAKES.search(line):
            made_by = found[1]
        for picture in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", line):
            if "://" not in picture:
                assert made_by, picture
                made_by = ""


def test_every_tool_that_makes_a_picture_is_there():
    for page in PAGES:
        for module in re.findall(r"<!-- made by: python -m ([\w.]+)", text(page)):
            path = ROOT / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), module


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_make_target_that_it_tells_to_run_is_there_and_ci_runs_it(page):
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    for command in commands(page):
        if command.startswith("make "):
            assert re.search(rf"^{command[5:]}:", makefile, re.MULTILINE), command
            assert command in ci or command == "make serve", command  # which never ends: tests/webui opens its page
        else:
            assert command.startswith(("dreamartist ", "source ")), command


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_make_target_that_it_mentions_is_there(page):
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", text(page)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", [DOCS / "files.md", DOCS / "compatibility.md"], ids=label)
def test_every_mark_has_a_test(page):
    legend = set(re.findall(r"^\| \[(\d+)\] \| `tests/", text(page), re.MULTILINE))
    assert legend
    assert set(re.findall(r"\[(\d+)\]", text(page))) == legend


def test_every_cell_of_the_table_of_models_names_its_test():
    section = text(DOCS / "compatibility.md").split("## Models\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert len(rows) > 12
    assert all(re.search(r"\[\d+\]", cell) for row in rows[2:] for cell in row[1:])


def test_every_place_that_contributing_names_is_there():
    named = re.findall(r"`((?:[\w.]+/)+[\w.]*|[\w]+\.\w+)`", text(ROOT / "CONTRIBUTING.md"))
    assert len(named) > 15
    for place in named:
        assert any((ROOT / folder / place).exists() for folder in PLACES), place


def test_every_page_is_in_the_sites_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        assert page.relative_to(DOCS).as_posix() in menu, page
