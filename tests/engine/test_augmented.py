"""Everything that varies from sample to sample at once: it is a function of the seed and the step, never of how a step
is split into passes, nor of where a run was stopped."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import closing

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.pictures import open_pictures

from .fake_host import WIDTH, FakeHost
from .test_trainer import config

WAYS = {
    "template": "[filewords], [name]|[name]",
    "negative_template": "[filewords], [name]",
    "caption_dropout": 0.3,
    "tag_dropout": 0.3,
    "shuffle_tags": True,
    "fit": "bucket",
    "mirror": True,
    "random_crop": 0.3,
    "views": 3,
    "latent_sampling": "each",
    "spread_mask": 0.7,
    "guidance": "1.5-4:cos",
    "timestep_exponent": 0.7,
    "noisy_weight": 0.5,
    "min_snr": 5.0,
}


class WordyHost(FakeHost):
    """The whole prompt counts, and latents have a size."""

    def encode_prompts(self, prompts):
        marks = [torch.tensor(list(hashlib.sha256(p.encode()).digest()[:WIDTH])).double() / 255 for p in prompts]
        return super().encode_prompts(prompts) + torch.stack(marks)

    def encode_images(self, pixels):
        latents = super().encode_images(pixels)
        return latents.reshape(-1, 4, 1, 4) if pixels.shape[3] > pixels.shape[2] else latents


@pytest.fixture
def paths(tmp_path):
    for i, size in enumerate([(64, 64), (128, 64), (70, 66)]):
        generator = torch.Generator().manual_seed(i)
        noise = torch.randint(256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"one, two, three, picture {i}")
    Image.linear_gradient("L").resize((128, 64)).save(tmp_path / "1_att.png")
    return [tmp_path / f"{i}.png" for i in range(3)]


def training(paths, **values):
    settings = config(**WAYS | values)
    return Training(WordyHost(), settings, open_pictures(paths, settings, 64, 16))


def vectors(of):
    return {word: half["clip"].detach() for word, half in of.pair.named().items()}


def test_accumulating_n_equals_one_batch_of_n(paths):
    whole = training(paths, batch_size=12)
    list(whole.run())
    for accumulation in (2, 3, 12):
        parts = training(paths, batch_size=12 // accumulation, accumulation=accumulation)
        list(parts.run())
        for word, vector in vectors(whole).items():
            torch.testing.assert_close(vectors(parts)[word], vector, rtol=1e-9, atol=1e-12)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(paths):
    whole = training(paths, batch_size=2)
    list(whole.run())
    for stop in (1, 7):
        stopped = training(paths, batch_size=2)
        with closing(stopped.run()) as reports:
            list(itertools.islice(reports, stop))
        resumed = training(paths, batch_size=2)
        resumed.restore(stopped.snapshot())
        list(resumed.run())
        assert all(torch.equal(vectors(resumed)[word], vector) for word, vector in vectors(whole).items())


@pytest.mark.parametrize("without", ["caption_dropout", "tag_dropout", "shuffle_tags", "mirror", "random_crop"])
def test_every_way_matters(paths, without):
    """None of them is lost on the way from the settings to the vectors."""
    whole, less = training(paths, batch_size=2), training(paths, batch_size=2, **{without: type(WAYS[without])(0)})
    list(whole.run())
    list(less.run())
    assert any(not torch.equal(vectors(less)[word], vector) for word, vector in vectors(whole).items())
