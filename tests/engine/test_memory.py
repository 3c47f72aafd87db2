"""Less memory: when it is on, and that it changes where things are kept and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.memory import MOST_PER_PLACE, SHARE, is_less
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training

from .fake_host import FakeHost

CONFIG = TrainConfig(name="cat", steps=3, template="[name]", negative_template="[name]")
SIZE = (64, 64)
PLACES = 2 * SIZE[0] * SIZE[1]  # of both branches


def host_with(free: float) -> FakeHost:
    host = FakeHost()
    host.free = int(free)
    host.kept_for_backward = FakeHost().kept_for_backward  # 100 bytes for a place, 10 with less
    return host


@pytest.mark.parametrize(
    ("setting", "free", "expected"),
    [
        ("auto", 0, False),
        ("auto", 100 * PLACES / SHARE + 2, False),
        ("auto", 100 * PLACES / SHARE - 2, True),
        ("on", 0, True),
        ("off", 1, False),
    ],
)
def test_auto_is_on_where_a_pass_would_not_fit(setting, free, expected):
    assert is_less(host_with(free), replace(CONFIG, less_memory=setting), [(8, 8), SIZE, (16, 8)]) is expected


def test_plain_inversion_needs_half_and_a_batch_of_two_twice():
    free = 100 * PLACES / SHARE + 2
    assert not is_less(host_with(free), CONFIG, [SIZE])
    assert is_less(host_with(free), replace(CONFIG, batch_size=2), [SIZE])
    assert not is_less(host_with(free), replace(CONFIG, batch_size=2, use_negative=False), [SIZE])


def test_where_there_is_plenty_nothing_is_computed():
    host = host_with(MOST_PER_PLACE * PLACES / SHARE + 2)
    host.kept_for_backward = None
    assert not is_less(host, CONFIG, [SIZE])


def steps_of(setting: str) -> tuple[list[bool], list[torch.Tensor]]:
    host, seen = FakeHost(), []
    real = host.predict

    def predict(*arguments):
        seen.append(bool(host.open_less))
        return real(*arguments)

    host.predict = predict
    picture = TrainingPicture(torch.rand(3, 16, 16), None, "", "p.png")
    training = Training(host, replace(CONFIG, less_memory=setting), [picture])
    list(training.run())
    assert host.open_less == 0
    return seen, list(training.pair.positive.values())


def test_every_step_of_a_training_is_inside():
    assert steps_of("on")[0] == [True] * 3
    assert steps_of("off")[0] == [False] * 3


def test_a_training_goes_on_with_another_choice():
    picture = TrainingPicture(torch.rand(3, 16, 16), None, "", "p.png")
    first = Training(FakeHost(), CONFIG, [picture])
    run = first.run()
    next(run)
    run.close()
    second = Training(FakeHost(), replace(CONFIG, less_memory="on"), [picture])
    second.restore(first.snapshot())
    assert second.step == 1


def test_another_word_is_refused():
    with pytest.raises(SettingError, match="less_memory"):
        TrainConfig(less_memory="yes")
