"""The embedded model is what its card says: small, in both layouts, and it does what words say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.names import negative_name
from dreamartist_ext.engine.objective import noise_loss
from dreamartist_ext.engine.passes import conditioning
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.evaluation.backgrounds import BACKGROUNDS, nearest_background
from dreamartist_ext.files.picture_files import to_pixels
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, load_host, training_defaults
from dreamartist_ext.hosts.diffusers.single_file import to_single_file
from tools.embedded_model.drawings import HELD_OUT, training_concepts
from tools.embedded_model.measure import FeatureNet

SAMPLES = EMBEDDED_MODEL.parent / "samples"


@pytest.fixture(scope="module")
def host() -> DiffusersHost:
    return load_host()


def share_of_right_backgrounds(pictures: list[Image.Image], colours: list[str]) -> float:
    right = [nearest_background(to_pixels(p)) == c for p, c in zip(pictures, colours, strict=True)]
    return sum(right) / len(right)


def test_it_is_small_and_its_card_is_there():
    assert sum(p.stat().st_size for p in EMBEDDED_MODEL.rglob("*") if p.is_file()) <= 45_000_000
    card = (EMBEDDED_MODEL / "README.md").read_text(encoding="utf-8")
    for word in ("Apache-2.0", "MIT", "Noto", "Fluent", "Firefox OS", *sorted(HELD_OUT)):
        assert word in card


def test_no_held_out_thing_is_among_what_it_was_taught():
    assert HELD_OUT.isdisjoint(training_concepts())
    assert len(HELD_OUT) == 20


def test_its_schedule_ends_in_noise(host):
    assert host.schedule.prediction_type.value == "epsilon"
    assert host.schedule.alphas_cumprod[-1] < 3e-4


def test_its_recommended_settings_are_valid():
    assert TrainConfig.from_mapping(training_defaults()).steps > 0


def test_both_layouts_make_the_same_noise_prediction(tmp_path, host):
    to_single_file(EMBEDDED_MODEL, tmp_path / "embedded.safetensors")
    single = load_host(tmp_path / "embedded.safetensors", "cpu", "fp32")
    folder = load_host(None, "cpu", "fp32")
    noisy = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    prompts, timesteps = ["a flat emoji of a cat on a blue background", ""], torch.tensor([50, 900])
    with torch.no_grad():
        outputs = [
            (h.predict(noisy, timesteps, h.encode_prompts(prompts)), h.encode_images(pixels), h.decode_latents(noisy))
            for h in (single, folder)
        ]
    for ours, theirs in zip(*outputs, strict=True):
        assert torch.equal(ours, theirs)


def test_words_control_the_background(host):
    colours = list(BACKGROUNDS)
    prompts = [f"a noto emoji of a tomato on a {colour} background" for colour in colours]
    pictures = host.generate(prompts, [""] * len(prompts), range(50, 60), steps=15, guidance_scale=4.0)
    assert share_of_right_backgrounds(pictures, colours) >= 0.8


@torch.no_grad()
def check_loss(host: DiffusersHost, training: Training) -> float:
    """What is trained, at its guidance and weights, on 64 fixed noises and timesteps."""
    generator = torch.Generator().manual_seed(0)
    latents = host.encode_images(training.pictures[0].pixels[None]).expand(64, -1, -1, -1)
    noise, timesteps = torch.randn(64, 4, 16, 16, generator=generator), torch.arange(0, 1000, 1000 / 64).long()
    with host.bind(training.pair.named()):
        cond = conditioning(host, ["a mything"] * 64, [negative_name("mything")] * 64)
        guidance = training.guidance.at(timesteps, host.schedule.timesteps)
        weight = training.config.noisy_weight
        return float(noise_loss(host, latents, noise, timesteps, cond, guidance, noisy_weight=weight).mean())


@pytest.mark.slow
def test_a_pair_learned_from_one_picture_is_nearer_to_it_than_its_own_words_are(host):
    """On a thing the model never saw; and the words for the background still work."""
    path = SAMPLES / "hedgehog.png"
    config = TrainConfig.from_mapping(training_defaults() | {"name": "mything"})
    pictures = load_pictures([path], host.picture_size, host.picture_size)
    training = Training(host, config, pictures)
    before = check_loss(host, training)
    for _ in training.run():
        pass
    assert check_loss(host, training) < before
    network = FeatureNet()
    reference = network(pictures[0].pixels[None]).concept[0]

    def similarity(prompt: str, negative: str) -> float:
        drawn = host.generate([prompt] * 8, [negative] * 8, range(8), guidance_scale=5.0)
        return float((network(torch.stack([to_pixels(p) for p in drawn])).concept @ reference).mean())

    colours = ["red", "blue", "green", "yellow", "purple", "black", "pink", "orange"]
    with host.bind(training.pair.named()):
        learned = similarity("a mything", negative_name("mything"))
        prompts = [f"a mything on a {colour} background" for colour in colours]
        drawn = host.generate(prompts, [negative_name("mything")] * 8, range(8), guidance_scale=5.0)
    assert learned > similarity("a noto emoji of a hedgehog on a white background", "")
    assert share_of_right_backgrounds(drawn, colours) >= 0.25  # guessing gives 0.1


def test_the_figures_in_the_card_are_those_that_were_measured():
    figures = json.loads((EMBEDDED_MODEL / "figures.json").read_text())
    card = (EMBEDDED_MODEL / "README.md").read_text(encoding="utf-8")
    for name in ("background", "style", "concept_top1", "concept_top5"):
        assert f"{100 * figures['generated'][name]['share']:.0f} %" in card


def test_samples_are_pictures_of_held_out_things():
    names = {Path(p).stem for p in SAMPLES.glob("*.png")}
    assert names
    assert names <= HELD_OUT
