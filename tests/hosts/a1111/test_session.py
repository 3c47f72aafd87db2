"""What a session takes off the WebUI's model, and puts back."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.hosts.a1111.session import differentiable_attention, together, unpacked
from dreamartist_ext.hosts.put_back import own_forwards


def test_a_forward_put_on_a_single_module_is_away_inside_and_back_after_an_error():
    part = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    other = torch.zeros_like
    part[1].forward = other
    with pytest.raises(RuntimeError, match="inside"), own_forwards(part):
        assert part(torch.ones(1, 2)).any()
        raise RuntimeError("inside")
    assert part[1].forward is other
    assert not part(torch.ones(1, 2)).any()
    assert "forward" not in vars(part[0])


def test_weights_in_eight_bits_can_be_differentiated_inside_and_are_the_same_to_the_bit(monkeypatch):
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(devices=SimpleNamespace(dtype=torch.float32)))
    every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)
    every = every[torch.isfinite(every.float())]
    model = nn.Sequential(nn.Linear(len(every), 1, bias=False), nn.Linear(1, 1)).requires_grad_(False)
    model[0].weight.data = every[None].clone()
    inputs = torch.ones(1, len(every), requires_grad=True)
    with pytest.raises(RuntimeError, match="inside"), unpacked(model):
        model(inputs).sum().backward()
        raise RuntimeError("inside")
    assert inputs.grad.abs().max() > 0
    assert model[0].weight.dtype is torch.float8_e4m3fn
    assert torch.equal(model[0].weight.view(torch.uint8), every.view(torch.uint8)[None])
    assert model[1].weight.dtype is torch.float32


@pytest.fixture
def reforge(monkeypatch):
    """What of reForge a session touches; its U-Net's attention is ldm_patched's, and weights are moved by it."""
    attention = SimpleNamespace(optimized_attention=1, optimized_attention_masked=2, attention_pytorch=3)
    loaded, plain = [], SimpleNamespace(CrossAttention=type("CrossAttention", (), {"forward": 4}))
    management = SimpleNamespace(load_models_gpu=lambda models, memory_required: loaded.append(len(models)))
    devices = SimpleNamespace(dtype_unet=torch.float32)
    forge_clip = SimpleNamespace(move_clip_to_gpu=lambda: loaded.append("moved"))
    for name, module in {
        "modules": SimpleNamespace(devices=devices, sd_hijack_optimizations=SimpleNamespace()),
        "modules_forge": SimpleNamespace(forge_clip=forge_clip),
        "ldm": SimpleNamespace(modules=SimpleNamespace(attention=plain)),
        "ldm.modules": SimpleNamespace(attention=plain),
        "ldm.modules.attention": plain,
        "sgm": SimpleNamespace(modules=SimpleNamespace(attention=plain)),
        "sgm.modules": SimpleNamespace(attention=plain),
        "sgm.modules.attention": plain,
        "ldm_patched": SimpleNamespace(),
        "ldm_patched.modules": SimpleNamespace(model_management=management),
        "ldm_patched.ldm.modules.attention": attention,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    return SimpleNamespace(attention=attention, plain=plain, clip=forge_clip, loaded=loaded)


def test_attention_of_ldm_patched_can_be_differentiated_inside_and_is_back_after_an_error(reforge):
    with pytest.raises(RuntimeError, match="inside"), differentiable_attention():
        assert reforge.attention.optimized_attention == reforge.attention.optimized_attention_masked == 3
        assert reforge.plain.CrossAttention.forward == 4, "there is nothing to put in its place"
        raise RuntimeError("inside")
    assert (reforge.attention.optimized_attention, reforge.attention.optimized_attention_masked) == (1, 2)


def patched_model(device="cpu"):
    with torch.inference_mode():
        model = nn.Module()
        model.unet, model.clip, model.vae = (nn.Linear(2, 2) for _ in range(3))
    patchers = [SimpleNamespace(model=part, load_device=torch.device(device)) for part in model.children()]
    unet, clip, vae = patchers
    model.forge_objects_original = SimpleNamespace(
        unet=unet, clip=SimpleNamespace(patcher=clip), vae=SimpleNamespace(patcher=vae)
    )
    return model


def test_weights_of_reforge_are_brought_together_once_and_can_be_trained_through(reforge):
    model = patched_model()
    weight, move = model.unet.weight, reforge.clip.move_clip_to_gpu
    assert weight.is_inference()
    with together(model, "tiny", "reForge"):
        reforge.clip.move_clip_to_gpu()
        inputs = torch.ones(1, 2, requires_grad=True)
        model.unet(inputs).sum().backward()
    assert reforge.loaded == [3], "nothing is moved while prompts are encoded"
    assert model.unet.weight is weight
    assert reforge.clip.move_clip_to_gpu is move


def test_weights_that_reforge_leaves_elsewhere_are_refused(reforge):
    with pytest.raises(ModelError, match="reForge keeps a part of tiny outside of the GPU"):
        together(patched_model("cuda"), "tiny", "reForge").__enter__()


def test_automatic1111s_model_is_left_where_it_is():
    with together(nn.Linear(1, 1), "tiny", "AUTOMATIC1111"):
        pass
