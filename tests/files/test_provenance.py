"""The files say what they were made with, and nothing of the user's own."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import numpy as np
import pytest
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.files.png_text import png_text
from dreamartist_ext.files.provenance import about_model, today
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.storage import load_embedding, load_pair, load_snapshot, save_pair

from ..engine.fake_host import FakeHost

SECRETS = ("Uncle-Bob", "holiday-photos", "my secret caption")


@pytest.fixture
def picture(tmp_path):
    folder = tmp_path / "holiday-photos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "Uncle-Bob.png")
    (folder / "Uncle-Bob.txt").write_text("my secret caption")
    return folder / "Uncle-Bob.png"


def training_of(picture, **settings) -> Training:
    values = {"name": "mycat", "steps": 4, "save_every": 2, "template": "[filewords] [name]"} | settings
    config = TrainConfig.from_mapping(values)
    return Training(FakeHost(), config, load_pictures([picture], 32, 32))


def train(picture, out, given=None, stop=0, resume=False, **settings):
    training, files = training_of(picture, **settings), RunFiles(out, "mycat")
    if resume:
        training.restore(load_snapshot(files.snapshot))
    reports = run_to_files(training, files, given or {"model": "tiny", "model_hash": "abc", "version": "1.2"})
    for report in reports:
        if report.step == stop:
            break
    reports.close()
    return files


def test_a_pair_says_what_it_was_made_with(picture, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    train(picture, tmp_path / "out")
    for word in ("mycat", "mycat-neg"):
        about = load_embedding(tmp_path / "out" / f"{word}.pt").provenance
        assert {key: about[key] for key in ("model", "model_hash", "version", "made")} == {
            "model": "tiny",
            "model_hash": "abc",
            "version": "1.2",
            "made": "2023-11-14",
        }
        assert re.fullmatch(r"\d+ wide|SD 1", about["family"])
        assert TrainConfig.from_json(about["settings"]).steps == 4


def test_no_file_of_a_pair_names_the_picture_its_folder_or_its_caption(picture, tmp_path):
    files = train(picture, tmp_path / "out")
    pair = load_pair(files.out, "mycat")
    save_pair(pair, tmp_path / "out" / "other", ".safetensors")
    card = card_bytes(pair, Image.open(picture))
    texts = [card, *(text.encode() for text in png_text(card, "card").values())]
    written = [path.read_bytes() for folder in (files.out, files.folder) for path in folder.rglob("*.*")]
    assert len(written) == 2 + 2 + 4 + 2 + 2
    for content in (*texts, *written):
        assert not [secret for secret in SECRETS if secret.encode() in content]


def test_a_setting_puts_file_name_and_caption_in(picture, tmp_path):
    files = train(picture, tmp_path / "out", name_pictures=True)
    about = load_embedding(files.out / "mycat.pt").provenance
    assert (about["pictures"], about["captions"]) == ("Uncle-Bob.png", "my secret caption")
    assert str(picture.parent) not in json.dumps(about)


@pytest.mark.parametrize("wanted", [False, True])
def test_a_caption_among_the_settings_is_a_caption_too(picture, tmp_path, wanted):
    files = train(picture, tmp_path / "out", caption="my secret caption", name_pictures=wanted)
    files.save_step(load_snapshot(files.snapshot))
    written = [path for folder in (files.out, files.folder) for path in folder.rglob("*.pt")]
    assert len(written) == 6
    for path in written:
        assert (b"my secret caption" in path.read_bytes()) == wanted
    assert TrainConfig.from_json(load_snapshot(files.snapshot).config).caption == "my secret caption"


def test_a_training_that_is_resumed_on_another_day_ends_with_the_same_bytes(picture, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    whole = train(picture, tmp_path / "whole")
    train(picture, tmp_path / "parts", stop=3)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    parts = train(picture, tmp_path / "parts", resume=True)
    for name in ("mycat.pt", "mycat-neg.pt"):
        assert (whole.out / name).read_bytes() == (parts.out / name).read_bytes()


def test_a_step_kept_from_a_snapshot_says_the_same(picture, tmp_path):
    files = train(picture, tmp_path / "out")
    before = (files.folder / "mycat-000004.pt").read_bytes()
    files.save_step(load_snapshot(files.snapshot))
    assert (files.folder / "mycat-000004.pt").read_bytes() == before


def test_the_day_is_todays_unless_one_is_given(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    days = [datetime.now(timezone.utc).date().isoformat()]
    days = [*days, today(), datetime.now(timezone.utc).date().isoformat()]
    assert days[1] in (days[0], days[2])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert today() == "1970-01-01"


def test_the_model_is_told_by_name_and_hash():
    class Host:
        name, checkpoint_hash = "v1-5", "6ce0161689"

    assert about_model(Host(), "1.0") == {"model": "v1-5", "model_hash": "6ce0161689", "version": "1.0"}
