"""An inpainting model that paints a part: what it is shown is the rest of the very picture that it learns."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training

from ..family_models import host


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return host(tmp_path_factory.mktemp("sd1-inpainting"), "sd1-inpainting")


def pictures(count=2, masked=(True, True)):
    """Random pictures whose right half is painted, as greys."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.full((64, 64), 64.0)
    mask[:, 32:] = 255
    return [
        TrainingPicture(torch.rand(3, 64, 64, generator=generator) * 2 - 1, mask if masked[i] else None, "", f"{i}.png")
        for i in range(count)
    ]


def train(model, config, shown, monkeypatch):
    """The losses, and the context of every prediction."""
    seen, real = [], type(model).predict

    def predict(self, latents, timesteps, cond, context=None):
        seen.append(context)
        return real(self, latents, timesteps, cond, context)

    monkeypatch.setattr(type(model), "predict", predict)
    return [float(report.loss) for report in Training(model, config, shown).run()], seen


CONFIG = {"name": "mycat", "steps": 2, "batch_size": 2, "initialization_text": "cat", "template": "[name]"}


def test_the_context_is_the_one_of_diffusers_own_pipeline(model, monkeypatch):
    parts = model.parts
    bias = parts.vae.quant_conv.bias
    monkeypatch.setattr(bias, "data", bias.data - 100 * (torch.arange(8) >= 4))  # its sample is then the mean
    pipeline = StableDiffusionInpaintPipeline(
        parts.vae,
        parts.text_encoder,
        parts.tokenizer,
        parts.unet,
        parts.scheduler,
        None,
        None,
        requires_safety_checker=False,
    )
    pixels = pictures(1)[0].pixels[None]
    hole = torch.zeros(1, 1, 64, 64)
    hole[..., 32:] = 1
    mask, seen = pipeline.prepare_mask_latents(
        hole, pixels * (hole < 0.5), 1, 64, 64, torch.float32, torch.device("cpu"), None, False
    )
    torch.testing.assert_close(model.context_around(pixels, hole), torch.cat([mask, seen], dim=1), rtol=0, atol=1e-4)


def test_every_sample_is_shown_its_own_picture(model, monkeypatch):
    shown = pictures()
    config = TrainConfig(**CONFIG, inpaint="painted")
    losses, seen = train(model, config, shown, monkeypatch)
    hole = (shown[0].mask >= 128).float()[None, None]
    own = [model.context_around(picture.pixels[None], hole)[0] for picture in shown]
    assert not torch.allclose(own[0], own[1])
    for context in seen:
        assert len(context) == 2
        assert all(any(torch.equal(one, each) for each in own) for one in context)
        assert not torch.equal(context[0], context[1]), "both pictures are in each batch"
    whole, nothing = train(model, TrainConfig(**CONFIG), shown, monkeypatch)
    assert losses != whole
    assert nothing == [None, None]


def test_a_picture_without_a_mask_is_painted_whole(model, monkeypatch):
    _, seen = train(model, TrainConfig(**CONFIG, inpaint="painted"), pictures(2, (False, False)), monkeypatch)
    whole = model._context.like(torch.zeros(1, 4, 8, 8))[0]
    for context in seen:
        torch.testing.assert_close(context, torch.stack([whole, whole]))


def test_other_models_do_not_care(tmp_path, monkeypatch):
    plain, shown = host(tmp_path, "sd1"), pictures()
    losses, seen = train(plain, TrainConfig(**CONFIG, inpaint="painted"), shown, monkeypatch)
    assert seen == [None, None]
    assert losses == train(plain, TrainConfig(**CONFIG), shown, monkeypatch)[0]
