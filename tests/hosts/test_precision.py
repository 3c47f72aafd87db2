"""Half precision: the network computes in it, the vectors do not; fp16 trains with a scaled loss, bf16 without."""

from __future__ import annotations

import pytest
import torch

from dreamartist_ext.engine.data import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.hosts.diffusers import FP16_LOSS_SCALE, DiffusersHost

from ..engine.test_trainer import config
from ..models import tiny_components

PIXELS = torch.linspace(-1, 1, 3 * 64 * 64).reshape(3, 64, 64)
VALUES = {"name": "cat", "template": "a [name]", "batch_size": 2, "learning_rate": "0.02"}


def trained(
    tmp_path, precision: torch.dtype, loss_scale: float | None = None, **values
) -> tuple[Training, list[float]]:
    host = DiffusersHost(tiny_components(tmp_path), torch.device("cpu"), precision)
    training = Training(host, config(**VALUES | values), [TrainingPicture(PIXELS, None, "", "x")])
    if loss_scale is not None:
        training.guard = type(training.guard)(loss_scale, host.device)
    return training, [float(report.loss) for report in training.run()]


@pytest.mark.parametrize(("precision", "scale"), [(torch.bfloat16, 1.0), (torch.float16, FP16_LOSS_SCALE)])
def test_a_half_precision_training_follows_the_full_one(tmp_path, precision, scale):
    exact, losses = trained(tmp_path, torch.float32)
    half, halves = trained(tmp_path, precision)
    assert (half.guard.is_scaled, float(half.guard.scale)) == (scale != 1, scale)
    assert int(half.guard.dropped) == 0
    assert halves == pytest.approx(losses, rel=0.02)
    for word, vectors in half.pair.named().items():
        assert vectors["clip"].dtype == torch.float32
        distance = (vectors["clip"] - exact.pair.named()[word]["clip"]).detach().abs()
        assert distance.mean() < 0.01  # of steps of 0.02, whose sign is a matter of luck where a gradient is nothing


def test_the_network_really_computes_in_half_precision(tmp_path):
    host = DiffusersHost(tiny_components(tmp_path), torch.device("cpu"), torch.float16)
    kinds = []
    host.parts.unet.conv_out.register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    training = Training(host, config(**VALUES, steps=1), [TrainingPicture(PIXELS, None, "", "x")])
    next(training.run())
    assert kinds == [torch.float16]


def test_a_real_overflow_of_fp16_halves_the_scale_and_the_training_goes_on(tmp_path):
    training, losses = trained(tmp_path, torch.float16, loss_scale=2.0**26, steps=24)
    dropped = int(training.guard.dropped)
    assert 0 < dropped < 20
    assert float(training.guard.scale) == 2.0 ** (26 - dropped)
    assert all(torch.isfinite(torch.tensor(losses)))
    assert training.is_sound()
