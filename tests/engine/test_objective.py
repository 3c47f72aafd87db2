"""The loss against a second way to compute it: known answers, a numpy oracle, finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamartist_ext.engine.guidance import combine
from dreamartist_ext.engine.noise import target_for
from dreamartist_ext.engine.objective import guided_prediction, noise_loss

from .fake_host import LATENT, WIDTH, FakeHost

BATCH = 3


def inputs(seed: int = 0, negative: bool = True):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return {
        "latents": normal(BATCH, *LATENT),
        "noise": normal(BATCH, *LATENT),
        "timesteps": torch.randint(50, (BATCH,), generator=generator),
        "cond": normal(BATCH, WIDTH),
        "uncond": normal(BATCH, WIDTH) if negative else None,
        "guidance_scale": 1 + 4 * torch.rand(BATCH, 1, 1, 1, generator=generator, dtype=torch.float64),
        "mask": torch.rand(BATCH, 1, *LATENT[1:], generator=generator, dtype=torch.float64) * 5,
    }


def arguments(x: dict) -> dict:
    """To `noise_loss`: both branches as one batch."""
    rest = {name: value for name, value in x.items() if name != "uncond"}
    if x["uncond"] is None:
        return rest | {"guidance_scale": None}
    return rest | {"cond": torch.cat([x["uncond"], x["cond"]])}


def oracle(host: FakeHost, x: dict, min_snr: float) -> np.ndarray:
    """method.md section 2, written out one sample at a time."""
    weight, mix = host.weight.numpy(), host.mix.numpy()
    losses = []
    for b in range(BATCH):
        t = int(x["timesteps"][b])
        abar = float(host.schedule.alphas_cumprod[t])
        z0, noise = x["latents"][b].numpy(), x["noise"][b].numpy()
        z_t = np.sqrt(abar) * z0 + np.sqrt(1 - abar) * noise

        def unet(c: np.ndarray, z_t: np.ndarray = z_t, t: int = t) -> np.ndarray:
            return np.tanh(z_t.reshape(-1) @ mix + c @ weight + t / 50).reshape(z_t.shape)

        positive = unet(x["cond"][b].detach().numpy())
        if x["uncond"] is None:
            prediction = positive
        else:
            negative = unet(x["uncond"][b].detach().numpy())
            prediction = negative + float(x["guidance_scale"][b]) * (positive - negative)
        snr = abar / (1 - abar)
        if host.schedule.prediction_type.value == "epsilon":
            target, w_snr = noise, min(snr, min_snr) / snr
        else:
            target, w_snr = np.sqrt(abar) * noise - np.sqrt(1 - abar) * z0, min(snr, min_snr) / (snr + 1)
        w_mask = np.ones_like(z0) if x["mask"] is None else np.broadcast_to(x["mask"][b].numpy(), z0.shape)
        losses.append(np.mean(w_mask * (prediction - target) ** 2) * (w_snr if min_snr else 1.0))
    return np.array(losses)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("negative", [True, False])
@pytest.mark.parametrize("min_snr", [0.0, 5.0])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), masked=st.booleans())
def test_the_loss_is_the_formula(prediction_type, negative, min_snr, seed, masked):
    host, x = FakeHost(prediction_type), inputs(seed, negative)
    x["mask"] = x["mask"] if masked else None
    loss = noise_loss(host, **arguments(x), min_snr=min_snr)
    assert loss.shape == (BATCH,)
    np.testing.assert_allclose(loss.numpy(), oracle(host, x, min_snr), rtol=1e-9)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_predictor_that_returns_the_target_has_no_loss(prediction_type):
    host, x = FakeHost(prediction_type), inputs()
    truth = target_for(host.schedule, x["latents"], x["noise"], x["timesteps"])
    host.predict = lambda noisy, timesteps, cond: truth.repeat(len(noisy) // BATCH, 1, 1, 1)
    assert noise_loss(host, **arguments(x)).abs().max() < 1e-20


def test_a_predictor_wrong_by_one_everywhere_loses_the_mean_of_the_mask():
    host, x = FakeHost(), inputs()
    host.predict = lambda noisy, timesteps, cond: x["noise"].repeat(2, 1, 1, 1) + 1
    torch.testing.assert_close(noise_loss(host, **arguments(x)), x["mask"].mean((1, 2, 3)))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_both_gradients_agree_with_finite_differences(prediction_type):
    host, x = FakeHost(prediction_type), inputs(3)
    for side in ("cond", "uncond"):
        x[side].requires_grad_(True)
    noise_loss(host, **arguments(x), min_snr=5.0).mean().backward()
    for side in ("cond", "uncond"):
        vectors, gradient = x[side], x[side].grad
        assert gradient.abs().max() > 1e-4
        for index in np.ndindex(*vectors.shape):
            with torch.no_grad():
                h = 1e-5
                vectors[index] += h
                above = noise_loss(host, **arguments(x), min_snr=5.0).mean()
                vectors[index] -= 2 * h
                below = noise_loss(host, **arguments(x), min_snr=5.0).mean()
                vectors[index] += h
            assert float(gradient[index]) == pytest.approx(float(above - below) / (2 * h), rel=1e-4, abs=1e-8)


def test_at_scale_one_the_negative_has_no_part():
    host, x = FakeHost(), inputs()
    guided = guided_prediction(host, x["latents"], x["timesteps"], torch.cat([x["uncond"], x["cond"]]), 1.0)
    torch.testing.assert_close(guided, guided_prediction(host, x["latents"], x["timesteps"], x["cond"], None))


def test_scale_zero_is_the_negative_alone():
    uncond, cond = torch.randn(2, 4), torch.randn(2, 4)
    torch.testing.assert_close(combine(uncond, cond, 0.0), uncond)


def test_each_sample_has_its_own_guidance():
    uncond, cond = torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)
    scale = torch.tensor([2.0, 5.0])[:, None, None, None]
    assert combine(uncond, cond, scale).flatten().tolist() == [2.0, 5.0]


def test_both_branches_go_through_one_forward_pass_negative_first():
    host, x = FakeHost(), inputs()
    calls = []
    true_predict = host.predict
    host.predict = lambda noisy, timesteps, cond: (calls.append(cond), true_predict(noisy, timesteps, cond))[1]
    noise_loss(host, **arguments(x))
    assert len(calls) == 1
    torch.testing.assert_close(calls[0], torch.cat([x["uncond"], x["cond"]]))
