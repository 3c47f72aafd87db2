"""Directions without lengths: what turns a vector does not lengthen it, and a training keeps to it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.norm import of_length, tangent
from dreamartist_ext.engine.trainer import Training

from .fake_host import FakeHost
from .test_trainer import config, picture

seeds = st.integers(0, 2**31)


def rows(seed: int, count: int = 4) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, seeds)
def test_a_tangent_is_at_right_angles_and_is_its_own_tangent(seed, other):
    vectors, gradient = rows(seed), rows(other)
    turned = tangent(gradient, vectors)
    assert (turned * vectors).sum(1).abs().max() < 1e-12
    torch.testing.assert_close(tangent(turned, vectors), turned)
    assert tangent(vectors, vectors).abs().max() < 1e-12


@given(seeds, st.floats(0.01, 100))
def test_a_length_is_set_and_the_direction_stays(seed, length):
    vectors = rows(seed)
    scaled = of_length(vectors, length)
    torch.testing.assert_close(scaled.norm(dim=1), torch.full((4,), length, dtype=torch.float64))
    torch.testing.assert_close(torch.cosine_similarity(scaled, vectors), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(("sides", "fixed"), [("positive", ["mycat"]), ("both", ["mycat", "mycat-neg"])])
def test_the_chosen_sides_have_the_vocabularys_length_after_every_step(sides, fixed):
    training = Training(FakeHost(), config(fix_norm=sides, learning_rate="0.3"), [picture()])
    moved = training.pair.detached().named()
    for _ in training.run():
        for word, half in training.pair.named().items():
            lengths = half["clip"].detach().norm(dim=1)
            assert torch.allclose(lengths, torch.full_like(lengths, 2.0)) == (word in fixed)
    for word in fixed:
        assert (training.pair.named()[word]["clip"].detach() - moved[word]["clip"]).abs().max() > 0.1
