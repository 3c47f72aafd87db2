"""A host small enough to write out in numpy: conditioning is a mean of vectors, the U-Net one tanh layer."""

from __future__ import annotations

from contextlib import contextmanager

import torch

from dreamartist_ext.engine.host import Kept
from dreamartist_ext.engine.noise import NoiseSchedule, PredictionType

WIDTH, LATENT = 6, (4, 2, 2)
SIZE = 16  # numbers in a latent


def schedule(prediction_type: str = "epsilon", steps: int = 50) -> NoiseSchedule:
    betas = torch.linspace(0.00085**0.5, 0.1**0.5, steps, dtype=torch.float64) ** 2
    return NoiseSchedule(torch.cumprod(1 - betas, 0), PredictionType(prediction_type))


class FakeHost:
    """Works in float64, so that finite differences have digits to spare."""

    def __init__(self, prediction_type: str = "epsilon") -> None:
        generator = torch.Generator().manual_seed(7)
        self.schedule = schedule(prediction_type)
        self.device = torch.device("cpu")
        self.weight = torch.randn(WIDTH, SIZE, generator=generator, dtype=torch.float64)
        self.mix = torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64) / 4
        self.embeddings = {}
        self.open_sessions = self.open_less = self.free = 0

    def identity(self):
        return f"fake {self.schedule.prediction_type.value}"

    @contextmanager
    def session(self):
        self.open_sessions += 1
        try:
            yield
        finally:
            self.open_sessions -= 1

    @contextmanager
    def bind(self, embeddings):
        before, self.embeddings = self.embeddings, {**self.embeddings, **embeddings}
        try:
            yield
        finally:
            self.embeddings = before

    def encode_images(self, pixels):
        return pixels.double().reshape(len(pixels), -1)[:, :SIZE].reshape(-1, *LATENT)

    def encode_posterior(self, pixels):
        mean = self.encode_images(pixels)
        return mean, 0.1 + mean.abs() / 4

    def attention_features(self, pixels):
        hidden = self.encode_images(pixels).flatten(2).transpose(1, 2)
        return hidden, hidden

    def decode_latents(self, latents):
        return latents[:, :3]

    def encode_prompts(self, prompts):
        nothing = torch.zeros(WIDTH, dtype=torch.float64)
        return torch.stack([self.embeddings[p.split()[-1]]["clip"].mean(0) if p else nothing for p in prompts])

    def join(self, uncond, cond):
        return torch.cat([uncond, cond])

    def predict(self, noisy_latents, timesteps, cond):
        flat = noisy_latents.flatten(1) @ self.mix + cond @ self.weight + timesteps[:, None].double() / 50
        return torch.tanh(flat).reshape(noisy_latents.shape)

    def kept_for_backward(self, batch, height, width):
        return Kept(100 * batch * height * width, 10 * batch * height * width)

    def free_memory(self):
        return self.free

    @contextmanager
    def less_memory(self):
        self.open_less += 1
        try:
            yield
        finally:
            self.open_less -= 1

    def context_around(self, pixels, hole):
        return None

    def mean_norms(self):
        return {"clip": 2.0}

    def initial_vectors(self, text, count):
        generator = torch.Generator().manual_seed(len(text))
        return {"clip": torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)}
