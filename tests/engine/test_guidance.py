from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.guidance import RAMPS, Guidance


def test_a_number_is_the_same_at_every_timestep():
    assert Guidance.parse("3").at(torch.tensor([0, 500, 999]), 1000).flatten().tolist() == [3.0] * 3


@pytest.mark.parametrize(
    ("text", "middle"),
    [
        ("1-3", 2.0),
        ("1-3:linear", 2.0),
        ("1-3:cos", 1 + 2 * math.cos(-math.pi / 4)),
        ("1 - 3 : cos2", 1 + 2 * (1 - math.cos(math.pi / 4))),
    ],
)
def test_a_range_runs_from_the_clean_end_to_the_noisy_end(text, middle):
    scale = Guidance.parse(text).at(torch.tensor([0, 50, 100]), 101)
    assert scale.shape == (3, 1, 1, 1)
    assert scale.flatten().tolist() == pytest.approx([1.0, middle, 3.0], abs=1e-6)


@pytest.mark.parametrize("text", ["", "x", "1-", "-3", "1-2-3", "nan", "1-3:tan", "__import__('os')", "3:cos"])
def test_anything_else_is_refused_in_one_sentence(text):
    with pytest.raises(SettingError, match="guidance must be a number or a range"):
        Guidance.parse(text)


@given(st.sampled_from(sorted(RAMPS)), st.integers(0, 999))
def test_ramps_stay_between_the_ends(ramp, timestep):
    value = float(Guidance(1.5, 3.0, ramp).at(torch.tensor([timestep]), 1000))
    assert 1.5 - 1e-6 <= value <= 3.0 + 1e-6
