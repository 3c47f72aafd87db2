"""Which timesteps are drawn, and how much each counts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.draws import Draws
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.noise import NoiseSchedule, PredictionType, noisy_end_weight, snr_weight
from dreamartist_ext.engine.timesteps import TimestepRange

from .test_trainer import config

SCHEDULE = NoiseSchedule(torch.cumprod(1 - torch.linspace(0.03, 0.14, 1000).square(), 0))


def test_exponent_one_draws_what_integers_draws():
    assert torch.equal(Draws(3, 7).timesteps(1000, 50), Draws(3, 7).integers(1000, 50))


@pytest.mark.parametrize(("exponent", "mean"), [(0.65, 1 / 1.65), (2.0, 1 / 3)])
def test_the_exponent_moves_the_mean_as_the_integral_says(exponent, mean):
    drawn = Draws(0, 0).timesteps(1000, 20_000, exponent)
    assert int(drawn.min()) >= 0 and int(drawn.max()) <= 999
    assert float(drawn.float().mean()) / 1000 == pytest.approx(mean, abs=0.01)  # E[u^p] = 1 / (p + 1)


@given(
    start=st.floats(0, 0.99),
    length=st.floats(0.001, 1),
    count=st.integers(1, 1000),
    exponent=st.floats(0.1, 10) | st.just(1.0),
    seed=st.integers(0, 99),
)
def test_no_timestep_outside_of_the_range_is_drawn(start, length, count, exponent, seed):
    end = min(1.0, start + length)
    first, high = TimestepRange(start, end).of(count)
    assert high >= 1
    assert abs(first - start * count) <= 1
    assert first + high - end * count <= 1.5 and first + high <= count  # rounded, and at least one timestep
    drawn = Draws(seed, 0).timesteps(high, 50, exponent, first)
    assert first <= int(drawn.min()) and int(drawn.max()) < first + high
    whole = Draws(seed, 0).timesteps(high, 50, exponent)
    assert torch.equal(drawn - first, whole)


def test_the_whole_range_is_every_timestep_and_the_default():
    assert config().timestep_range.of(1000) == (0, 1000)
    assert config(timestep_start=0.2, timestep_end=0.7).timestep_range.of(1000) == (200, 500)


@pytest.mark.parametrize("ends", [(0.5, 0.5), (0.9, 0.1)])
def test_an_empty_range_is_refused_in_a_sentence(ends):
    with pytest.raises(SettingError, match="timestep_end must be more than timestep_start, got"):
        config(timestep_start=ends[0], timestep_end=ends[1])


@given(gamma=st.floats(0.1, 100), kind=st.sampled_from(list(PredictionType)), timestep=st.integers(0, 999))
def test_min_snr_weighs_the_pictures_error_by_the_smaller_of_snr_and_gamma(gamma, kind, timestep):
    """Whatever is predicted: the squared error of z_0 times min(SNR, gamma) (arXiv 2303.09556, section 3.4)."""
    t = torch.tensor([timestep])
    abar = float(SCHEDULE.alphas_cumprod[timestep])
    snr = abar / (1 - abar)
    per_error_of_the_picture = {"epsilon": snr, "v_prediction": snr + 1, "sample": 1.0}[kind.value]
    weight = float(snr_weight(NoiseSchedule(SCHEDULE.alphas_cumprod, kind), t, gamma))
    assert weight * per_error_of_the_picture == pytest.approx(min(snr, gamma), rel=1e-4)
    assert float(snr_weight(SCHEDULE, t, 0.0)) == 1


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
