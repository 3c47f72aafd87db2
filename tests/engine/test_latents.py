"""Encoded pictures: sizes apart, samples of the posterior, what lies on disk."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamartist_ext.engine.attention_mask import attention_rows, grey_to_weight, spread, weight_to_grey
from dreamartist_ext.engine.draws import bucket_order, picture_order
from dreamartist_ext.engine.latents import EncodedPictures, Shelf
from dreamartist_ext.engine.pictures import TrainingPicture

from .fake_host import FakeHost
from .test_trainer import config, picture, vectors_after


@given(st.integers(0, 9), st.integers(1, 7), st.integers(0, 40), st.integers(1, 9))
def test_within_one_bucket_the_order_is_that_of_the_pictures(seed, count, step, samples):
    assert bucket_order(seed, ["a"] * count, step, samples) == picture_order(seed, count, step * samples, samples)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.integers(0, 9), st.integers(1, 4))
def test_a_step_has_one_bucket_and_every_picture_is_shown_equally_often(buckets, seed, samples):
    shown = Counter()
    for step in range(2 * len(buckets)):
        order = bucket_order(seed, buckets, step, samples)
        assert len({buckets[i] for i in order}) == 1
        shown.update(order)
    assert shown == dict.fromkeys(range(len(buckets)), 2 * samples)


class Sized(FakeHost):
    """Latents of two sizes, by the pictures' width."""

    def encode_images(self, pixels):
        latents = super().encode_images(pixels)
        return latents if pixels.shape[3] == 16 else latents.reshape(-1, 4, 1, 4)


def test_accumulating_equals_one_batch_with_pictures_of_two_sizes(monkeypatch):
    wide = TrainingPicture(torch.rand(3, 8, 32, generator=torch.Generator().manual_seed(1)), None, "", "wide.png")
    pictures = [picture(0), picture(1), wide]
    monkeypatch.setattr("tests.engine.test_trainer.FakeHost", Sized)
    whole = vectors_after(config(batch_size=6), pictures)
    for accumulation in (2, 3, 6):
        parts = vectors_after(config(batch_size=6 // accumulation, accumulation=accumulation), pictures)
        for word in whole:
            torch.testing.assert_close(parts[word], whole[word], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("most", [0, 100, 10**6])
def test_what_lies_on_disk_comes_back_the_same_and_leaves_no_file(tmp_path, most):
    shelf = Shelf(torch.device("cpu"), tmp_path / "run", most)
    tensors = [torch.randn(4, n, 3, dtype=torch.float64 if n % 2 else torch.float32) for n in range(1, 6)]
    for tensor in tensors:
        shelf.put(tensor)
    assert all(torch.equal(shelf.get(i), tensor) for i, tensor in enumerate(tensors))
    assert shelf.bytes_in_memory <= most
    assert shelf.bytes_in_memory + shelf.bytes_on_disk == sum(t.numel() * t.element_size() for t in tensors)
    del shelf
    assert not any(tmp_path.rglob("latents-*"))


def test_samples_of_the_posterior_depend_on_seed_picture_and_step_alone():
    pictures = [picture(0), picture(1)]
    mean = EncodedPictures(FakeHost(), config(), pictures).latents([0, 1])
    once, again, other = (
        EncodedPictures(FakeHost(), config(latent_sampling="once", seed=seed), pictures) for seed in (3, 3, 4)
    )
    assert torch.equal(once.latents([0, 1], 5), again.latents([0, 1], 9))
    assert not torch.equal(once.latents([0, 1]), other.latents([0, 1]))
    each = EncodedPictures(FakeHost(), config(latent_sampling="each"), pictures)
    assert torch.equal(each.latents([0, 1]), mean)
    assert torch.equal(each.latents([0, 1], 5), each.latents([0, 1], 5))
    drawn = torch.stack([each.latents([0], step) for step in range(4000)])[:, 0]
    deviation = 0.1 + mean[0].abs() / 4
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.1, atol=0)


@given(st.floats(0, 5, width=32))
def test_greys_and_weights_undo_each_other(weight):
    there = weight_to_grey(torch.tensor(weight))
    torch.testing.assert_close(grey_to_weight(there), torch.tensor(weight), atol=1e-4, rtol=0)


# Process Att-Map


def test_attention_rows_sum_to_one():
    queries, keys = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    rows = attention_rows(queries, keys, slice(3, 9))
    assert rows.shape == (6, 12)
    torch.testing.assert_close(rows.sum(1), torch.ones(6))


def test_attention_that_is_uniform_or_to_itself_alone_leaves_a_mask_as_it_is():
    mask = torch.tensor([[[5.0, 0.5, 0.5], [0.5, 0.5, 0.5]]])
    assert torch.equal(spread(mask, torch.zeros(6, 4), torch.zeros(6, 4)), mask)
    torch.testing.assert_close(spread(mask, 200 * torch.eye(6), torch.eye(6)), mask)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.floats(0, 1), st.floats(0.5, 9))
def test_a_spread_mask_keeps_its_range_and_its_black(seed, strength, sharpness):
    generator = torch.Generator().manual_seed(seed)
    queries, keys = sharpness * torch.randn(2, 12, 5, generator=generator)
    mask = grey_to_weight(255 * torch.rand(1, 3, 4, generator=generator).round(decimals=1))
    shown = spread(mask, queries, keys, strength)
    assert shown.shape == mask.shape
    assert mask.min() - 1e-5 <= shown.min() <= shown.max() <= mask.max() + 1e-5
    assert (shown[mask == 0] == 0).all()
    torch.testing.assert_close(spread(mask, queries, keys, 0), mask)
    widest = spread(mask + 0.1, queries, keys)
    torch.testing.assert_close(widest.max(), mask.max() + 0.1)


def test_a_spot_spreads_to_its_like_and_black_stays_black():
    kinds = torch.tensor([0, 0, 1, 1, 0, 0])
    features = 30 * torch.nn.functional.one_hot(kinds).float()
    mask = torch.tensor([[[5.0, 0.5, 0.5, 0.5, 0.5, 0.0]]])
    weight = spread(mask, features, features)[0, 0]
    assert weight[4] == weight[1] > weight[2] == weight[3]
    assert weight[5] == 0
