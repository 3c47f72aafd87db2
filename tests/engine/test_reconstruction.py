"""The reconstruction term: the formula, its gradient, and no cost at all where it is off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dreamartist_ext.engine.noise import predict_x0
from dreamartist_ext.engine.objective import guided_prediction, noise_loss
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.reconstruction import Reconstruction
from dreamartist_ext.engine.trainer import Training

from ..models import tiny_host
from .fake_host import LATENT, FakeHost
from .test_objective import BATCH, arguments, inputs
from .test_trainer import config, picture, vectors_after


class Painter(FakeHost):
    """A decoder with a curve in it: (B, 4, 2, 2) -> (B, 3, 16, 16)."""

    def __init__(self, prediction_type: str = "epsilon") -> None:
        super().__init__(prediction_type)
        generator = torch.Generator().manual_seed(11)
        self.paint = torch.randn(4, 3, generator=generator, dtype=torch.float64)
        self.decoded = 0

    def decode_latents(self, latents):
        self.decoded += len(latents)
        colours = torch.tanh(torch.einsum("bchw,cd->bdhw", latents, self.paint))
        return colours.repeat_interleave(8, 2).repeat_interleave(8, 3)


def term(kind: str = "L1", weight: float = 0.7, masked: bool = True) -> Reconstruction:
    generator = torch.Generator().manual_seed(5)
    pixels = torch.rand(BATCH, 3, 16, 16, generator=generator, dtype=torch.float64) * 2 - 1
    mask = torch.rand(BATCH, 1, *LATENT[1:], generator=generator, dtype=torch.float64) * 5 if masked else None
    return Reconstruction(weight, kind, pixels, mask)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("kind", ["L1", "L2"])
@pytest.mark.parametrize("masked", [True, False])
def test_the_term_is_the_formula(prediction_type, kind, masked):
    host, x, added = Painter(prediction_type), inputs(2), term(kind, masked=masked)
    with torch.no_grad():
        whole = noise_loss(host, **arguments(x), reconstruction=added) - noise_loss(host, **arguments(x))
    for b in range(BATCH):
        t = int(x["timesteps"][b])
        abar = float(host.schedule.alphas_cumprod[t])
        noisy = abar**0.5 * x["latents"][b] + (1 - abar) ** 0.5 * x["noise"][b]
        scale = x["guidance_scale"][b : b + 1]
        both = torch.stack([x["uncond"][b], x["cond"][b]])
        prediction = guided_prediction(host, noisy[None], x["timesteps"][b : b + 1], both, scale)
        clean = predict_x0(host.schedule, noisy[None], prediction, x["timesteps"][b : b + 1])
        total = 0.0
        decoded, weights = host.decode_latents(clean)[0].numpy(), np.ones((2, 2))
        if masked:
            weights = added.mask[b, 0].numpy()
        for row in range(16):
            for column in range(16):
                error = decoded[:, row, column] - added.pixels[b, :, row, column].numpy()
                size = np.abs(error) if kind == "L1" else error**2
                total += weights[row // 8, column // 8] * size.sum()
        assert float(whole[b]) == pytest.approx(0.7 * abar**0.5 * total / (3 * 16 * 16), rel=1e-6)


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_its_gradient_agrees_with_finite_differences(kind):
    host, x, added = Painter(), inputs(3), term(kind, weight=2.0)
    for side in ("cond", "uncond"):
        x[side].requires_grad_(True)
    noise_loss(host, **arguments(x), reconstruction=added).mean().backward()
    plain = inputs(3)
    plain["cond"].requires_grad_(True)
    noise_loss(host, **arguments(plain)).mean().backward()
    assert (x["cond"].grad - plain["cond"].grad).abs().max() > 1e-3
    for side in ("cond", "uncond"):
        vectors, gradient = x[side], x[side].grad
        for index in np.ndindex(*vectors.shape):
            with torch.no_grad():
                h = 1e-6
                vectors[index] += h
                above = noise_loss(host, **arguments(x), reconstruction=added).mean()
                vectors[index] -= 2 * h
                below = noise_loss(host, **arguments(x), reconstruction=added).mean()
                vectors[index] += h
            assert float(gradient[index]) == pytest.approx(float(above - below) / (2 * h), rel=1e-3, abs=1e-6)


def test_it_is_off_by_default_and_then_nothing_is_decoded():
    host = Painter()
    training = Training(host, config(), [picture()])
    for _ in training.run():
        pass
    assert host.decoded == 0
    for word, vectors in vectors_after(config()).items():
        assert torch.equal(training.pair.named()[word]["clip"], vectors)


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_every_sample_is_decoded_once_and_the_vectors_are_others(kind):
    host = Painter()
    settings = config(reconstruction=1.0, reconstruction_loss=kind, batch_size=2, accumulation=3)
    training = Training(host, settings, [picture(masked=True), picture(1)])
    for _ in training.run():
        pass
    assert host.decoded == 12 * 6
    plain = vectors_after(config(batch_size=2, accumulation=3), [picture(masked=True), picture(1)])
    for word, vectors in plain.items():
        assert (training.pair.named()[word]["clip"] - vectors).abs().max() > 1e-5


def test_accumulating_n_equals_one_batch_of_n_with_it_too():
    pictures = [picture(seed, masked=seed == 1) for seed in range(3)]
    found = []
    for shape in ({"batch_size": 6}, {"batch_size": 2, "accumulation": 3}):
        training = Training(Painter(), config(reconstruction=1.0, **shape), pictures)
        for _ in training.run():
            pass
        found.append(training.pair.positive["clip"].detach())
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_a_real_decoder_passes_its_gradient_and_stays_as_it_was(tmp_path):
    host = tiny_host(tmp_path)
    before = {name: tensor.clone() for name, tensor in host.parts.vae.state_dict().items()}
    pixels = torch.linspace(-1, 1, 3 * 64 * 64).reshape(3, 64, 64)
    settings = config(name="cat", template="a [name]", steps=2, reconstruction=1.0, learning_rate="0.05")
    shown = TrainingPicture(pixels, None, "", "x")
    training = Training(host, settings, [shown])
    plain = Training(host, config(name="cat", template="a [name]", steps=2, learning_rate="0.05"), [shown])
    for one in (training, plain):
        for _ in one.run():
            pass
    assert not torch.equal(training.pair.positive["clip"], plain.pair.positive["clip"])
    assert all(torch.equal(before[name], tensor) for name, tensor in host.parts.vae.state_dict().items())
    assert all(parameter.grad is None for parameter in host.parts.vae.parameters())
