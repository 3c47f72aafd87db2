"""Without a negative it is textual inversion: the same vectors as a second implementation, in plain torch and without
the engine or a host, made the way in which diffusers' example trains (new rows in the text encoder's token table)."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.draws import Draws
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.hosts.diffusers.host import DiffusersHost

from ..models import tiny_components

STEPS, BATCH, WORD, START = 6, 2, "mydog", "cat"


def settings(**values) -> TrainConfig:
    common = {"name": WORD, "use_negative": False, "initialization_text": START, "template": "a p of [name]"}
    return TrainConfig(**common, steps=STEPS, batch_size=BATCH, seed=4, **values)


def inverted(parts, config: TrainConfig, pixels: torch.Tensor) -> torch.Tensor:
    """Textual inversion (arXiv 2208.01618): every row of the token table has a gradient, and all but the new ones are
    put back after each step."""
    tokenizer, encoder, unet = parts.tokenizer, parts.text_encoder, parts.unet
    new = [f"<{WORD}-{i}>" for i in range(config.vectors)]
    (first,) = tokenizer(START, add_special_tokens=False).input_ids
    assert tokenizer.add_tokens(new) == len(new)
    rows = tokenizer.convert_tokens_to_ids(new)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = encoder.get_input_embeddings()
    with torch.no_grad():
        table.weight[rows] = table.weight[first].clone()
    untouched = table.weight.detach().clone()
    others = torch.ones(len(tokenizer), dtype=torch.bool)
    others[rows] = False
    for module in (unet, parts.vae, encoder):
        module.requires_grad_(False).eval()
    table.weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [table.weight],
        lr=float(config.learning_rate),
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )
    with torch.no_grad():
        latents = parts.vae.encode(pixels[None]).latent_dist.mean * parts.vae.config.scaling_factor
    latents = latents.repeat(BATCH, 1, 1, 1)
    prompt = config.template.replace("[name]", " ".join(new))
    ids = tokenizer([prompt] * BATCH, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    for step in range(STEPS):
        draws = Draws(config.seed, step)
        noise = draws.noise(latents.shape)
        timesteps = draws.integers(parts.scheduler.config.num_train_timesteps, BATCH)
        noisy = parts.scheduler.add_noise(latents, noise, timesteps)
        states = encoder(ids.input_ids)[0]
        prediction = unet(noisy, timesteps, states).sample
        is_eps = parts.scheduler.config.prediction_type == "epsilon"
        target = noise if is_eps else parts.scheduler.get_velocity(latents, noise, timesteps)
        functional.mse_loss(prediction, target).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            table.weight[others] = untouched[others]
    return table.weight.detach()[rows]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("values", [{"vectors": 1}, {"vectors": 3, "weight_decay": 0.01, "learning_rate": "0.02"}])
def test_plain_mode_is_textual_inversion(tmp_path, prediction_type, values):
    config = settings(**values)
    pixels = torch.linspace(-1, 1, 3 * 64 * 64).reshape(3, 64, 64)
    parts = tiny_components(tmp_path, prediction_type)
    theirs = inverted(copy.deepcopy(parts), config, pixels)
    host = DiffusersHost(parts, torch.device("cpu"), torch.float32)
    training = Training(host, config, [TrainingPicture(pixels, None, "", "x")])
    start = training.pair.positive["clip"].detach().clone()
    for _ in training.run():
        pass
    ours = training.pair.positive["clip"].detach()
    assert training.pair.negative is None
    assert (ours - start).abs().mean() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
