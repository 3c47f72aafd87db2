"""Which part of a picture is shown: exact, centred, never stretched; buckets; padding; views."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dreamartist_ext.engine.framing import MAX_RATIO, Framing, Views, bucket_for, bucket_sizes

LANCZOS = Image.Resampling.LANCZOS
SIDES = st.integers(32, 400)
BASES = [(512, 512, 64), (768, 768, 64), (512, 768, 64), (128, 128, 16), (1024, 1024, 64)]


def fitted(picture, width, height, **ways):
    (framing,) = Views(width, height, **ways).of(picture.size, 0)
    return framing.show(picture, LANCZOS)


@given(size=st.tuples(SIDES, SIDES), target=st.tuples(st.integers(8, 160), st.integers(8, 160)))
@settings(max_examples=60, deadline=None)
def test_cropping_is_exact_centred_and_never_stretches(size, target):
    across, down = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
    shown = [np.asarray(fitted(Image.fromarray(values), *target)) for values in (across, down)]
    assert shown[0].shape == target[::-1]
    scale = max(target[0] / size[0], target[1] / size[1])
    for values, axis, side, length in zip(shown, (1, 0), size, target, strict=True):
        line = values.mean(axis=1 - axis)
        ideal = (np.arange(length) + 0.5 - length / 2) / scale + side / 2 - 0.5
        inner = (ideal > 3 / min(scale, 1)) & (ideal < side - 1 - 3 / min(scale, 1))  # the filter is cut at edges
        np.testing.assert_allclose(line[inner], ideal[inner], atol=1)


@given(size=st.tuples(SIDES, SIDES), target=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(max_examples=60, deadline=None)
def test_cropping_is_pillow_s_own_to_the_byte(size, target):
    target = target[0] * 16, target[1] * 16
    picture = Image.effect_noise(size, 90)
    assert fitted(picture, *target).tobytes() == ImageOps.fit(picture, target, LANCZOS).tobytes()


def test_a_picture_of_the_right_size_is_left_alone():
    picture = Image.effect_noise((96, 64), 90)
    assert fitted(picture, 96, 64).tobytes() == picture.tobytes()


# Buckets


@pytest.mark.parametrize(("width", "height", "unit"), BASES)
def test_buckets_have_nearly_the_same_area_and_usable_sides(width, height, unit):
    sizes = bucket_sizes(width, height, unit)
    assert (width, height) in sizes
    for w, h in sizes:
        assert w % unit == h % unit == 0
        assert 1 / 1.2001 < w * h / (width * height) < 1.2001
        assert max(w, h) <= 4 * min(w, h)


@pytest.mark.parametrize(("width", "height", "unit"), BASES)
@given(size=st.tuples(st.integers(32, 6000), st.integers(32, 6000)))
def test_a_bucket_shows_nearly_all_of_a_picture_without_stretching(width, height, unit, size):
    ratio = min(max(size[0] / size[1], 1 / MAX_RATIO), MAX_RATIO)
    w, h = bucket_for(size, width, height, unit)
    assert abs(math.log(w / h / ratio)) < 0.085, "at most 4.1 % are cut off at each of two ends"
    (framing,) = Views(width, height, unit, "bucket").of(size, 0)
    left, top, right, bottom = framing.box
    assert (framing.width, framing.height) == (w, h)
    assert min(left, top) >= 0
    assert right <= size[0]
    assert bottom <= size[1]
    stretch = (framing.width / (right - left)) / (framing.height / (bottom - top))
    assert abs(stretch - 1) < 1e-9
    shown = (right - left) * (bottom - top) / (size[0] * size[1])
    if 1 / MAX_RATIO <= size[0] / size[1] <= MAX_RATIO:
        assert shown > 0.918


@pytest.mark.parametrize(("width", "height", "unit"), BASES)
def test_a_picture_of_the_base_proportions_stays_in_the_base_bucket(width, height, unit):
    assert bucket_for((3 * width, 3 * height), width, height, unit) == (width, height)


@given(size=st.tuples(SIDES, SIDES))
def test_turning_a_picture_turns_its_bucket(size):
    assert bucket_for(size, 512, 512, 64)[::-1] == bucket_for(size[::-1], 512, 512, 64)


# Padding


@given(size=st.tuples(SIDES, SIDES), target=st.tuples(st.integers(4, 12), st.integers(4, 12)))
@settings(max_examples=60, deadline=None)
def test_padding_shows_the_whole_picture_and_nothing_else(size, target):
    target = target[0] * 8, target[1] * 8
    (framing,) = Views(*target, fit="pad").of(size, 0)
    shown = np.asarray(framing.show(Image.new("L", size, 200), LANCZOS, beyond=7))
    assert shown.shape == target[::-1]
    rows, columns = (shown == 200).any(1).sum(), (shown == 200).any(0).sum()
    assert set(np.unique(shown)) <= {7, 200}
    scale = min(target[0] / size[0], target[1] / size[1])
    assert abs(columns - size[0] * scale) < 1.001
    assert abs(rows - size[1] * scale) < 1.001
    assert framing.reaches_beyond(size) == (target[0] * size[1] != target[1] * size[0])
    centre = [np.flatnonzero((shown == 200).any(axis)).mean() for axis in (0, 1)]
    assert abs(centre[0] - (target[0] - 1) / 2) <= 1
    assert abs(centre[1] - (target[1] - 1) / 2) <= 1


# Views


WAYS = {
    "fit": st.sampled_from(["crop", "bucket", "pad"]),
    "crop": st.sampled_from([0.0, 0.1, 0.5]),
    "mirror": st.booleans(),
    "count": st.integers(1, 6),
    "seed": st.integers(0, 99),
}


@given(size=st.tuples(SIDES, SIDES), ways=st.fixed_dictionaries(WAYS))
@settings(max_examples=100, deadline=None)
def test_views_keep_the_proportions_and_lie_within_the_picture_or_hold_all_of_it(size, ways):
    views = Views(128, 128, 16, **ways).of(size, 0)
    whole = views[0].box
    assert len(views) == ways["count"]
    for number, view in enumerate(views):
        left, top, right, bottom = view.box
        assert (view.width, view.height) == (views[0].width, views[0].height)
        assert view.mirrored == (ways["mirror"] and number % 2 == 1)
        assert abs(view.width / (right - left) / (view.height / (bottom - top)) - 1) < 1e-9
        share = (right - left) / (whole[2] - whole[0])
        assert 1 - ways["crop"] - 1e-9 <= share <= 1 + 1e-9
        for start, end, side in ((left, right, size[0]), (top, bottom, size[1])):
            is_within, holds_all = start >= -1e-9 and end <= side + 1e-9, start <= 1e-9 and side - 1e-9 <= end
            assert is_within or holds_all
    assert views == Views(128, 128, 16, **ways).of(size, 0)
    if ways["fit"] != "pad":
        assert not any(view.reaches_beyond(size) for view in views)


def test_cuts_differ_between_views_pictures_and_seeds():
    views = Views(64, 64, crop=0.3, count=5)
    boxes = {view.box for index in (0, 1) for view in views.of((100, 80), index)}
    assert len(boxes) == 9, "the first view is the same for both"
    assert views.of((100, 80), 0)[1:] != Views(64, 64, crop=0.3, count=5, seed=1).of((100, 80), 0)[1:]


@given(size=st.tuples(SIDES, SIDES), other=st.integers(1, 40), ways=st.fixed_dictionaries(WAYS))
@settings(max_examples=60, deadline=None)
def test_a_framing_carries_over_to_another_resolution(size, other, ways):
    larger = size[0] * other, size[1] * other
    for framing in Views(128, 128, 16, **ways).of(size, 0):
        scaled = framing.scaled(size, larger)
        np.testing.assert_allclose(scaled.box, np.array(framing.box) * other)
        assert isinstance(scaled, Framing)
        np.testing.assert_allclose(scaled.scaled(larger, size).box, framing.box)
