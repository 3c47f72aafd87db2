"""Pictures of a training as it is: DDIM through the host, with fresh conditioning each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from .guidance import combine
from .host import Cond, DiffusionHost
from .noise import predict_x0


@torch.no_grad()
def draw(
    host: DiffusionHost,
    prompts: Sequence[str],
    negative_prompts: Sequence[str],
    seeds: Sequence[int],
    latent_shape: tuple[int, int, int],
    steps: int = 20,
    guidance_scale: float = 5.0,
    on_step: Callable[[], object] = lambda: None,
) -> list[Image.Image]:
    """One picture per prompt by DDIM (arXiv 2010.02502, eq. 12 with sigma 0); call it inside a host session.

    latent_shape is (C, h, w). A seed gives the same noise on every device. `on_step` is called after each step and
    may raise to stop.
    """
    noise = [torch.randn(*latent_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    latents = torch.stack(noise).to(host.device)
    encode_negatives = getattr(host, "encode_negatives", host.encode_prompts)
    cond = host.join(encode_negatives(negative_prompts), host.encode_prompts(prompts))
    return denoised(host, latents, cond, trailing_timesteps(host.schedule.timesteps, steps), guidance_scale, on_step)


@torch.no_grad()
def redraw(
    host: DiffusionHost,
    prompts: Sequence[str],
    negative_prompts: Sequence[str],
    seeds: Sequence[int],
    start: Tensor,
    strength: float,
    steps: int = 20,
    guidance_scale: float = 5.0,
    on_step: Callable[[], object] = lambda: None,
) -> list[Image.Image]:
    """Pictures made from one: it gets the noise of the timestep at `strength` (0..1) of the way, and is drawn from
    there (SDEdit, arXiv 2108.01073; the WebUI's img2img). Call it inside a host session.

    start (3, H, W) in [-1, 1], sides a multiple of 8. Of `steps` steps the last round(steps * strength) are taken; with
    none the start comes back, as the VAE keeps it.
    """
    latents = host.encode_images(start[None].to(host.device)).repeat(len(seeds), 1, 1, 1)
    timesteps = trailing_timesteps(host.schedule.timesteps, steps)[steps - round(steps * strength) :]
    if timesteps:
        noise = [torch.randn(*latents.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        signal, sigma = host.schedule.coefficients(torch.full((len(seeds),), timesteps[0], device=host.device))
        latents = signal * latents + sigma * torch.stack(noise).to(latents)
    encode_negatives = getattr(host, "encode_negatives", host.encode_prompts)
    cond = host.join(encode_negatives(negative_prompts), host.encode_prompts(prompts))
    return denoised(host, latents, cond, timesteps, guidance_scale, on_step)


def denoised(
    host: DiffusionHost,
    latents: Tensor,
    cond: Cond,
    timesteps: Sequence[int],
    guidance_scale: float,
    on_step: Callable[[], object],
) -> list[Image.Image]:
    """From latents (B, C, h, w) with the noise of the first of falling `timesteps` to pictures; `cond` is joined."""
    for timestep, following in zip(timesteps, [*timesteps[1:], -1], strict=False):
        at = torch.full((len(latents),), timestep, device=host.device)
        uncond_pred, cond_pred = host.predict(latents.repeat(2, 1, 1, 1), at.repeat(2), cond).chunk(2)
        latents = ddim_step(host, latents, combine(uncond_pred, cond_pred, guidance_scale), at, following)
        on_step()
    return [to_image(picture) for part in latents.split(1) for picture in host.decode_latents(part)]


def trailing_timesteps(count: int, steps: int) -> list[int]:
    """`steps` timesteps from count - 1 down ("trailing" spacing, arXiv 2305.08891, table 2)."""
    return [round(count * (steps - i) / steps) - 1 for i in range(steps)]


def ddim_step(host: DiffusionHost, latents: Tensor, model_pred: Tensor, timesteps: Tensor, following: int) -> Tensor:
    """From timesteps (B,) to the timestep `following`; -1 is the clean picture."""
    clean = predict_x0(host.schedule, latents, model_pred, timesteps)
    if following < 0:
        return clean
    signal, sigma = host.schedule.coefficients(timesteps)
    noise = (latents - signal * clean) / sigma
    next_signal, next_sigma = host.schedule.coefficients(torch.full_like(timesteps, following))
    return next_signal * clean + next_sigma * noise


def to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W), about [-1, 1] -> an 8-bit RGB picture."""
    array = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(rearrange(array, "c h w -> h w c").cpu().numpy()))
