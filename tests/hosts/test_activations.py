"""What a U-Net keeps for its backward pass, computed without memory, against what it really keeps."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.shapes import SD15, unet_of
from dreamartist_ext.hosts.activations import CastByCuda, diffusers_inputs, free_memory, kept_for_backward
from dreamartist_ext.hosts.precision import halved

from ..family_models import host

MEBI = 2**20


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl", "sd1-inpainting"])
def model(request, tmp_path_factory):
    return host(tmp_path_factory.mktemp(request.param), request.param)


def really_kept(model, batch: int, side: int) -> int:
    """Bytes of the different tensors that autograd holds after a pass, without the weights."""
    found = {}

    def hold(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    states = torch.randn(batch, 77, model.parts.unet.config.cross_attention_dim, requires_grad=True)
    cond = states
    if model.parts.text_encoder_2 is not None:
        cond = {"crossattn": states, "vector": torch.randn(batch, model.parts.text_encoder_2.config.projection_dim)}
    with model.session(), torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        kept = model.predict(torch.randn(batch, 4, side, side), torch.zeros(batch, dtype=torch.long), cond)
    weights = {p.untyped_storage().data_ptr() for p in model.parts.unet.parameters()}
    assert kept.requires_grad
    return sum(storage.nbytes() for pointer, storage in found.items() if pointer not in weights)


def test_the_bytes_are_those_that_autograd_holds(model):
    with model.session():
        computed = model.kept_for_backward(2, 16, 16).plain
    real = really_kept(model, 2, 16)
    print(f"{model.name}: computed {computed}, held {real}")
    assert computed == pytest.approx(real, rel=0.1)


class Normed(nn.Module):
    """A norm, an activation and a convolution, of 8 channels of 16x16."""

    def __init__(self):
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, sample):
        return self.conv(nn.functional.silu(self.norm(sample)))


def kept_by_a_norm(is_cast_by_cuda: bool) -> int:
    module = Normed()
    halved(module, torch.bfloat16)

    def inputs(empty):
        return {"sample": empty(8, 16, 16).requires_grad_()}

    return kept_for_backward(module, torch.bfloat16, 1, inputs, is_cast_by_cuda).plain


def test_under_cudas_autocast_a_norm_keeps_four_bytes_a_number():
    """The norm its input, the activation its own, and the convolution its own; the norm the two moments of each group
    as well."""
    numbers = 8 * 16 * 16
    assert kept_by_a_norm(is_cast_by_cuda=False) == pytest.approx((2 + 2 + 2) * numbers, abs=32)
    assert kept_by_a_norm(is_cast_by_cuda=True) == pytest.approx((4 + 4 + 2) * numbers, abs=32)


def test_casts_are_those_of_autocast():
    half, full = torch.ones(1, 4, 4, dtype=torch.bfloat16), torch.ones(1, 4, 4)
    functional = nn.functional
    with CastByCuda(torch.bfloat16):
        assert functional.linear(full, half[0]).dtype is torch.bfloat16
        assert (full @ half).dtype is torch.bfloat16
        assert functional.conv1d(full, torch.ones(4, 4, 1)).dtype is torch.bfloat16
        assert functional.layer_norm(half, [4]).dtype is torch.float32
        assert functional.group_norm(half, 2).dtype is torch.float32
        assert half.softmax(dim=-1).dtype is torch.float32
        assert functional.interpolate(half, scale_factor=2.0).dtype is torch.float32
        assert functional.silu(half).dtype is torch.bfloat16
        assert (half + full).dtype is torch.float32
    assert (half @ half).dtype is torch.bfloat16


def test_what_is_computed_for_a_gpu_is_near_what_one_was_measured_to_hold():
    """A pair of SD 1.5's shape, 512x512, bf16, on an H100 (`benchmarks/runs/sd15-gpu.json`).

    Without less memory nothing of it comes from the measurement.
    """
    with torch.device("meta"):
        unet = unet_of(SD15, 512)
    halved(unet, torch.bfloat16)
    kept = kept_for_backward(unet, torch.bfloat16, 2, partial(diffusers_inputs, unet.config, 64, 64), True)
    assert kept.plain / MEBI == pytest.approx(2009.9, rel=0.1)
    assert kept.less / MEBI == pytest.approx(548.0, rel=0.1)


def test_less_is_less_and_both_grow_with_the_batch(model):
    with model.session():
        one, three = model.kept_for_backward(1, 16, 16), model.kept_for_backward(3, 16, 16)
        larger = model.kept_for_backward(1, 32, 32)
    assert 0 < one.less < one.plain
    assert (three.plain, three.less) == (3 * one.plain, 3 * one.less)
    assert 3 < larger.plain / one.plain <= 4.1


def test_the_model_is_not_touched(model):
    unet = model.parts.unet
    called = []
    hook = unet.register_forward_hook(lambda *_: called.append(1))
    before = {name: (id(p), p.data_ptr(), p.device.type) for name, p in unet.named_parameters()}
    attention = torch.nn.functional.scaled_dot_product_attention
    with model.session():
        model.kept_for_backward(1, 8, 8)
    hook.remove()
    assert {name: (id(p), p.data_ptr(), p.device.type) for name, p in unet.named_parameters()} == before
    assert torch.nn.functional.scaled_dot_product_attention is attention
    assert called == []


def test_blocks_computed_twice_give_the_same_gradient_to_the_bit(model):
    def gradient(inside):
        states = torch.randn(
            2, 77, model.parts.unet.config.cross_attention_dim, generator=torch.Generator().manual_seed(1)
        )
        states.requires_grad_(True)
        cond = states
        if model.parts.text_encoder_2 is not None:
            cond = {"crossattn": states, "vector": torch.ones(2, model.parts.text_encoder_2.config.projection_dim)}
        with model.session(), inside:
            noisy = torch.ones(2, 4, 8, 8)
            return torch.autograd.grad(model.predict(noisy, torch.tensor([5, 900]), cond).square().sum(), states)[0]

    assert torch.equal(gradient(nullcontext()), gradient(model.less_memory()))


@pytest.mark.parametrize("asks_metal", [True, False])
def test_on_a_mac_what_is_free_is_what_metal_or_the_machine_leaves(monkeypatch, asks_metal):
    """Against stand-ins for torch.mps: no machine here has one."""
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 3_000)
    if asks_metal:
        monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10_000, raising=False)
    else:
        monkeypatch.delattr(torch.mps, "recommended_max_memory", raising=False)
        monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 15, "SC_PAGE_SIZE": 1_000}.get)
    assert free_memory(torch.device("mps")) == 7_000
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 30_000)
    assert free_memory(torch.device("mps")) == 0


def test_a_gpu_without_a_number_is_the_current_one(monkeypatch):
    """As the WebUI names it; older versions of torch want a number where they say what is free."""
    asked = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (asked.append(device) or 1_000, 9_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert free_memory(torch.device("cuda")) == 1_300
    assert free_memory(torch.device("cuda:1")) == 1_300
    assert asked == [3, 1]


def test_free_memory_is_known_or_nothing():
    assert free_memory(torch.device("cpu")) >= 0
    assert free_memory(torch.device("meta")) == 0
