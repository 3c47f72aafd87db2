"""The parts of the WebUI's host that can be tested without it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.hosts.a1111.families import check_trainable, picture_size, vocabulary
from dreamartist_ext.hosts.a1111.schedule import check_file
from dreamartist_ext.hosts.a1111.session import placements, put_back


def test_where_every_tensor_is_and_how_it_gets_back():
    """Buffers only: on a machine without a second device "meta" stands for one, and no parameter can go there."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert len(placements(model)) == 4 + 3  # weights and biases; mean, variance and count
    norm = model[1]
    places = [
        (norm._buffers, key, torch.device("meta" if key == "running_mean" else "cpu"))
        for store, key, _ in placements(norm)
        if store is norm._buffers
    ]
    variance = norm.running_var
    put_back(places)
    assert norm.running_mean.device.type == "meta"
    assert norm.running_var is variance, "what is in its place is not touched"


def unet(channels, key):
    network = SimpleNamespace(diffusion_model=SimpleNamespace(in_channels=channels), conditioning_key=key)
    return SimpleNamespace(apply_model=1, parameterization="eps", model=network)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (SimpleNamespace(is_sd3=True), "Stable Diffusion 3"),
        (SimpleNamespace(conditioner=1, cond_stage_model=2), "SDXL refiner"),
        (SimpleNamespace(cond_stage_key="edit"), "instruct-pix2pix"),
        (unet(5, "hybrid"), "depth"),
        (unet(8, "hybrid"), "instruct-pix2pix"),
        (unet(4, "crossattn-adm"), "unCLIP"),
        (SimpleNamespace(apply_model=1, parameterization="x0"), "this kind of checkpoint"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(model, words):
    with pytest.raises(ModelError, match=words):
        check_trainable(model)


def test_plain_models_are_taken():
    for parameterization in ("eps", "v"):
        check_trainable(SimpleNamespace(apply_model=1, parameterization=parameterization))
    for channels, key in ((4, "crossattn"), (9, "hybrid")):
        check_trainable(unet(channels, key))


def test_the_vocabulary_is_found_under_the_webuis_wrapper():
    words, places = nn.Embedding(500, 4), nn.Embedding(77, 4)
    wrapped = nn.Sequential(words, nn.Linear(4, 4))
    assert vocabulary(nn.ModuleDict({"positions": places, "tokens": wrapped})) is words


@pytest.mark.parametrize(
    ("about", "side"),
    [
        ({"image_size": 64, "parameterization": "eps", "is_sd1": True}, 512),
        ({"image_size": 64, "parameterization": "eps", "is_sd2": True}, 512),
        ({"image_size": 64, "parameterization": "v", "is_sd2": True}, 768),  # its YAML says 64 as well
        ({"image_size": 96, "parameterization": "eps", "is_sd2": True}, 768),
        ({"image_size": 16, "parameterization": "eps", "is_sd1": True}, 128),
        ({"conditioner": 1, "parameterization": "eps"}, 1024),
        ({"parameterization": "eps"}, 512),
    ],
)
def test_the_size_of_a_models_pictures(about, side):
    assert picture_size(SimpleNamespace(**about)) == side


@pytest.mark.parametrize(
    ("names", "parameterization", "words"),
    [
        (["double_blocks.0.img_attn.qkv.weight"], "eps", "Flux"),
        (["v_pred", "x"], "eps", "predicts v"),
        (["v_pred", "x"], "v", ""),
        (["x"], "eps", ""),
    ],
)
def test_what_a_file_says_of_itself_is_heeded(tmp_path, names, parameterization, words):
    path, model = tmp_path / "m.safetensors", SimpleNamespace(parameterization=parameterization)
    save_file({name: torch.zeros(1) for name in names}, path)
    if not words:
        check_file(path, model)
        return
    with pytest.raises(ModelError, match=words) as refused:
        check_file(path, model)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_gone_or_of_another_kind_says_nothing(tmp_path):
    check_file(tmp_path / "gone.safetensors", SimpleNamespace(parameterization="eps"))
    check_file(tmp_path / "m.ckpt", SimpleNamespace(parameterization="eps"))
