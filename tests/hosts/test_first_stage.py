"""The VAE of a WebUI's model, between pixels and latents."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.hosts.first_stage import FirstStage


class Vae(nn.Module):
    """Its numbers are too large for half precision; it hands out a sample, as SDXL's does."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor([factor, 1 / factor]).half())
        self.quant_conv = nn.Identity()

    def encode(self, pixels):
        large = pixels * self.factor[0] * self.factor[0] * self.factor[1] * self.factor[1]
        return torch.randn_like(self.quant_conv(torch.cat([large, large * 0 + 4], dim=1)))

    def decode(self, latents):
        return self.encode(latents)[:, :1] * 0 + latents * self.factor[0] * self.factor[0] * self.factor[1]


def first_stage(vae, shift=0.0):
    return FirstStage(vae, 0.5, torch.device("cpu"), "tiny", shift)


def test_a_vae_without_finite_numbers_in_half_precision_computes_in_full():
    vae, pixels = Vae(1024.0), torch.rand(1, 1, 4, 4) + 1
    before = vae.factor.detach().clone()
    mean, deviation = first_stage(vae).distribution(pixels)
    torch.testing.assert_close(mean, pixels * 0.5, rtol=1e-3, atol=0)
    torch.testing.assert_close(deviation, torch.full_like(mean, torch.e**2 * 0.5))
    with torch.no_grad():
        assert torch.isfinite(first_stage(vae).decoded(mean)).all()
    assert vae.factor.dtype is torch.float16
    assert torch.equal(vae.factor, before)


def test_a_vae_that_never_gives_numbers_is_a_sentence():
    with pytest.raises(ModelError, match="the VAE of tiny gives no finite numbers"):
        first_stage(Vae(1024.0)).distribution(torch.full((1, 1, 4, 4), torch.nan))


def test_latents_are_shifted_and_scaled_and_back():
    """Without a `quant_conv` the encoder's own output is what the distribution is made of."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.quant_conv, self.some = nn.Identity(), None, nn.Parameter(torch.ones(1))

        def encode(self, pixels):
            return self.encoder(torch.cat([pixels, torch.zeros_like(pixels)], dim=1))

        def decode(self, latents):
            return latents * self.some

    pixels, stage = torch.rand(1, 2, 4, 4), first_stage(Plain(), shift=0.25)
    mean, deviation = stage.distribution(pixels)
    torch.testing.assert_close(mean, (pixels - 0.25) * 0.5)
    torch.testing.assert_close(deviation, torch.full_like(pixels, 0.5))
    torch.testing.assert_close(stage.decoded(mean), pixels)
