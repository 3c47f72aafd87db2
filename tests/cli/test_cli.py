"""The command line as a user meets it: exit statuses, sentences, files."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock
from PIL import Image, ImageDraw

from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.errors import DreamArtistError
from dreamartist_ext.files import storage
from testbed.model_folder import save_folder

from ..models import tiny_components


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return save_folder(tiny_components(folder / "source"), folder / "tiny")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    picture = Image.new("RGB", (80, 64), "white")
    ImageDraw.Draw(picture).ellipse((20, 10, 60, 50), fill="red")
    picture.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> str:
    """The output of a command that succeeds; a refusal is raised as it is."""
    result = CliRunner().invoke(dreamartist, [str(a) for a in arguments], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def train(model: Path, *arguments: object) -> str:
    common = ("--name", "mycat", "--model", model, "--precision", "fp32", "--batch-size", 2, "--save-every", 2)
    return run("train", "photo.png", *common, *arguments)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "photo.png")


def test_train_inspect_generate(here, model):
    assert "mycat.pt, mycat-neg.pt" in train(model, "--steps", 4)
    about = run("inspect", "embeddings/mycat-neg.pt")
    assert "6 x 32 (clip)" in about
    assert "step     4" in about
    out = run("generate", "a mycat here", "--model", model, "--steps", 2, "--count", 2, "--out", "cat.png")
    assert "added to the negative prompt: mycat-neg" in out
    first, second = Image.open("cat.png"), Image.open("cat-2.png")
    assert first.size == (64, 64)
    assert first.tobytes() != second.tobytes()


def test_templates_and_captions_come_from_files(here, model):
    (here / "mine.txt").write_text("a photo of [name], [filewords]\n[name]\n")
    (here / "photo.txt").write_text("red, round")
    flags = ("--template", "mine.txt", "--shuffle-tags", "--tag-dropout", 0.5, "--spread-mask", 1)
    train(model, "photo.txt", "--steps", 2, *flags)
    settings = json.loads(storage.load_embedding(here / "embeddings" / "mycat.pt").provenance["settings"])
    assert settings["template"] == "a photo of [name], [filewords]|[name]"
    (here / "photo.txt").unlink()
    (here / "photo.png").rename(here / "1.png")
    with pytest.raises(DreamArtistError, match=r'"1\.png" has no caption for'):
        run("train", "1.png", "--name", "mydog", "--template", "mine.txt", "--model", model)


def test_without_a_negative_there_is_one_file(here, model):
    train(model, "--steps", 2, "--no-use-negative")
    assert (here / "embeddings" / "mycat.pt").exists()
    assert not (here / "embeddings" / "mycat-neg.pt").exists()


def test_stopping_and_resuming_gives_the_bytes_of_one_run(here, model):
    flags = ("--precision", "fp32", "--steps", 6)
    train(model, "--steps", 6, "--out", "whole")
    train(model, "--steps", 4, "--out", "parts")
    run("train", "photo.png", "--name", "mycat", "--model", model, *flags, "--out", "parts", "--resume")
    for name in ("mycat.pt", "mycat-neg.pt"):
        ours, theirs = (storage.load_embedding(here / folder / name) for folder in ("whole", "parts"))
        assert ours.vectors["clip"].equal(theirs.vectors["clip"])
    assert (here / "whole" / "mycat.pt").read_bytes() == (here / "parts" / "mycat.pt").read_bytes()


def test_settings_come_from_a_file_and_flags_win(here, model):
    (here / "settings.json").write_text(json.dumps({"steps": 3, "vectors": 2, "seed": 9}))
    train(model, "--config", "settings.json", "--steps", 2)
    embedding = storage.load_embedding(here / "embeddings" / "mycat.pt")
    assert len(embedding.vectors["clip"]) == 2
    settings = json.loads(embedding.provenance["settings"])
    assert (settings["steps"], settings["seed"]) == (2, 9)


def test_settings_are_saved_as_a_preset_and_come_back_from_it_and_from_the_embedding(here, model):
    changed = ("--vectors", 2, "--guidance", "1.5-3", "--steps", 2, "--seed", 9)
    train(model, *changed, "--save-config", "mine.json")
    for source in ("mine.json", "embeddings/mycat.pt", "embeddings/mycat-neg.pt"):
        out = f"again-{Path(source).stem}"
        run(
            "train",
            "photo.png",
            "--name",
            "mycat",
            "--model",
            model,
            "--precision",
            "fp32",
            "--config",
            source,
            "--out",
            out,
        )
        assert (here / out / "mycat.pt").read_bytes() == (here / "embeddings" / "mycat.pt").read_bytes()
    assert "name" not in json.loads((here / "mine.json").read_text())


@pytest.mark.parametrize("name", ["photo.png", "other.json", "."])
def test_saved_settings_replace_nothing_but_settings(here, model, name):
    (here / "other.json").write_text('{"colour": "red"}')
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    with pytest.raises(DreamArtistError, match="is there already and holds no settings; save them under another name"):
        train(model, "--save-config", name)
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


def test_settings_are_saved_over_settings_and_only_for_a_training_that_starts(here, model):
    (here / "mine.json").write_text('{"steps": 9}')
    with pytest.raises(DreamArtistError, match="no picture"):
        run("train", "none.png", "--name", "mycat", "--model", model, "--save-config", "mine.json")
    assert json.loads((here / "mine.json").read_text()) == {"steps": 9}
    train(model, "--steps", 1, "--save-config", "mine.json")
    assert json.loads((here / "mine.json").read_text())["steps"] == 1


def test_a_preset_gives_way_to_a_file_and_to_flags(here, model):
    (here / "settings.json").write_text(json.dumps({"negative_vectors": 4}))
    train(model, "--preset", "paper-style", "--config", "settings.json", "--steps", 1)
    settings = json.loads(storage.load_embedding(here / "embeddings" / "mycat.pt").provenance["settings"])
    assert (settings["guidance"], settings["negative_vectors"], settings["steps"]) == ("5", 4, 1)


def test_patience_ends_a_training_and_the_best_pair_is_kept(here, model):
    flags = ("--check-every", 2, "--patience", 2, "--keep", "best", "--learning-rate", "1e-9", "--steps", 40)
    said = train(model, *flags)
    assert "patience has run out" in said
    assert "mycat.pt" in said
    kept = here / "embeddings-training" / "mycat"
    rows = (kept / "curve.csv").read_text().splitlines()[1:]
    losses = {int(row.split(",")[0]): float(row.split(",")[1]) for row in rows}
    assert max(losses) < 40
    assert losses[storage.load_embedding(here / "embeddings" / "mycat.pt").step] == min(losses.values())
    assert (kept / "curve.png").stat().st_size > 1000


def test_a_spoilt_snapshot_is_said_and_the_one_before_taken(here, model):
    train(model, "--steps", 4)
    snapshot = here / "embeddings-training" / "mycat" / "snapshot.safetensors"
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    whole = (here / "embeddings" / "mycat.pt").read_bytes()
    assert "goes on from the one before it, of step 2" in train(model, "--steps", 4, "--resume")
    assert (here / "embeddings" / "mycat.pt").read_bytes() == whole


def test_generate_takes_a_typed_negative_as_the_users_decision(here, model):
    train(model, "--steps", 2)
    common = ("--model", model, "--steps", 2, "--out")
    out = run("generate", "a mycat", "--negative", "mycat-neg", *common, "typed.png")
    assert "added" not in out
    run("generate", "a mycat", *common, "added.png")
    run("generate", "a mycat", "--embeddings", "nowhere", *common, "without.png")
    typed, added, without = (Image.open(f"{name}.png").tobytes() for name in ("typed", "added", "without"))
    assert typed == added != without


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--name", "my cat"), 'name must be letters a-z, digits, - and _ only, .* got "my cat".'),
        (("--name", "../cat"), 'name must be letters .* got "../cat".'),
        (("--name", "x" * 300), "name must have at most 64 characters, got 300."),
        (("--steps", "0"), "steps must be at least 1, got 0."),
        (("--learning-rate", "nan"), "learning_rate must be a positive number"),
        (("--negative-lr-ratio", "nan"), "negative_lr_ratio must be a finite number, got nan."),
        (("--batch-size", "-1"), "batch_size must be at least 1, got -1."),
        (("--model", "nowhere"), "there is no model at nowhere."),
        (("--model", "photo.png"), "photo.png is not a model"),
        (("--model", "."), "is not a Stable Diffusion folder"),
        (("--config", "nowhere.json"), "nowhere.json could not be read"),
        (("--config", "photo.png"), "photo.png is not JSON"),
        (("--resume",), "there is no snapshot .*embeddings-training/mycat/snapshot.safetensors to go on from."),
        (("--out", "photo.png"), '--out cannot be "photo.png": it is a file, and a folder is needed; choose another.'),
        (("--model", "x" * 300), r'--model cannot be "xxx.*\.\.\.": file name too long; choose another.'),
        (("--device", "cuda"), "there is no device cuda here"),
        (("--config", "deep.json"), "deep.json is not JSON"),
        (("--template", "two [name]s"), "must have .name. as a word of its own"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(here, model, arguments, sentence):
    (here / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DreamArtistError, match=sentence) as refused:
        train(model, *arguments)
    assert "\n" not in str(refused.value)
    assert files(here) == ["deep.json"]


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n", b"hello"])
def test_a_bad_picture_is_one_sentence_and_leaves_nothing(here, model, content):
    (here / "photo.png").unlink()
    if content is not None:
        (here / "photo.png").write_bytes(content)
    with pytest.raises(DreamArtistError, match=r"photo\.png") as refused:
        train(model)
    assert "\n" not in str(refused.value)
    assert files(here) == []


@pytest.mark.parametrize("picture", [".", "/", "", ".."])
def test_a_folder_for_a_picture_is_one_sentence(here, model, picture):
    with pytest.raises(DreamArtistError, match="is a folder; choose the picture files in it"):
        run("train", picture, "--name", "mycat", "--model", model)


def test_a_taken_name_is_refused_and_kept(here, model):
    train(model, "--steps", 2)
    before = (here / "embeddings" / "mycat.pt").read_bytes()
    with pytest.raises(DreamArtistError, match="the name mycat is taken by"):
        train(model, "--steps", 4)
    assert (here / "embeddings" / "mycat.pt").read_bytes() == before
    train(model, "--steps", 4, "--overwrite")
    assert (here / "embeddings" / "mycat.pt").read_bytes() != before


def test_overwriting_leaves_nothing_of_the_concept_before(here, model):
    train(model, "--steps", 4)
    train(model, "--steps", 3, "--overwrite", "--no-use-negative")
    assert files(here / "embeddings") == ["mycat.pt"]
    steps = [name for name in files(here / "embeddings-training" / "mycat") if name.endswith(".pt")]
    assert steps == ["mycat-000002.pt"]
    with pytest.raises(DreamArtistError, match="the name MYCAT is taken by"):
        train(model, "--name", "MYCAT")


def test_a_name_is_trained_once_at_a_time(here, model):
    train(model, "--steps", 2)
    with FileLock(here / "embeddings-training" / "mycat" / "lock"), pytest.raises(DreamArtistError, match="already"):
        train(model, "--steps", 2, "--overwrite")


def test_drawing_overwrites_no_picture(here, model):
    (here / "cat.png").write_bytes(b"mine")
    out = run("generate", "a cat", "--model", model, "--steps", 2, "--out", "cat.png", "--count", 2)
    assert "cat-2.png, cat-3.png" in out
    assert (here / "cat.png").read_bytes() == b"mine"


def test_no_room_on_the_disk_keeps_the_snapshot_before(here, model, monkeypatch):
    kept = here / "embeddings-training" / "mycat"

    def full_after_the_first_snapshot(_descriptor):
        if (kept / "snapshot.safetensors").exists() and (kept / "mycat-000002-neg.pt").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_after_the_first_snapshot)
    with pytest.raises(DreamArtistError, match="No space left"):
        train(model, "--steps", 8)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert storage.load_snapshot(kept / "snapshot.safetensors").step == 2
    train(model, "--steps", 8, "--resume")
    train(model, "--steps", 8, "--out", "whole")
    assert (here / "embeddings" / "mycat.pt").read_bytes() == (here / "whole" / "mycat.pt").read_bytes()


def test_inspect_refuses_what_is_not_an_embedding(here):
    with pytest.raises(DreamArtistError, match=r"photo\.png holds no embedding"):
        run("inspect", "photo.png")


def start(here: Path, model: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "dreamartist_ext", "train", "photo.png", "--name", "mycat", "--model", str(model)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [*command, "--precision", "fp32", *arguments], cwd=here, env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_bad_setting_exits_with_status_2(here, model):
    process = start(here, model, "--steps", "0")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2
    assert error == "dreamartist: steps must be at least 1, got 0.\n"


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_lose_nothing(here, model, way):
    snapshot = here / "embeddings-training" / "mycat" / "snapshot.safetensors"
    process = start(here, model, "--steps", "100000", "--save-every", "3")
    wait_for(snapshot, process)
    process.send_signal(way)
    _, error = process.communicate(timeout=120)
    assert process.returncode == (130 if way == signal.SIGINT else -signal.SIGKILL)
    if way == signal.SIGINT:
        assert "the same command with --resume goes on from there." in error.splitlines()[-1]
    assert not (here / "embeddings" / "mycat.pt").exists()
    step = storage.load_snapshot(snapshot).step
    common = ("--name", "mycat", "--model", model, "--precision", "fp32", "--save-every", 3, "--steps", step + 2)
    run("train", "photo.png", *common, "--resume")
    run("train", "photo.png", *common, "--out", "whole")
    assert (here / "embeddings" / "mycat.pt").read_bytes() == (here / "whole" / "mycat.pt").read_bytes()
