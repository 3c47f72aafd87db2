"""Settings from files: presets that are shipped, presets of a user, and what an embedding says of its training."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import DreamArtistError, FileError, SettingError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.presets import FOLDER, PRESET_HELP, PRESETS
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.settings_files import MOST_BYTES, read_settings, settings_json
from dreamartist_ext.files.storage import save_pair
from tools.study.third_model import ARMS, BEGAN_FROM, CHOSEN

from ..engine.fake_host import FakeHost
from ..engine.test_trainer import config, picture

CHANGED = {"steps": 7, "guidance": "1.5-3:cos", "ema": 0.5, "learning_rate": "0.02:4, 0.003", "keep": "best"}


def test_every_shipped_preset_is_a_file_of_valid_settings():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(PRESETS) == set(PRESET_HELP)
    for name, values in PRESETS.items():
        assert read_settings(FOLDER / f"{name}.json") == values
        TrainConfig.from_mapping(values | {"name": "mycat"})


def test_the_papers_three_are_what_its_authors_published():
    numbers = ("vectors", "negative_vectors", "steps", "learning_rate", "guidance")
    found = {name: tuple(PRESETS[f"paper-{name}"][key] for key in numbers) for name in ("character", "photo", "style")}
    assert found == {
        "character": (3, 6, 8000, "0.0025", "3"),
        "photo": (3, 3, 1000, "0.005", "5"),
        "style": (3, 5, 15000, "0.0025", "5"),
    }


def test_the_studys_preset_is_its_recipe_with_passes_in_place_of_the_batch():
    preset, recipe = dict(PRESETS["study-thing"]), BEGAN_FROM | ARMS[CHOSEN].settings
    assert preset.pop("steps") == 2 * recipe.pop("steps")
    assert preset.pop("accumulation") * preset.pop("batch_size") == recipe["batch_size"]
    turned = [rate * width**0.5 / length for rate, width, length in ((0.05, 384, 7.6), (0.0018, 768, 0.39))]
    assert [float(preset.pop("learning_rate")), float(recipe["learning_rate"])] == [0.0018, 0.05]
    assert turned[1] == pytest.approx(turned[0], rel=0.02)
    assert preset.items() <= recipe.items()
    assert set(recipe) - set(preset) == {"batch_size", "learning_rate", "initialization_text", "template", "fix_norm"}


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(1, 10**6),
    ema=st.floats(0, 0.9999),
    negative=st.booleans(),
    text=st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=20),
)
def test_saving_and_loading_settings_is_the_identity(tmp_path_factory, steps, ema, negative, text):
    path = tmp_path_factory.mktemp("preset") / "p.json"
    original = config(steps=steps, ema=ema, use_negative=negative, initialization_text=text)
    path.write_bytes(settings_json(original.to_mapping()))
    values = read_settings(path)
    assert "name" not in values
    assert TrainConfig.from_mapping(values | {"name": "mycat"}) == original


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("half", ["mycat", "mycat-neg"])
def test_an_embeddings_full_settings_come_back_from_it(tmp_path, suffix, half):
    made_with = config(**CHANGED)
    training, files = Training(FakeHost(), made_with, [picture()]), RunFiles(tmp_path / "out", "mycat")
    for _ in run_to_files(training, files):
        pass
    save_pair(training.kept().detached(), files.out, suffix)
    values = read_settings(files.out / f"{half}{suffix}")
    assert set(values) == {item.name for item in fields(TrainConfig)} - {"name"}
    assert TrainConfig.from_mapping(values | {"name": "mycat"}) == made_with


def test_an_embedding_of_somebody_else_does_not_say(tmp_path):
    (path,) = save_pair(EmbeddingPair("foreign", {"clip": torch.ones(2, 8)}), tmp_path)
    with pytest.raises(FileError, match=r"foreign\.pt does not say with what settings it was trained"):
        read_settings(path)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("not JSON", "is not JSON"),
        ("[1]", "must hold settings"),
        ("[" * 100_000, "is not JSON"),
        ('{"from the future": 1}', 'there is no setting "from the future"'),
        ('{"steps": -5}', "steps must be at least 1"),
        ('{"steps": {"a": 1}}', "steps must be a whole number"),
    ],
)
def test_an_embedding_that_tells_nonsense_is_refused_in_one_sentence(tmp_path, told, words):
    pair = EmbeddingPair("odd", {"clip": torch.ones(2, 8)}, provenance={"settings": told})
    (path,) = save_pair(pair, tmp_path)
    (tmp_path / "odd.json").write_text(told)
    for file in (path, tmp_path / "odd.json"):
        with pytest.raises((FileError, SettingError), match=words) as refused:
            read_settings(file)
        assert file.name in str(refused.value)
        assert "\n" not in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=60) | st.recursive(st.integers() | st.text(max_size=4), st.lists, max_leaves=5))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "x.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    try:
        read_settings(path)
    except DreamArtistError as refused:
        assert "x.json" in str(refused)


def test_files_that_are_missing_or_huge_are_refused(tmp_path):
    with pytest.raises(FileError, match="could not be read"):
        read_settings(tmp_path / "nowhere.json")
    (tmp_path / "huge.json").write_text(" " * (MOST_BYTES + 1))
    with pytest.raises(FileError, match="too large for settings"):
        read_settings(tmp_path / "huge.json")
