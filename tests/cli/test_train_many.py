"""`dreamartist train-many` in one process: names, files, what goes on and what is left alone."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.errors import DreamArtistError, SettingError, StoppedError, TrainingError
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.many.concepts import Concept, concept_name, concepts_in, groups_of
from dreamartist_ext.many.together import SharedPasses
from testbed.model_folder import save_folder

from ..models import tiny_components
from .test_cli import run

COLOURS = {"ant": "red", "bee": "green", "cow": "blue", "dog": "gold"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return save_folder(tiny_components(folder / "source"), folder / "tiny")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "pictures").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (64, 64), colour).save(tmp_path / "pictures" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def many(model: Path, *arguments: object) -> str:
    settings = ("--precision", "fp32", "--steps", 6, "--save-every", 2)
    return run("train-many", "pictures", "--model", model, "--workers", 0, *settings, *arguments)


def refused(model: Path, *arguments: object) -> tuple[BaseException, str]:
    """What it ended with, and all that it said before."""
    common = ["train-many", "pictures", "--model", model, "--workers", 0, "--precision", "fp32", "--steps", 6]
    said = CliRunner().invoke(dreamartist, [str(a) for a in (*common, *arguments)], standalone_mode=False)
    assert said.exception is not None
    return said.exception, said.output


def result(out: Path) -> dict[str, bytes]:
    """Everything but the snapshots before the last, locks, and what groups there were."""
    folders = out, out.with_name(f"{out.name}-training")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    kept = [p for p in files if "-before" not in p.name and p.name not in ("lock", "groups.json")]
    return {str(path.relative_to(out.parent)).replace(out.name, "OUT", 1): path.read_bytes() for path in kept}


def test_each_pair_has_the_bytes_that_train_gives_it(here, model):
    assert "Trained 4 of 4, 0 were done before" in many(model)
    for name in COLOURS:
        picture = f"pictures/{name}.png"
        run(
            *("train", picture, "--name", name, "--model", model, "--precision", "fp32"),
            *("--steps", 6, "--save-every", 2, "--out", "alone"),
        )
    assert result(here / "pairs") == result(here / "alone")


def test_what_is_done_is_not_touched_and_what_is_new_is_trained(here, model):
    many(model, "--per-pass", 2)
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*.pt")}
    Image.new("RGB", (64, 64), "pink").save(here / "pictures" / "aal.png")
    assert "Trained 1 of 5, 4 were done before" in many(model, "--per-pass", 2)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (here / "pairs" / "bee-neg.pt").unlink()
    assert "Trained 1 of 5, 4 were done before" in many(model, "--per-pass", 2)
    assert before.keys() | set(here.rglob("aal*.pt")) == set(here.rglob("*.pt"))


def test_other_settings_are_refused_for_each_and_begun_again_when_asked(here, model):
    many(model)
    error, said = refused(model, "--seed", 5)
    assert str(error) == "4 of 4 could not be trained; the same command tries them again."
    assert "bee: this training was started with seed 0, so it cannot go on with 5." in said
    before = result(here / "pairs")
    assert "Trained 4 of 4" in many(model, "--seed", 5, "--overwrite")
    assert "Trained 0 of 4, 4 were done before" in many(model, "--seed", 5, "--overwrite")
    assert all(before[name] != content for name, content in result(here / "pairs").items() if name in before)


def test_a_bad_picture_is_a_sentence_and_the_others_go_on(here, model):
    (here / "pictures" / "bad.png").write_text("no picture")
    (here / "pictures" / "photo.png").write_bytes((here / "pictures" / "ant.png").read_bytes())
    (here / "pictures" / "notes.txt").write_text("no concern of ours")
    (here / "pictures" / "cow_att.png").write_bytes((here / "pictures" / "ant.png").read_bytes())
    error, said = refused(model, "--per-pass", 8, "--template", "a photo of [name]")
    assert isinstance(error, TrainingError)
    assert "2 of 6 could not be trained" in str(error)
    assert 'bad: "bad.png" cannot be opened as a picture' in said
    assert "photo.png: name must not be a word of the template" in said
    assert sorted(path.stem for path in (here / "pairs").glob("*.pt") if "-neg" not in path.stem) == sorted(COLOURS)
    assert not (here / "pairs-training" / "bad").exists()


@pytest.mark.parametrize("per_pass", [1, 3])
def test_ctrl_c_stops_and_the_same_command_ends_with_the_same_bytes(here, model, monkeypatch, per_pass):
    many(model, "--per-pass", per_pass, "--out", "whole")
    compute, calls = SharedPasses.compute, []

    def interrupted(*arguments):
        calls.append(os.kill(os.getpid(), signal.SIGINT) if len(calls) == 8 else None)
        return compute(*arguments)

    monkeypatch.setattr(SharedPasses, "compute", interrupted)
    with pytest.raises(StoppedError, match=r"stopped with \d of 4 to go; the same command goes on from there"):
        many(model, "--per-pass", per_pass)
    stopped = "dog" if per_pass == 3 else "bee"
    assert RunFiles(here / "pairs", stopped).last_snapshot().step < 6
    assert "Trained" in many(model, "--per-pass", per_pass)
    assert result(here / "pairs") == result(here / "whole")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my cat (1).jpg", "my-cat-1"),
        ("a_b-c.png", "a_b-c"),
        ("-xyz-.png", "xyz"),
        ("été.png", "ete"),
        ("e\u0301te\u0301.png", "ete"),
        ("ñandú.png", "nandu"),
        ("Straße Nr. 5.png", "Strasse-Nr-5"),
        ("日本 cat.png", "cat"),
    ],
)
def test_a_files_name_becomes_a_word(file, name):
    assert concept_name(Path(file)) == name


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("猫.png", "has no letters a-z"),
        ("ça.png", 'gives the word "ca"'),
        ("t.png", 'gives the word "t"'),
        ("日a本b.png", 'gives the word "a-b"'),
        ("кошка 1.png", 'gives the word "1"'),
    ],
)
def test_a_files_name_that_gives_no_word_is_asked_for_another(here, file, words):
    picture = next((here / "pictures").glob("*.png"))
    picture.rename(here / "pictures" / file)
    concepts, (refused,) = concepts_in(here / "pictures", {})
    assert len(concepts) == len(COLOURS) - 1
    assert words in refused.sentence
    assert "ename" in refused.sentence


def test_a_file_named_after_a_word_that_cuts_prompts_gets_it_in_small_letters(here):
    next((here / "pictures").glob("*.png")).rename(here / "pictures" / "AND then.png")
    concepts, refused = concepts_in(here / "pictures", {})
    assert not refused
    assert "and-then" in {concept.name for concept in concepts}


def test_two_spellings_of_one_name_collide_in_a_sentence(here):
    for name in ("été.jpg", "ete.jpg"):
        (here / "pictures" / name).write_bytes(b"")
    _, (refused,) = concepts_in(here / "pictures", {})
    assert "is that of" in refused.sentence


def test_what_a_mac_lays_beside_a_picture_is_none(here):
    (here / "pictures" / "._ant.png").write_bytes(b"not a picture")
    found, refused = concepts_in(here / "pictures", {})
    assert [concept.name for concept in found] == list(COLOURS)
    assert not refused


def test_a_place_where_nothing_can_be_written_is_a_sentence(here, model):
    (here / "afile").write_text("x")
    for per_pass in (1, 2):
        error, said = refused(model, "--out", "afile/pairs", "--per-pass", per_pass)
        assert isinstance(error, DreamArtistError), said
    (here / "out-training").mkdir()
    (here / "out-training" / "ant").write_text("x")
    error, said = refused(model, "--out", "out", "--steps", 2)
    assert "could not be made" in f"{said} {error}"
    assert len(list((here / "out").glob("*-neg.pt"))) == 3


def test_two_files_of_one_word_are_said(here):
    (here / "pictures" / "BEE.jpg").write_bytes(b"")
    concepts, refused = concepts_in(here / "pictures", {})
    assert [concept.name.lower() for concept in concepts] == sorted(COLOURS)
    assert len(refused) == 1
    assert "rename one" in refused[0].sentence


def test_a_group_that_has_begun_stays_together(tmp_path):
    def concepts(*names: str) -> list[Concept]:
        return [Concept(name, Path(f"{name}.png")) for name in names]

    def names(groups) -> list[list[str]]:
        return [[concept.name for concept in group] for group in groups]

    out = tmp_path / "out"
    assert names(groups_of(concepts("b", "c", "d", "e"), 2, out)) == [["b", "c"], ["d", "e"]]
    begun = RunFiles(out, "c").snapshot
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"")
    assert names(groups_of(concepts("a", "b", "c", "d", "e"), 2, out)) == [["b", "c"], ["a", "d"], ["e"]]
    assert names(groups_of(concepts("x", "y"), 2, out)) == [["x", "y"]]
    assert names(groups_of(concepts("a", "b", "c", "d", "e"), 2, out))[0] == ["b", "c"]
    assert names(groups_of(concepts("a", "b", "c"), 3, out)) == [["a", "b", "c"]]
    (tmp_path / "out-training" / "groups.json").write_text(json.dumps({"per_pass": 2, "groups": 7}))
    assert names(groups_of(concepts("a", "b"), 2, out)) == [["a", "b"]]


def test_without_ray_pairs_come_one_after_the_other_and_workers_are_refused(here, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    common = ("pictures", "--model", model, "--precision", "fp32", "--steps", 2)
    out = run("train-many", *common)
    assert 'One after the other in this process; pip install "dreamartist[many]" uses all cores.' in out
    assert "Trained 4 of 4" in out
    for flags in (("--workers", 2), ("--address", "auto"), ("--address", "auto", "--workers", 0)):
        with pytest.raises(SettingError, match=r'this needs Ray: pip install "dreamartist\[many\]"'):
            run("train-many", *common, *flags)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--name", "mycat"), "train-many names every concept after its picture"),
        (("--model", "nowhere"), "there is no model at nowhere"),
        (("--batch-size", 200, "--per-pass", 2), "a pass has at most 256 samples"),
    ],
)
def test_what_cannot_be_is_one_sentence(here, model, flags, sentence):
    error, said = refused(model, *flags)
    assert isinstance(error, DreamArtistError)
    assert sentence in str(error) + said


def test_an_empty_folder_is_said(here, model):
    (here / "empty").mkdir()
    for folder, sentence in (("empty", "no picture in the folder"), ("nowhere", "could not be read")):
        with pytest.raises(DreamArtistError, match=sentence):
            run("train-many", folder, "--model", model)
