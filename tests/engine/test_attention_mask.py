"""Grey masks to weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.attention_mask import grey_to_weight, latent_weight
from dreamartist_ext.engine.errors import PictureError


@pytest.mark.parametrize(("grey", "weight"), [(0, 0), (127, 1), (128, 1), (255, 5)])
def test_the_ends_of_both_halves(grey, weight):
    assert grey_to_weight(torch.tensor(grey)).item() == weight


def test_each_half_is_linear():
    weights = grey_to_weight(torch.arange(256))
    torch.testing.assert_close(weights[:128], torch.linspace(0, 1, 128))
    torch.testing.assert_close(weights[128:], torch.linspace(1, 5, 128))


@given(st.floats(0, 255, width=32), st.floats(0, 255, width=32))
def test_lighter_never_weighs_less(one, other):
    low, high = grey_to_weight(torch.tensor(sorted((one, other))))
    assert low <= high


def test_each_latent_gets_the_mean_weight_of_its_pixels():
    grey = torch.zeros(16, 24)
    grey[:8, :8] = 255
    grey[8:, 16:20] = 127
    expected = torch.tensor([[[5.0, 0, 0], [0, 0, 0.5]]])
    torch.testing.assert_close(latent_weight(grey, 2, 3), expected)


def test_weights_are_averaged_and_not_greys():
    grey = torch.zeros(8, 8)
    grey[:, 4:] = 255
    assert latent_weight(grey, 1, 1).item() == 2.5


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_the_mean_weight_is_kept(height, width, seed):
    grey = torch.randint(1, 256, (height * 8, width * 8), generator=torch.Generator().manual_seed(seed))
    weight = latent_weight(grey, height, width)
    assert weight.shape == (1, height, width)
    torch.testing.assert_close(weight.mean(), grey_to_weight(grey).mean())


def test_mid_grey_is_as_good_as_no_mask():
    assert torch.equal(latent_weight(torch.full((64, 64), 128.0), 8, 8), torch.ones(1, 8, 8))


def test_a_black_mask_is_refused():
    with pytest.raises(PictureError, match=r"The mask of cat.png is black everywhere"):
        latent_weight(torch.zeros(64, 64), 8, 8, source="The mask of cat.png")
