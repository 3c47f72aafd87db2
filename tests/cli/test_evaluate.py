"""`dreamartist evaluate` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import DreamArtistError, FileError, SettingError
from dreamartist_ext.files.storage import save_pair
from testbed.model_folder import save_folder

from ..evaluation.studio import a_pair, a_picture
from ..models import tiny_components


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return save_folder(tiny_components(folder / "source"), folder / "tiny")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    save_pair(a_pair("mycat", 1), tmp_path / "embeddings")
    a_picture("red").save(tmp_path / "photo.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "subjects.txt").write_text("a [name]\n[name] on a red background\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(model: Path, *arguments: object) -> str:
    """The output of a command that succeeds; a refusal is raised as it is."""
    quick = ("--model", model, "--prompts", "lists", "--seeds", 2, "--guidance", 3, "--steps", 2)
    result = CliRunner().invoke(
        dreamartist, ["evaluate", *map(str, (*arguments, *quick))], standalone_mode=False, catch_exceptions=True
    )
    if result.exception:
        raise result.exception
    return result.output


def test_a_name_and_a_picture_make_a_report(here, model):
    said = evaluate(model, "mycat", "--reference", "photo.png", "--plain-word", "cat")
    assert f"Look at {here / 'evaluation-output' / 'report.html'}" in said
    page = (here / "evaluation-output" / "report.html").read_text()
    assert "How good is mycat?" in page
    assert "The plain word is “cat”" in page
    pictures = {path: path.stat().st_mtime_ns for path in (here / "evaluation-output" / "pictures").rglob("*.png")}
    assert len(pictures) == 3
    evaluate(model, "embeddings", "--reference", "mycat=photo.png", "--plain-word", "mycat=cat")
    again = {path: path.stat().st_mtime_ns for path in (here / "evaluation-output" / "pictures").rglob("*.png")}
    assert again == pictures


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the name of a pair, or a folder"),
        (("mycat",), "there is no picture of mycat to compare with"),
        (("nobody", "--reference", "photo.png"), "there is no embedding nobody"),
        (("lists", "--reference", "photo.png"), "there is no embedding in the folder lists"),
        (("mycat", "--reference", "gone.png"), "there is no picture gone.png"),
        (("mycat", "--reference", "photo.png", "--plain-word", " "), "plain_word must be a word"),
        (("mycat", "--reference", "photo.png", "--clip", "gone.safetensors"), "CLIP needs|there are no CLIP weights"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(here, model, arguments, said):
    with pytest.raises(DreamArtistError, match=said):
        evaluate(model, *arguments)
    assert not (here / "evaluation-output" / "report.html").exists()


def test_a_pair_of_another_kind_of_model_is_refused(here, model):
    foreign = a_pair("other", 2)
    wide = {"clip": foreign.positive["clip"].repeat(1, 2)}
    save_pair(EmbeddingPair("other", wide), here / "embeddings")
    with pytest.raises(SettingError, match="other was made for another kind of model"):
        evaluate(model, "other", "--reference", "photo.png")


def test_the_lists_are_copied_to_be_edited_and_never_over_others(here, model):
    def write():
        result = CliRunner().invoke(dreamartist, ["evaluate", "--write-prompts", "mine"], standalone_mode=False)
        if result.exception:
            raise result.exception

    write()
    assert (here / "mine" / "subjects.txt").read_text().startswith("#")
    (here / "mine" / "subjects.txt").write_text("a [name] of mine\n")
    with pytest.raises(FileError, match="is there already"):
        write()
    assert (here / "mine" / "subjects.txt").read_text() == "a [name] of mine\n"
