"""Page, command line, API and train-many lay settings over each other alike.

Plain defaults < the model's < the kind's < the recipe's < those set by hand.
"""

from __future__ import annotations

import base64
import importlib
import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.files.presets import KINDS, PRESETS, RECIPES, layered
from dreamartist_ext.hosts.diffusers.model_files import training_defaults
from dreamartist_ext.webui import api
from dreamartist_ext.webui.gradio_compat import NOTHING
from dreamartist_ext.webui.training.actions import Actions
from dreamartist_ext.webui.training.jobs import Desk
from dreamartist_ext.webui.training.kinds import OPTION_NAMES, RECIPE_LABELS

from .webui.fake_workplace import FakeWorkplace

SHOWN = "thing"  # the page has a kind always; this one, where a recipe alone is chosen
MODELS = {
    "embedded": None,
    "plain": {},
    "with its own template": {"template": "art of [name]", "guidance": "2", "learning_rate": "0.01", "vectors": 9},
}


class EnoughError(SettingError):
    """The settings are known; nothing needs to be trained."""


@pytest.fixture
def picture(tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "pictures" / "aword.png")
    return tmp_path / "pictures" / "aword.png"


@pytest.fixture(params=list(MODELS))
def model(request, tmp_path) -> Path | None:
    if MODELS[request.param] is None:
        return None
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "training_defaults.json").write_text(json.dumps(MODELS[request.param]))
    return tmp_path / "model"


def workplace(picture: Path, name: str) -> FakeWorkplace:
    folder = picture.parents[1] / name
    folder.mkdir()
    return FakeWorkplace(folder)


def from_the_page(model: Path | None, picture: Path, chosen: str) -> TrainConfig:
    place = workplace(picture, "page")
    place.defaults = training_defaults(model)
    actions = Actions(Desk(place))
    kind, recipe = (chosen, "") if chosen in KINDS else ("thing", chosen)
    before = [actions.usual()[name] for name in OPTION_NAMES]
    answer = actions.choose(kind, RECIPE_LABELS[recipe], ["thing", ""], *before)[-len(OPTION_NAMES) :]
    shown = [old if new == NOTHING else new for old, new in zip(before, answer, strict=True)]
    start = actions.usual(kind, recipe)["initialization_text"]
    return actions.desk.config(actions.values("aword", start, shown))


def from_the_api(model: Path | None, picture: Path, chosen: str, monkeypatch) -> TrainConfig:
    place = workplace(picture, "api")
    place.defaults = training_defaults(model)
    desk, seen = Desk(place), []
    monkeypatch.setattr(Desk, "_take", lambda self, job: seen.append(job.config) or stop())
    content = base64.b64encode(picture.read_bytes()).decode()
    named = {"kind": chosen} if chosen in KINDS else {"kind": SHOWN, "recipe": chosen}
    with pytest.raises(EnoughError):
        api.Routes(desk).train(api.TrainBody(name="aword", pictures=[content], **named))
    return seen[0]


def from_the_command_line(model: Path | None, picture: Path, chosen: str, monkeypatch) -> TrainConfig:
    seen = []
    processes = importlib.import_module("dreamartist_ext.hosts.diffusers.processes")  # also after others' imports anew
    monkeypatch.setattr(processes, "opened", lambda job, *_: seen.append(job.config) or stop())
    flags = ["--kind", chosen] if chosen in KINDS else ["--kind", SHOWN, "--recipe", chosen]
    arguments = ["train", str(picture), "--name", "aword", *flags]
    CliRunner().invoke(dreamartist, [*arguments, *(["--model", str(model)] if model else [])], standalone_mode=False)
    return seen[0]


def from_train_many(model: Path | None, picture: Path, chosen: str, monkeypatch) -> TrainConfig:
    seen = []
    monkeypatch.setattr(
        "dreamartist_ext.many.concepts.concepts_in", lambda folder, settings: seen.append(settings) or stop()
    )
    kind = [] if chosen in KINDS else ["--kind", SHOWN]
    arguments = [
        "train-many",
        str(picture.parent),
        *kind,
        "--preset",
        chosen,
        *(["--model", str(model)] if model else []),
    ]
    CliRunner().invoke(dreamartist, arguments, standalone_mode=False)
    return TrainConfig.from_mapping({**seen[0], "name": "aword"})


def stop() -> None:
    raise EnoughError("enough")


@pytest.mark.parametrize("chosen", [*KINDS, *RECIPES])
def test_all_four_agree(chosen, model, picture, monkeypatch):
    configs = {
        "page": from_the_page(model, picture, chosen),
        "api": from_the_api(model, picture, chosen, monkeypatch),
        "command line": from_the_command_line(model, picture, chosen, monkeypatch),
        "train-many": from_train_many(model, picture, chosen, monkeypatch),
    }
    for (one, config), (other, same) in itertools.pairwise(configs.items()):
        assert config == same, f"{one} and {other} differ"
    assert PRESETS[chosen].items() <= configs["page"].to_mapping().items()


def test_a_kind_wins_over_the_model_and_a_recipe_over_the_kind():
    model = {"template": "the model's [name]", "guidance": "9", "steps": 7, "vectors": 2}
    settings = layered({"steps": 5}, model, "style", "paper-photo")
    assert settings["template"] == PRESETS["style"]["template"]
    assert (settings["guidance"], settings["vectors"], settings["steps"]) == ("5", 3, 5)
    assert layered({}, model) == model


def test_an_unknown_kind_or_recipe_is_one_sentence():
    for wrong in ({"kind": "paper-style"}, {"recipe": "style"}):
        with pytest.raises(SettingError, match=r"must be one of"):
            layered({}, {}, **wrong)
