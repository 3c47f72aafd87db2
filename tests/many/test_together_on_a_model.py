"""Trainings that share their passes on real architectures: each is, to rounding, what it would be alone."""

from __future__ import annotations

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, load_host
from dreamartist_ext.many.together import Member, SharedTraining, train_together

from ..family_models import host as family_host

SETTINGS = {"steps": 6, "batch_size": 2, "learning_rate": "0.002", "save_every": 0}
NAMES = ("acat", "bcat", "ccat")
LONG = ", ".join(["a cat"] * 40)  # does not fit into one chunk of 75 tokens


def concept(number: int, size: int, caption: str = "", masked: bool = False, **values):
    generator = torch.Generator().manual_seed(number)
    pixels = torch.rand(3, size, size, generator=generator) * 2 - 1
    mask = torch.rand(size, size, generator=generator) * 255 if masked else None
    settings = TrainConfig(**{**SETTINGS, "name": NAMES[number], "seed": number, **values})
    return settings, [TrainingPicture(pixels, mask, caption, "picture.png")]


def compare(host, out, concepts) -> list[Member]:
    """Train them together and one by one; the largest difference of a coordinate is a small part of a single step."""
    members = [Member(SharedTraining(host, *c), RunFiles(out, c[0].name)) for c in concepts]
    for _ in train_together(host, members):
        pass
    for one, about in zip(members, concepts, strict=True):
        assert one.error is None
        training = Training(host, *about)
        before = training.pair.detached().named()
        for _ in training.run():
            pass
        for word, half in training.pair.named().items():
            for key, vectors in half.items():
                moved = (vectors - before[word][key].to(vectors)).abs().mean()
                apart = (one.training.pair.named()[word][key] - vectors).abs().mean()
                assert moved > 1e-3
                assert apart < 1e-3 * moved, (word, key, float(apart / moved))
    return members


FAMILIES = {
    "sd1": {},
    "sdxl": {},
    "sdxl-v-ztsnr": {"clip_gradient": 0.01},
    "sd1-inpainting": {"inpaint": "painted"},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_what_it_would_be_alone(tmp_path, family):
    concepts = [concept(n, 64, masked=n == 1, **FAMILIES[family]) for n in range(3)]
    compare(family_host(tmp_path, family), tmp_path / "out", concepts)


@pytest.mark.parametrize("values", [{"reconstruction": 1.0, "accumulation": 2}, {"less_memory": "on"}])
def test_passes_are_made_of_the_same_parts(tmp_path, values):
    concepts = [concept(n, 64, masked=n == 1, **values) for n in range(3)]
    compare(family_host(tmp_path, "sd1"), tmp_path / "out", concepts)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_long_caption_does_not_pad_the_others(tmp_path, family):
    texts = ["a cat", LONG, "a cat"]
    template = {"template": "[filewords] [name]", "negative_template": "[name]"}
    concepts = [concept(n, 64, caption, **template) for n, caption in enumerate(texts)]
    compare(family_host(tmp_path, family), tmp_path / "out", concepts)


def test_pictures_of_different_sizes(tmp_path):
    compare(family_host(tmp_path, "sd1"), tmp_path / "out", [concept(n, size) for n, size in enumerate((64, 128, 64))])


def test_a_step_without_a_number_stays_in_its_own_sample(tmp_path):
    """The second concept's latents are no numbers: nothing of that reaches the two beside it."""
    host = family_host(tmp_path, "sd1")
    encode, calls = host.encode_images, []
    host.encode_images = lambda pixels: encode(pixels) * (torch.nan if calls.append(1) or len(calls) == 2 else 1)
    concepts = [concept(n, 64) for n in range(3)]
    members = [Member(SharedTraining(host, *c), RunFiles(tmp_path / "out", c[0].name)) for c in concepts]
    for _ in train_together(host, members):
        pass
    assert "no longer a finite number at step 5" in str(members[1].error)
    for number in (0, 2):
        training = Training(host, *concepts[number])
        for _ in training.run():
            pass
        for word, half in training.pair.named().items():
            torch.testing.assert_close(
                members[number].training.pair.named()[word]["clip"], half["clip"], rtol=1e-3, atol=1e-5
            )


def test_on_the_embedded_model(tmp_path):
    host = load_host(EMBEDDED_MODEL, "cpu", "fp32")
    # From `*` some gradients are so near to zero that rounding turns Adam's first steps: 0.0012 apart, here 0.000006.
    settings = {"initialization_text": "emoji", "template": "a [name]|an emoji of a [name]"}
    concepts = [concept(n, 128, **settings, steps=3, batch_size=1) for n in range(3)]
    compare(host, tmp_path / "out", concepts)
