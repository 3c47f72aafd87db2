from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.names import check_name
from dreamartist_ext.engine.options import field_type


def test_json_and_back_is_the_identity():
    config = TrainConfig(name="mycat", learning_rate="0.005:100, 1e-3", guidance="1.5-3:cos", width=512)
    assert TrainConfig.from_mapping(json.loads(config.to_json())) == config


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0."),
        ({"steps": "-5"}, "steps must be at least 1, got -5."),
        ({"steps": "1.5"}, "steps must be a whole number, got '1.5'."),
        ({"steps": "ten"}, "steps must be a whole number, got 'ten'."),
        ({"steps": True}, "steps must be a whole number, got True."),
        ({"steps": float("inf")}, "steps must be a whole number, got inf."),
        ({"negative_lr_ratio": "nan"}, "negative_lr_ratio must be a finite number, got nan."),
        ({"negative_lr_ratio": 0}, "negative_lr_ratio must be more than 0, got 0."),
        ({"min_snr": -1}, "min_snr must be at least 0, got -1."),
        ({"vectors": 76}, "vectors must be at most 75, got 76."),
        ({"beta2": 1}, "beta2 must be at most 0.999999, got 1."),
        ({"steps": 5.7}, "steps must be a whole number, got 5.7."),
        ({"steps": "9" * 400}, "steps must be at most 1e+06, got"),
        ({"accumulation": 10**400}, "accumulation must be at most 1024, got"),
        ({"initialization_text": None}, "initialization_text must be text, got None."),
        ({"template": ["a [name]"]}, "template must be text, got ['a [name]']."),
        ({"template": "a \ud800 [name]"}, "template must be one line of plain text, got 'a \\ud800 [name]'."),
        ({"template": "two [name]s"}, 'template must have [name] as a word of its own, got "two [name]s".'),
        ({"name": "photo"}, 'name must not be a word of the template "a photo of [name]", got "photo".'),
        ({"guidance": "0"}, "guidance must be more than 0 and at most 100, got 0."),
        ({"learning_rate": "1e300"}, "learning_rate must be a positive number up to 10 or stages"),
        ({"width": 100}, "width must be a multiple of 64, got 100."),
        ({"template": "a cat"}, 'template must contain [name], got "a cat".'),
        ({"fix_norm": "negative"}, "fix_norm must be one of off, positive, both, got 'negative'."),
        ({"save_ema": True}, "ema must be more than 0 for save_ema"),
        ({"mirror": True, "views": 1}, "views must be more than 1 for mirror or random_crop to have an effect, got 1."),
        ({"random_crop": 0.1, "views": 1}, "views must be more than 1 for mirror or random_crop"),
        (
            {"timestep_start": 0.5, "timestep_end": 0.25},
            "timestep_end must be more than timestep_start, got 0.25 and 0.5.",
        ),
        ({"cosine": "yes"}, "cosine must be true or false, got 'yes'."),
        ({"step": 5}, 'there is no setting "step".'),
        ({"seed": -1}, "seed must be at least 0, got -1."),
        ({"seed": None}, "seed must be a whole number, got None."),
    ],
)
def test_a_bad_value_is_named_in_one_sentence(values, sentence):
    with pytest.raises(SettingError) as refused:
        TrainConfig.from_mapping(values)
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("item", fields(TrainConfig), ids=lambda item: item.name)
def test_every_setting_has_what_a_user_interface_needs(item):
    assert item.metadata["label"]
    assert item.metadata["help"].endswith(".")
    assert item.metadata["group"]
    assert field_type(item) in (int, float, bool, str)


@given(
    st.sampled_from([f.name for f in fields(TrainConfig)]), st.one_of(st.text(), st.integers(), st.floats(), st.none())
)
def test_whatever_is_given_is_taken_or_refused(name, value):
    try:
        config = TrainConfig.from_mapping({name: value})
    except SettingError as refused:
        assert name in str(refused)
        assert "\n" not in str(refused).replace(repr(value), "").replace(str(value), "")
    else:
        assert TrainConfig.from_mapping(json.loads(config.to_json())) == config
        taken = getattr(config, name)
        assert taken == value or str(value) == taken or (isinstance(value, str) and type(taken)(value) == taken)


@pytest.mark.parametrize("name", ["mycat", "my-cat_2", "A1", "x" * 64, "AND1", "my_BREAK", "x-and-y", "BREAKer"])
def test_names_that_are_fine(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "my cat",
        "a/b",
        "..",
        "../x",
        "a\\b",
        "🐱",
        "x" * 65,
        "x" * 300,
        "mycat-neg",
        "AND",
        "x-BREAK-y",
        "CON",
        "lpt1",
        "-x",
        "x-",
        "x_",
        "a:b",
        "é",
        "a\n",
    ],
)
def test_names_that_are_refused_in_one_sentence(name):
    with pytest.raises(SettingError, match=r"^name must") as refused:
        check_name(name)
    assert str(refused.value).count("\n") == 0
    assert len(str(refused.value)) < 200


def test_a_stored_training_whose_mirror_did_nothing_goes_on_without_it():
    stored = json.dumps({"name": "cat", "mirror": True, "random_crop": 0.2, "views": 1})
    assert TrainConfig.from_json(stored) == TrainConfig(name="cat", views=1)


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(SettingError, match=r"warmup must be at most steps, 10, or the rate never rises .* got 11"):
        TrainConfig(name="zyx", steps=10, warmup=11)
    assert TrainConfig(name="zyx", steps=10, warmup=10).warmup == 10
