"""Joint training of the U-Net and the text encoder on cached latents."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from . import drawings
from .shapes import TIMESTEPS, TOKENS, alphas_cumprod, make_text_encoder, make_unet

MIN_SNR = 5.0  # arXiv 2303.09556
TOWARDS_NOISE = 0.75  # t = 1000 u^0.75: layout and colour are decided at the noisy end
# The loss of eps weighs an error of the picture by the SNR, which is 2e-4 at the last timestep: what is decided there,
# the shape that a style gives a thing, would hardly be learned. SNR^-0.5 is half way to the loss of the picture itself.
NOISY_WEIGHT = -0.5
EMA_DECAY = 0.999
SHORT_TOKENS = 20  # the longest caption has 13


class Captioned:
    """Random latents with captions and token ids."""

    def __init__(self, folder: Path, seed: int) -> None:
        cached = load_file(folder / "latents.safetensors")
        self.latents = cached["latents"].float() * cached["scaling_factor"]
        self.labels = json.loads((folder / "latent_labels.json").read_text())
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.dice = random.Random(seed)
        self._ids: dict[str, list[int]] = {}

    def next(self, count: int, tokens: int = TOKENS) -> tuple[torch.Tensor, torch.Tensor]:
        """latents (B, 4, H, W), token ids (B, tokens)"""
        latents, ids = [], []
        for _ in range(count):
            i, b = self.dice.randrange(len(self.labels)), self.dice.randrange(len(drawings.BACKGROUND_NAMES))
            latents.append(self.latents[i, b, self.dice.randrange(self.latents.shape[2])])
            text = drawings.caption(*self.labels[i], drawings.BACKGROUND_NAMES[b], self.dice)
            if text not in self._ids:
                self._ids[text] = self.tokenizer(text, padding="max_length", max_length=TOKENS).input_ids
            ids.append(self._ids[text])
        return torch.stack(latents), torch.tensor(ids)[:, :tokens]


def train(
    folder: Path,
    snapshot: Path,
    minutes: float,
    batch: int = 32,
    peak_lr: float = 6e-4,
    final_share: float = 0.02,
    widths: tuple[int, ...] = (96, 192),
    attention: tuple[int, ...] = (1,),
    seed: int = 0,
    init: Path | None = None,
) -> None:
    """Train for `minutes` with a rate that falls to `final_share` of its peak; an existing snapshot is
    continued, weights, moving averages and optimizer state alike. `init` is an exported model to start from."""
    data = Captioned(folder, seed)
    torch.manual_seed(seed)
    unet, text = _models(data.tokenizer, widths, attention, None if snapshot.exists() else init)
    parameters = [*unet.parameters(), *text.parameters()]
    ema = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=peak_lr, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
    step = 0
    if snapshot.exists():
        step = _restore(snapshot, parameters, ema, optimizer)
        data.dice.seed(seed + step)
        torch.manual_seed(seed + step)
    abar = alphas_cumprod()
    started, first, losses = time.monotonic(), step, []
    seconds = minutes * 60
    while (passed := time.monotonic() - started) < seconds:
        share = passed / seconds
        lr = peak_lr * min(1.0, (step - first + 1) / 100) * _fall(share, final_share)
        for group in optimizer.param_groups:
            group["lr"] = float(lr)
        # Most of a caption's 77 tokens are padding, and cost as much as the U-Net: seldom all of them, but at the end
        tokens = TOKENS if step % 5 == 0 or share > 0.9 else SHORT_TOKENS
        loss = _loss(unet, text, *data.next(batch, tokens), abar)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        torch._foreach_lerp_(ema, [p.detach() for p in parameters], 1 - min(EMA_DECAY, step / (step + 30)))
        losses.append(loss.item())
        if step % 100 == 0:
            speed = (step - first) * batch / passed
            print(
                f"{passed:.0f}s step {step} loss {np.mean(losses):.4f} lr {lr:.1e} {speed:.1f} pictures/s", flush=True
            )
            losses.clear()
        if step % 500 == 0:
            _save(snapshot, parameters, ema, optimizer, step, widths, attention)
    _save(snapshot, parameters, ema, optimizer, step, widths, attention)


def _models(
    tokenizer: CLIPTokenizer, widths: tuple[int, ...], attention: tuple[int, ...], init: Path | None
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    unet = make_unet(widths, attention).to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # on a CPU faster to train than the fused kind
    text = make_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    text.set_attn_implementation("eager")  # as above
    if init is not None:
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(init, subfolder="unet").float().state_dict())
        text.load_state_dict(CLIPTextModel.from_pretrained(init, subfolder="text_encoder").float().state_dict())
    return unet, text


def _fall(share: float, final_share: float) -> float:
    """Of the learning rate: whole for a fifth of the time, then a cosine down to `final_share`."""
    decay = 0.5 * (1 + np.cos(np.pi * max(0.0, (share - 0.2) / 0.8)))
    return final_share + (1 - final_share) * decay


def _restore(snapshot: Path, parameters, ema, optimizer) -> int:  # noqa: ANN001
    """Put a snapshot's numbers in; returns its step."""
    state = torch.load(snapshot, weights_only=True)
    for target, source in zip(parameters + ema, state["weights"] + state["ema"], strict=True):
        target.data.copy_(source)
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def _loss(unet, text, latents: torch.Tensor, ids: torch.Tensor, abar: torch.Tensor) -> torch.Tensor:  # noqa: ANN001
    noise = torch.randn_like(latents)
    # one timestep from each of B equal shares: less variance than B free draws
    u = (torch.randperm(len(latents)) + torch.rand(len(latents))) / len(latents)
    timesteps = (TIMESTEPS * u**TOWARDS_NOISE).long().clamp(0, TIMESTEPS - 1)
    a = abar[timesteps][:, None, None, None]
    noisy = (a.sqrt() * latents + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = unet(noisy, timesteps, text(ids).last_hidden_state).sample
    snr = abar[timesteps] / (1 - abar[timesteps])
    weight = snr.clamp(max=MIN_SNR) / snr * snr.clamp(max=MIN_SNR) ** NOISY_WEIGHT
    return ((prediction.float() - noise).square().mean((1, 2, 3)) * weight).mean()


def _save(path, weights, ema, optimizer, step, widths, attention) -> None:  # noqa: ANN001
    temporary = path.with_suffix(".tmp")
    state = {"ema": ema, "optimizer": optimizer.state_dict(), "step": step}
    state |= {"weights": [p.detach() for p in weights], "widths": widths, "attention": attention}
    torch.save(state, temporary)
    temporary.replace(path)
