"""Which timesteps are drawn, and how much each counts."""

import pytest
import torch

from dreamartist_ext.engine.draws import Draws
from dreamartist_ext.engine.noise import NoiseSchedule, PredictionType, noisy_end_weight

SCHEDULE = NoiseSchedule(torch.cumprod(1 - torch.linspace(0.03, 0.14, 1000).square(), 0))


def test_exponent_one_draws_what_integers_draws():
    assert torch.equal(Draws(3, 7).timesteps(1000, 50), Draws(3, 7).integers(1000, 50))


@pytest.mark.parametrize(("exponent", "mean"), [(0.65, 1 / 1.65), (2.0, 1 / 3)])
def test_the_exponent_moves_the_mean_as_the_integral_says(exponent, mean):
    drawn = Draws(0, 0).timesteps(1000, 20_000, exponent)
    assert int(drawn.min()) >= 0 and int(drawn.max()) <= 999
    assert float(drawn.float().mean()) / 1000 == pytest.approx(mean, abs=0.01)  # E[u^p] = 1 / (p + 1)


def test_the_weight_is_a_power_of_the_snr_up_to_five():
    timesteps = torch.arange(1000)
    snr = SCHEDULE.snr(timesteps)
    expected = torch.where(snr > 5, torch.tensor(5.0), snr).pow(-0.5)
    assert torch.allclose(noisy_end_weight(SCHEDULE, timesteps, 0.5), expected)
    assert torch.equal(noisy_end_weight(SCHEDULE, timesteps, 0.0), torch.ones(1000))


@pytest.mark.parametrize("kind", list(PredictionType))
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_a_timestep_without_signal_has_a_finite_weight(kind, power):
    alphas_cumprod = SCHEDULE.alphas_cumprod.clone()
    alphas_cumprod[-2:] = torch.tensor([1e-9, 0.0])
    weight = noisy_end_weight(NoiseSchedule(alphas_cumprod, kind), torch.arange(1000), power)
    assert torch.equal(weight[:-2], noisy_end_weight(SCHEDULE, torch.arange(998), power))
    assert weight[-2:].tolist() == pytest.approx([1e4**power] * 2)
