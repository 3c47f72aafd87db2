"""CLIP by open_clip: here a stand-in of its interface, since neither it nor its weights come with the tests."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dreamartist_ext.engine.errors import FileError, ModelError, SettingError
from dreamartist_ext.evaluation.clip import ClipNet, read_weights
from dreamartist_ext.evaluation.eyes import Eyes
from dreamartist_ext.evaluation.features import FeatureNet

from .studio import a_concept, an_evaluation


class TinyClip(nn.Module):
    """The mean colour is the picture, and the number of letters the text."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def encode_image(self, pictures):
        assert pictures.shape[2:] == (16, 16)
        return pictures.mean((2, 3)) * self.scale

    def encode_text(self, tokens):
        return tokens


@pytest.fixture
def open_clip(monkeypatch):
    configs = {
        "tiny": {"vision_cfg": {"image_size": 16}, "text_cfg": {}},
        "fetches": {"vision_cfg": {"image_size": 16}, "text_cfg": {"hf_tokenizer_name": "x"}},
    }

    def create_model(name, pretrained):
        assert pretrained is None, "this would fetch"
        logging.warning("no weights")
        return TinyClip()

    fake = SimpleNamespace(
        get_model_config=configs.get,
        create_model=create_model,
        get_tokenizer=lambda name: lambda texts: torch.tensor([[float(len(t)), 1.0, 1.0] for t in texts]),
    )
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    return fake


@pytest.fixture
def weights(tmp_path):
    save_file({"scale": torch.tensor([1.0, 2.0, 3.0])}, tmp_path / "clip.safetensors")
    return tmp_path / "clip.safetensors"


def test_pictures_and_texts_are_directions(open_clip, weights, caplog):
    clip = ClipNet(weights, "tiny")
    assert not caplog.records
    logging.warning("later")
    assert [record.message for record in caplog.records] == ["later"]
    pictures = torch.rand(5, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert clip.pictures(pictures).norm(dim=1).tolist() == pytest.approx([1] * 5)
    assert clip.texts(["a", "longer"]).norm(dim=1).tolist() == pytest.approx([1] * 2)
    assert clip.network.scale.tolist() == [1, 2, 3]


def test_with_clip_the_prompt_is_measured_too(open_clip, weights, tmp_path):
    eyes = Eyes(FeatureNet(), ClipNet(weights, "tiny"))
    results = an_evaluation(tmp_path, [a_concept("blue", "blue")], eyes).run()
    assert results.eyes == "CLIP tiny"
    assert {f.section for f in results.figures if f.figure == "text_alignment"} == {
        "subjects",
        "styles",
        "surroundings",
    }


@pytest.mark.parametrize("form", ["plain", "nested", "archive"])
def test_weights_in_every_form_they_come_in(tmp_path, form):
    path = tmp_path / "clip.pt"
    tensors = {"module.scale": torch.ones(3).half()} if form == "nested" else {"scale": torch.ones(3).half()}
    if form == "archive":
        torch.jit.script(nn.Linear(2, 3)).save(str(path))
        assert set(read_weights(path)) == {"weight", "bias"}
        return
    torch.save({"state_dict": tensors, "epoch": 1} if form == "nested" else tensors, path)
    found = read_weights(path)
    assert set(found) == {"scale"}
    assert found["scale"].dtype == torch.float32


def test_what_is_missing_or_wrong_is_said(open_clip, weights, tmp_path, monkeypatch):
    with pytest.raises(FileError, match="there are no CLIP weights at"):
        ClipNet(tmp_path / "none.pt", "tiny")
    for name in ("unknown", "fetches"):
        with pytest.raises(SettingError, match=f"{name} is not a CLIP model that open_clip makes without fetching"):
            ClipNet(weights, name)
    (tmp_path / "bad.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(FileError, match=r"bad.pt is damaged"):
        ClipNet(tmp_path / "bad.pt", "tiny")
    save_file({"other": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"other.safetensors is not the weights of tiny"):
        ClipNet(tmp_path / "other.safetensors", "tiny")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(SettingError, match="needs the package open_clip_torch"):
        ClipNet(weights, "tiny")
