from __future__ import annotations

import pytest
import torch

from dreamartist_ext.engine.noise import add_noise, predict_x0, snr_weight, target_for

from .fake_host import LATENT, schedule

GENERATOR = torch.Generator().manual_seed(0)
LATENTS = torch.randn(5, *LATENT, generator=GENERATOR, dtype=torch.float64)
NOISE = torch.randn(5, *LATENT, generator=GENERATOR, dtype=torch.float64)
TIMESTEPS = torch.tensor([0, 10, 20, 30, 49])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_target_leads_back_to_the_latents(prediction_type):
    s = schedule(prediction_type)
    noisy = add_noise(s, LATENTS, NOISE, TIMESTEPS)
    target = target_for(s, LATENTS, NOISE, TIMESTEPS)
    torch.testing.assert_close(predict_x0(s, noisy, target, TIMESTEPS), LATENTS)


def test_noise_keeps_unit_variance_unit():
    signal, sigma = schedule().coefficients(TIMESTEPS)
    torch.testing.assert_close((signal**2 + sigma**2).flatten(), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_min_snr_weighs_the_error_in_x0_alike_in_every_parametrisation(prediction_type):
    # an error d in x0 is an error sqrt(snr) d in eps and sqrt(snr + 1) d in v (up to sign)
    s = schedule(prediction_type)
    snr = s.snr(TIMESTEPS)
    per_x0_error = snr if prediction_type == "epsilon" else snr + 1
    torch.testing.assert_close(snr_weight(s, TIMESTEPS, 5.0) * per_x0_error, snr.clamp(max=5.0))


def test_gamma_zero_is_off():
    assert snr_weight(schedule(), TIMESTEPS, 0).tolist() == [1.0] * 5
