"""Half precision: the network computes in it, the vectors do not; fp16 trains with a scaled loss, bf16 without."""

from __future__ import annotations

import pytest
import torch

from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.hosts.diffusers import host as diffusers_host
from dreamartist_ext.hosts.diffusers.host import FP16_LOSS_SCALE, DiffusersHost
from dreamartist_ext.hosts.precision import computes_in, halved

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


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_halved_weights_come_to_the_bits_that_autocast_makes_of_full_ones(tmp_path, precision):
    host = DiffusersHost(tiny_components(tmp_path), torch.device("cpu"), precision)
    cond = host.encode_prompts(["a cat", "a b"]).detach().requires_grad_(True)
    latents, timesteps = torch.linspace(-2, 2, 2 * 4 * 64).reshape(2, 4, 8, 8), torch.tensor([10, 900])

    def bits() -> list[torch.Tensor]:
        prediction = host.predict(latents, timesteps, cond)
        return [prediction, *torch.autograd.grad(prediction.square().sum(), cond)]

    with host.session():
        before = bits()
        halved(host.parts.unet, precision)
        after = bits()
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    kinds = {type(module): module.weight.dtype for module in host.parts.unet.modules() if hasattr(module, "weight")}
    assert kinds[torch.nn.Conv2d] is kinds[torch.nn.Linear] is precision
    assert kinds[torch.nn.GroupNorm] is kinds[torch.nn.LayerNorm] is torch.float32


def test_the_way_of_a_gpu_trains_fp32_vectors_and_reads_the_vocabulary_exactly(tmp_path, monkeypatch):
    plain = DiffusersHost(tiny_components(tmp_path), torch.device("cpu"), torch.bfloat16)
    _, losses = trained(tmp_path, torch.bfloat16)
    monkeypatch.setattr(diffusers_host, "computes_in", lambda _device, _precision: True)
    host = DiffusersHost(tiny_components(tmp_path), torch.device("cpu"), torch.bfloat16)
    assert host.identity() == plain.identity()  # a digest of the weights as they were loaded
    assert torch.equal(host.initial_vectors("cat", 3)["clip"], plain.initial_vectors("cat", 3)["clip"])
    training, halves = trained(tmp_path, torch.bfloat16)
    assert halves == pytest.approx(losses, rel=0.02)
    assert {vectors["clip"].dtype for vectors in training.pair.named().values()} == {torch.float32}
    assert {parameter.dtype for parameter in host.parts.vae.parameters()} == {torch.float32}


def test_only_a_gpu_has_its_weights_in_half_precision(tmp_path):
    host = DiffusersHost(tiny_components(tmp_path), torch.device("cpu"), torch.bfloat16)
    assert {parameter.dtype for part in host._modules() for parameter in part.parameters()} == {torch.float32}
    assert computes_in(torch.device("cuda"), torch.float16)
    assert not computes_in(torch.device("cuda"), torch.float32)
