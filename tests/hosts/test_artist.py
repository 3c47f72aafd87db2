"""Drawing and changing pictures on any host."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.preview import to_image
from dreamartist_ext.files.picture_files import to_pixels
from dreamartist_ext.hosts.artist import Artist

from ..models import TEXT_WIDTH, tiny_host


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return tiny_host(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def start() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((64, 64))


def change(host, start, strength, steps=10, seeds=(1,), count=None):
    def step():
        if count is not None:
            count.append(1)

    return Artist(host)(["cat"] * len(seeds), [""] * len(seeds), seeds, 3.0, steps, {}, start, strength, step)


def test_with_hardly_any_noise_the_picture_comes_back_as_the_vae_keeps_it(host, start):
    with host.session(), torch.no_grad():
        kept = to_image(host.decode_latents(host.encode_images(to_pixels(start)[None]))[0])
    assert change(host, start, 0.01)[0].tobytes() == kept.tobytes()


@pytest.mark.parametrize(("strength", "steps"), [(0.1, 1), (0.5, 5), (1.0, 10)])
def test_the_strength_is_the_share_of_the_steps(host, start, strength, steps):
    count: list[int] = []
    change(host, start, strength, count=count)
    assert len(count) == steps


def test_more_noise_leaves_less_of_the_start(host, start):
    """Two starts, the same seed: what they have not in common fades with the strength."""
    other = start.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    gaps = []
    for strength in (0.2, 0.6, 1.0):
        a, b = (np.asarray(change(host, picture, strength)[0], dtype=float) for picture in (start, other))
        gaps.append(np.abs(a - b).mean())
    assert gaps[0] > gaps[1] > gaps[2]


def test_a_seed_gives_the_same_picture_alone_and_with_others(host, start):
    alone = change(host, start, 0.5, seeds=(7,))[0]
    beside = change(host, start, 0.5, seeds=(3, 7))
    assert np.abs(np.asarray(alone, dtype=int) - np.asarray(beside[1], dtype=int)).max() <= 1
    assert beside[0].tobytes() != beside[1].tobytes()


def test_words_are_there_while_drawing_and_gone_afterwards(host):
    artist = Artist(host)
    vectors = {"mycat": {"clip": torch.randn(2, TEXT_WIDTH, generator=torch.Generator().manual_seed(0)) * 5}}
    bare = artist(["mycat"], [""], [1], 3.0, 2, {})[0].tobytes()
    assert artist(["mycat"], [""], [1], 3.0, 2, vectors)[0].tobytes() != bare
    assert artist(["mycat"], [""], [1], 3.0, 2, {})[0].tobytes() == bare
