"""What becomes of a checkpoint in a real WebUI: merged, patched, in eight bits, or drawn with another U-Net."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.host import DiffusersHost

from .family_folder import HERE, OTHER, load
from .test_a1111_host import PICTURE, left
from .test_families_in_webui import OFF, SETTINGS

pytestmark = pytest.mark.webui

SHORT = SETTINGS | {"steps": 3}


@pytest.mark.parametrize("half", [False, True], ids=["in 32 bits", "in half precision"])
def test_a_merged_checkpoint_is_trained_as_what_it_is(families, half):
    """By the WebUI's merger; the standalone host gets the mean of both."""
    name = f"merged-{half}"
    families.probe("merged", first="sdxl", second="sdxl-other", name=name, half=half)
    load(families, name)
    parts = families.parts["sdxl"]
    unet = type(parts.unet).from_config(parts.unet.config)
    unet.load_state_dict(parts.unet.state_dict())
    unet.conv_out.weight.data *= (1 + OTHER) / 2
    host = DiffusersHost(replace(parts, unet=unet), torch.device("cpu"), torch.float32)
    training = Training(host, TrainConfig.from_mapping(SETTINGS), load_pictures([PICTURE], 64, 64))
    losses = [float(report.loss) for report in training.run()]
    first, _ = families.picture("a lion", "blurry")
    before = families.probe("state")
    there = families.probe("train", settings=SETTINGS, picture=str(PICTURE))
    relative = max(abs(a - b) / a for a, b in zip(losses, there["losses"], strict=True))
    print(f"{name}: largest relative difference of a loss {relative:.2e}")
    assert relative < (2e-2 if half else 1e-3)
    assert left(before, families.probe("state")) == set()
    assert families.picture("a lion", "blurry")[0] == first


def test_a_pair_is_used_on_a_merged_checkpoint(words):
    words.probe("merged", first="sdxl", second="sdxl-other", name="merged-used", half=False)
    load(words, "merged-used")
    hooked, _ = words.picture("a mysdxl", "x")
    assert words.picture("a mysdxl", "x, mysdxl-neg", **OFF)[0] == hooked
    assert words.picture("a mysdxl", "x", **OFF)[0] != hooked


@pytest.mark.parametrize("family", [each for each in HERE if not each.startswith("sd1")])
def test_a_lora_of_an_earlier_picture_is_not_in_the_training(families, family):
    load(families, family)
    plain, _ = families.picture("a lion")
    expected = families.probe("train", settings=SHORT, picture=str(PICTURE))
    changed, _ = families.picture("a lion <lora:strong:1>")
    assert changed != plain, "the LoRA is in use"
    found = families.probe("train", settings=SHORT, picture=str(PICTURE))
    assert found == expected
    assert families.picture("a lion <lora:strong:1>")[0] == changed
    assert families.picture("a lion")[0] == plain


@pytest.fixture
def eight_bits(families):
    def enabled(checkpoint):
        load(families, checkpoint)
        families.post("/sdapi/v1/options", {"fp8_storage": "Enable"})
        assert families.probe("linear_types") == ["torch.float8_e4m3fn"]
        return families

    yield enabled
    load(families, "embedded")  # a picture of the others fails in this precision, and this asks for none
    families.post("/sdapi/v1/options", {"fp8_storage": "Disable"})


def test_weights_kept_in_eight_bits_train_and_draw_as_before(eight_bits):
    webui = eight_bits("embedded")
    first, _ = webui.picture("a lion", "blurry")
    before = webui.probe("state")
    found = webui.probe("train", settings=SHORT | {"width": 128, "height": 128}, picture=str(PICTURE))
    assert all(loss == loss for loss in found["losses"])
    assert left(before, webui.probe("state")) == set()
    assert webui.picture("a lion", "blurry")[0] == first


@pytest.mark.parametrize("way", ["train", "train_casting_by_hand"])
@pytest.mark.parametrize("family", HERE)
def test_weights_kept_in_eight_bits_train_in_every_family(eight_bits, family, way):
    """No pictures: on a CPU the WebUI itself cannot draw with SD 2 and SDXL in this precision."""
    webui = eight_bits(family)
    before = webui.probe("state")
    found = webui.probe(way, settings=SHORT, picture=str(PICTURE))
    assert all(loss == loss for loss in found["losses"])
    assert left(before, webui.probe("state")) == set()


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_layers_that_are_cast_as_they_are_called_train_the_same(families, family):
    load(families, family)
    expected = families.probe("train", settings=SHORT, picture=str(PICTURE))
    assert families.probe("train_casting_by_hand", settings=SHORT, picture=str(PICTURE)) == expected


def test_stable_diffusion_3_is_refused_by_the_webuis_own_class(families):
    load(families, "sdxl")
    assert families.probe("sd3") == "Stable Diffusion 3 cannot be trained here: it is no U-Net."


def test_another_u_net_in_use_is_one_sentence(families):
    load(families, "embedded")
    first, _ = families.picture("a lion")
    families.probe("other_unet", label="[TRT] embedded")
    try:
        assert families.picture("a lion")[0] != first, "it is in use"
        picture = base64.b64encode(PICTURE.read_bytes()).decode()
        job = {"name": "engine", "pictures": [picture], "settings": {"steps": 2}, "previews": False, "wait": True}
        answer = families.post("/dreamartist/v1/train", job)
        assert answer["status"] == "failed"
        assert answer["message"].startswith("The U-Net [TRT] embedded, which is in use, has no gradient;")
    finally:
        families.probe("options", sd_unet="None")
    assert families.probe("trainable") == ""
    families.probe("train", settings=SHORT, picture=str(PICTURE))
    assert families.picture("a lion")[0] == first
