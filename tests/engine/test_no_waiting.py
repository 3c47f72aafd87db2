"""A step reads no value of a tensor on the device: on a GPU it would wait there until everything before is computed.

torch's meta tensors have shapes and no values, so that whoever reads one of them raises an error.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.divided import DividedTraining
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.step_guard import READ_EVERY
from dreamartist_ext.engine.trainer import Training

from ..models import tiny_host
from .test_divided import Seat, Table

META = torch.device("meta")
CONFIG = TrainConfig(name="cat", steps=100, template="a [name]", negative_template="[name]", less_memory="off")


@pytest.fixture
def valueless(tmp_path, monkeypatch):
    """A real host whose model and schedule have no values, and an optimizer that counts its steps on the device, as
    AdamW's fused kind does on a GPU."""
    host = tiny_host(tmp_path)
    host.identity()
    host.device = META
    for module in host._modules():
        module.to(META)
    host.schedule = replace(host.schedule, alphas_cumprod=host.schedule.alphas_cumprod.to(META))

    def optimizer(groups, lr, **_):
        return torch.optim.SGD(groups, lr=lr, momentum=0.9)

    monkeypatch.setattr(torch.optim, "AdamW", optimizer)
    return host


def steps_made(host, config, made=Training) -> int:
    """How many steps a training makes until it reads a value."""
    picture = TrainingPicture(torch.rand(3, 64, 64), torch.full((64, 64), 128.0), "", "p.png")
    training = made(host, config, [picture])
    try:
        for _ in training.run():
            pass
    except (RuntimeError, NotImplementedError) as error:
        assert "meta" in str(error).lower() or "item()" in str(error)
    return training.step


OPTIONS = [
    {},
    {"use_negative": False},
    {"batch_size": 2, "accumulation": 2},
    {"guidance": "1.5-3:cos", "min_snr": 5.0, "noisy_weight": 0.5},
    {"ema": 0.9, "clip_gradient": 1.0},
    {"less_memory": "on"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "defaults")
def test_only_every_tenth_step_reads_a_value(valueless, options):
    assert steps_made(valueless, replace(CONFIG, **options)) == READ_EVERY


def test_several_processes_tell_each_other_without_reading_a_value(valueless):
    group = Seat(Table(1), 0)
    assert steps_made(valueless, CONFIG, lambda *given: DividedTraining(*given, group)) == READ_EVERY


def test_a_step_that_reads_its_loss_would_be_seen(valueless, monkeypatch):
    real = Training._make_step

    def reading(training, loss):
        real(training, loss)
        float(loss)

    monkeypatch.setattr(Training, "_make_step", reading)
    assert steps_made(valueless, CONFIG) == 1
