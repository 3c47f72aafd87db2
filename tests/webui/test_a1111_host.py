"""The engine on the WebUI's own model: the same training as standalone, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.model_files import load_host

pytestmark = pytest.mark.webui

PICTURE = Path(__file__).parents[2] / "dreamartist_ext" / "assets" / "samples" / "pineapple.png"
SETTINGS = {"name": "zyx", "initialization_text": "emoji", "template": "a [name]|an emoji of a [name], big"}
STATE_OF_A_PICTURE = ("random",)  # what a picture itself changes


def left(before, after):
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 50},
        {"steps": 8, "use_negative": False},
        {"steps": 8, "batch_size": 2, "accumulation": 2, "guidance": "1.5-5:cos", "min_snr": 5.0},
        {"steps": 4, "vectors": 40, "template": "[name] " + "a long prompt of many words " * 9},
    ],
    ids=["50 steps", "plain", "batch", "two chunks"],
)
def test_loss_curve_and_vectors_are_those_of_the_standalone_host(webui, options):
    settings = SETTINGS | options
    here = Training(
        load_host(None, "cpu", "fp32"), TrainConfig.from_mapping(settings), load_pictures([PICTURE], 128, 128)
    )
    losses = [float(report.loss) for report in here.run()]
    there = webui.probe("train", settings=settings, picture=str(PICTURE))
    relative = [abs(a - b) / a for a, b in zip(losses, there["losses"], strict=True)]
    print(f"{options}: largest relative difference of the loss {max(relative):.2e}")
    assert len(there["losses"]) == options["steps"]
    assert max(relative) < 1e-3
    for half, other in zip(here.pair.named().values(), (there["positive"], there["negative"]), strict=False):
        vectors = half["clip"].detach()
        print(f"largest difference of a vector {float((vectors - torch.tensor(other)).abs().max()):.2e}")
        # AdamW moves each number by the sign of its gradient first, so that rounding shows where that is nearly zero
        assert torch.allclose(vectors, torch.tensor(other), atol=2e-3)
        assert float((vectors - torch.tensor(other)).abs().mean()) < 1e-4


@pytest.mark.parametrize(
    "way", [{}, {"stop_after": 2}, {"fail_at": 3}], ids=["done", "stopped", "an error inside a step"]
)
def test_a_picture_is_the_same_to_the_bit_before_and_after(webui, way):
    first, _ = webui.picture("a noto emoji of a lion", "blurry")
    before = webui.probe("state")
    result = webui.probe("train", settings=SETTINGS | {"steps": 4}, picture=str(PICTURE), **way)
    assert len(result["losses"]) == {"stop_after": 2, "fail_at": 3}.get(next(iter(way), ""), 4)
    assert left(before, webui.probe("state")) == set()
    assert webui.probe("state")["gradients"] == 0
    again, _ = webui.picture("a noto emoji of a lion", "blurry")
    assert again == first


def test_a_training_survives_the_webui_reading_its_folder_again(webui):
    """Someone refreshes the embeddings in another tab: the live vectors must stay in place."""
    import threading

    result = {}
    thread = threading.Thread(
        target=lambda: result.update(webui.probe("train", settings=SETTINGS | {"steps": 12}, picture=str(PICTURE)))
    )
    thread.start()
    while thread.is_alive():
        webui.probe("reload_embeddings")
    undisturbed = webui.probe("train", settings=SETTINGS | {"steps": 12}, picture=str(PICTURE))
    assert result["losses"] == undisturbed["losses"]
    assert "zyx" not in webui.probe("reload_embeddings")


def test_the_cards_of_words_are_shown_while_one_is_in_training(webui):
    """Each card is made of its file's name; Reload UI makes all four pages of extra networks again."""
    assert "zyx" in webui.probe("cards_while_a_word_is_live", name="zyx")


def test_a_spread_mask_and_sampled_latents_are_those_of_the_standalone_host(webui, tmp_path):
    picture, mask = Image.open(PICTURE).convert("RGB"), Image.new("L", (128, 128), 64)
    mask.paste(255, (30, 40, 90, 100))
    picture.save(tmp_path / "fruit.png")
    mask.resize(picture.size).save(tmp_path / "fruit_att.png")
    settings = SETTINGS | {"steps": 6, "spread_mask": 1.0, "latent_sampling": "each"}
    losses = {}
    for name, values in (("both", settings), ("painted", settings | {"spread_mask": 0.0})):
        pictures = load_pictures([tmp_path / "fruit.png"], 128, 128)
        here = Training(load_host(None, "cpu", "fp32"), TrainConfig.from_mapping(values), pictures)
        losses[name] = [float(report.loss) for report in here.run()]
    there = webui.probe("train", settings=settings, picture=str(tmp_path / "fruit.png"))["losses"]
    relative = [abs(a - b) / a for a, b in zip(losses["both"], there, strict=True)]
    print(f"largest relative difference of the loss {max(relative):.2e}")
    assert max(relative) < 1e-3
    assert max(abs(a - b) / a for a, b in zip(losses["both"], losses["painted"], strict=True)) > 0.01


def test_what_an_earlier_picture_left_is_not_trained_with(webui):
    def losses():
        return webui.probe("train", settings=SETTINGS | {"steps": 2}, picture=str(PICTURE))["losses"]

    webui.picture("a lion")
    before = losses()
    tiled, _ = webui.picture("a lion", tiling=True)
    assert losses() == before
    assert webui.picture("a lion", tiling=True)[0] == tiled
    assert webui.picture("a lion")[0] != tiled


def test_a_training_that_is_refused_leaves_nothing(webui):
    first, _ = webui.picture("a noto emoji of a lion")
    before = webui.probe("state")
    with pytest.raises(AssertionError, match="SettingError"):
        webui.probe("train", settings=SETTINGS | {"template": "no word in it"}, picture=str(PICTURE))
    with pytest.raises(AssertionError, match="SettingError"):
        webui.probe("train", settings=SETTINGS | {"initialization_text": " "}, picture=str(PICTURE))
    assert left(before, webui.probe("state")) == set()
    assert webui.picture("a noto emoji of a lion")[0] == first
