"""What a session takes off the WebUI's model, and puts back."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dreamartist_ext.hosts.a1111.session import unpacked
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
