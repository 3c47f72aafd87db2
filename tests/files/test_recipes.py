"""A user's own recipes: saved, found by the page and the command line, damaged, deleted."""

from __future__ import annotations

import click
import pytest

from dreamartist_ext.cli.options import OwnToo, chosen
from dreamartist_ext.engine.errors import FileError, SettingError
from dreamartist_ext.files import recipes
from dreamartist_ext.files.presets import RECIPES, layered


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(recipes.FOLDER_VARIABLE, str(tmp_path / "recipes"))
    return tmp_path / "recipes"


def test_a_recipe_is_saved_laid_over_the_kind_and_deleted(folder):
    assert recipes.own_names() == []
    recipes.save_recipe("mine", {"name": "x", "initialization_text": "cat", "steps": 77})
    assert recipes.own_names() == ["mine"]
    assert layered({}, {"steps": 5, "vectors": 2}, "style", "mine") == {
        **layered({}, {"vectors": 2}, "style"),
        "steps": 77,
    }
    assert layered({"steps": 9}, {}, "", "mine") == {"steps": 9}
    recipes.delete_recipe("mine")
    assert not list(folder.iterdir())
    with pytest.raises(SettingError, match="recipe must be one of study-thing"):
        layered({}, {}, "", "mine")
    for name in ("mine", "study-thing"):
        with pytest.raises(SettingError, match="only recipes of your own"):
            recipes.delete_recipe(name)


def test_what_cannot_be_saved_is_said(folder):
    with pytest.raises(SettingError, match=r"a recipe's name must be letters.*'../x'"):
        recipes.save_recipe("../x", {"steps": 3})
    with pytest.raises(SettingError, match="no setting is changed"):
        recipes.save_recipe("mine", {"name": "x"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is damaged"),
        ("[]", "more than settings"),
        ('{"name": "x"}', "more than settings"),
        ('{"steps": 0}', "steps"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_a_sentence(folder, content, words):
    folder.mkdir()
    (folder / "mine.json").write_text(content)
    with pytest.raises((FileError, SettingError), match=words):
        layered({}, {}, "", "mine")


def test_the_command_line_takes_it_beside_the_shipped_ones():
    choice = OwnToo(RECIPES)
    with pytest.raises(click.BadParameter, match="'mine' is not one of"):
        choice.convert("mine", None, None)
    recipes.save_recipe("mine", {"steps": 77})
    assert choice.convert("mine", None, None) == "mine"
    assert choice.convert("paper-style", None, None) == "paper-style"
    assert chosen(None, None, "mine") == ("", "mine")
