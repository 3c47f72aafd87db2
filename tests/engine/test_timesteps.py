"""Which timesteps are drawn, and how much each counts."""

import pytest
import torch

from dreamartist_ext.engine.draws import Draws
from dreamartist_ext.engine.noise import NoiseSchedule, noisy_end_weight

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
