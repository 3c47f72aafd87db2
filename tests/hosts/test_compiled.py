"""A compiled U-Net: for passes with a gradient only, and gone on every way out."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.hosts.compiled import compiled

from ..engine.test_trainer import config
from ..models import tiny_host
from .test_precision import PIXELS, TrainingPicture

LATENTS, TIMESTEPS = torch.linspace(-2, 2, 4 * 64).reshape(1, 4, 8, 8), torch.tensor([500])


@pytest.fixture
def host(tmp_path):
    return tiny_host(tmp_path)


@pytest.fixture
def calls(monkeypatch):
    """What was compiled, and how often that was called; nothing is really compiled."""
    found = []

    def count(forward, mode, dynamic):
        assert not dynamic
        found.append(0)

        def counted(*arguments, **named):
            found[-1] += 1
            return forward(*arguments, **named)

        return counted

    monkeypatch.setattr(torch, "compile", count)
    return found


def test_only_passes_with_a_gradient_are_compiled_and_the_forward_is_as_before(host, calls):
    cond = host.encode_prompts(["a cat"]).detach().requires_grad_(True)
    with pytest.raises(ValueError, match="stop"), compiled(host.parts.unet), compiled(host.parts.unet):
        host.predict(LATENTS, TIMESTEPS, cond)
        with torch.no_grad():
            host.predict(LATENTS, TIMESTEPS, cond)
        raise ValueError("stop")
    assert calls == [1]
    assert "forward" not in vars(host.parts.unet)


def test_a_session_of_a_compiled_host_trains_to_the_same_and_knows_what_it_keeps(host, calls):
    def trained() -> list[float]:
        picture = TrainingPicture(PIXELS, None, "", "x")
        made = Training(host, config(steps=3, template="[name]", less_memory="on"), [picture])
        return [float(report.loss) for report in made.run()]

    plain, kept = trained(), host.kept_for_backward(2, 8, 8)
    assert calls == []
    host.is_compiled = True
    assert trained() == plain
    assert calls == [3]
    with host.session():
        assert host.kept_for_backward(2, 8, 8) == kept
    assert "forward" not in vars(host.parts.unet)


@pytest.mark.slow
@pytest.mark.parametrize("less", [False, True])
def test_torch_can_trace_the_u_net_and_comes_to_the_same_bits(host, monkeypatch, less):
    """With torch's tracing but without its generated code, which takes minutes to make."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda forward, **_: real(forward, backend="aot_eager", dynamic=False))
    cond = host.encode_prompts(["a cat"]).detach().requires_grad_(True)

    def bits() -> list[torch.Tensor]:
        prediction = host.predict(LATENTS, TIMESTEPS, cond)
        return [prediction.detach(), torch.autograd.grad(prediction.square().sum(), cond)[0]]

    with host.session():
        expected = bits()
        with compiled(host.parts.unet), host.less_memory() if less else nullcontext():
            assert all(torch.equal(*pair) for pair in zip(bits(), expected, strict=True))
