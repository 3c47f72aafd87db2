"""Words whose meaning is only in their vectors, so that a learned word finds a space that is lived in.

Every training drawing has a code: a few vectors that stand for it in captions, "an emoji of a <its code> on a red
background". A mapper makes them from the drawing as it lies in the picture (views.py), so that the space is smooth and
a new drawing already has a place in it. The same code is seen on many backgrounds, which the words name: a code does
not hold the background. The text encoder is the shipped one, doubled where it is not yet (widening.py); it and the
U-Net are trained on.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import CLIPTextModel, CLIPTokenizer

from . import drawings, scenes, views
from .captions import MAX_VECTORS, USUAL_VECTORS, Captions, Line, Said, code_caption, scene_line
from .export import write_folder
from .latents import BF16_PAYS
from .seeing import seeing_unet
from .shapes import TIMESTEPS, TOKENS, alphas_cumprod
from .widening import widened_text_encoder, widened_unet

WIDTH = 384  # of the wide encoder
CODE_SIZE = 0.3  # root mean square of a code's vectors, held: what inversion reaches in some hundred steps of 0.01
CODE_NOISE = 0.15  # of that size, at most
# How loudly the U-Net reads a code's own half. The encoder adds up to 32 where a code has 0.3, so this brings a code to
# a third of a word: without any training six vectors then went the whole way on a pineapple, at 0.5 half of it.
STRAIGHT = 32.0
ALL_TOKENS_EVERY = 10  # steps; a caption's padding costs as much as its words
MAX_SNR = 5.0
TOWARDS_NOISE = 0.7  # t = 1000 u^0.7
# Of the SNR: -0.5 is half way from the loss of eps to that of the picture itself, and -1 the whole way. What a code
# says is decided where the SNR is small.
NOISY_WEIGHT = -0.75
EMA_DECAY = 0.999  # a step
EMA_EVERY = 4  # steps: passing over all weights costs a third of a step of eight
# For batches of 32. Weights that are trained already only suffer at five times theirs; new ones learn nothing at it.
RATES = {"text": 6e-5, "unet": 4e-5, "new": 1e-3, "mapper": 1.5e-3}
NEW = ("down_blocks.0.attentions", "up_blocks.1.attentions")  # of a U-Net whose first level begins to see the text
WARM_UP = 100  # steps
START_WORD = "*"  # the WebUI's neutral word for a beginning


class Codes(nn.Module):
    """The code of every view, by a mapper."""

    def __init__(self, seen: Tensor, width: int, start: Tensor) -> None:
        """seen (N, 4, S, S) fp16, start (width,): the word that every code begins near"""
        super().__init__()
        whole, hidden = seen.float().flatten(1), 1024
        self.width = width
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("middle", whole.mean(0))
        self.register_buffer("spread", whole.std())
        self.mapper = nn.Sequential(
            nn.Linear(whole.shape[1], hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, MAX_VECTORS * width)
        )
        nn.init.normal_(self.mapper[-1].weight, std=1 / hidden**0.5)
        with torch.no_grad():
            self.mapper[-1].bias.copy_(start.repeat(MAX_VECTORS))

    def forward(self, rows: Tensor, noise: float) -> Tensor:
        """rows (B,) of the views -> (B, MAX_VECTORS, width)"""
        code = self.of(self.seen[rows])
        return code + noise * CODE_NOISE * CODE_SIZE * torch.randn_like(code) * torch.rand_like(code[:, :1, :1])

    def of(self, seen: Tensor) -> Tensor:
        """(B, 4, S, S) -> (B, MAX_VECTORS, width)"""
        code = self.mapper((seen.float().flatten(1) - self.middle) / self.spread).view(-1, MAX_VECTORS, self.width)
        return CODE_SIZE * code / code.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)

    @torch.no_grad()
    def mean(self) -> Tensor:
        """(MAX_VECTORS, width): the middle of the space, a good start for any new word"""
        parts = [self.of(part).sum(0) for part in self.seen.split(1024)]
        return sum(parts) / len(self.seen)


@dataclass(frozen=True)
class Mix:
    """The share of captions in words, and of these the share about known things; a factor of the rates of what is
    trained already; the share of pictures that are scenes."""

    words: float = 1 / 3
    known: float = 0.6
    rate: float = 1.0
    scenes: float = 0.0

    def in_words(self, batch: int) -> Tensor:
        """(B,): which of a batch, the same places in every one"""
        return torch.arange(batch) >= round(batch * (1 - self.words))


class Captioned:
    """Views with captions by code and in words, and scenes."""

    def __init__(self, folder: Path, seed: int, mix: Mix = Mix()) -> None:
        self.mix, self.views, self.dice = mix, views.load(folder), random.Random(seed)
        self.labels = [tuple(label) for label in json.loads((folder / "labels.json").read_text())]
        if mix.scenes:
            self.scene_latents = np.load(folder / "scenes.npy", mmap_mode="r")  # (N, 4, 16, 16), scaled
            self.scenes = np.flatnonzero(np.load(folder / "scenes_done.npy")).tolist()
            self.world = scenes.World(drawings.load(folder).rgba)
        known = set(drawings.training_concepts())
        named = self.views.named & (self.views.background >= 0)
        self.pictured = (self.views.background >= 0).nonzero().flatten().tolist()
        self.named = named.nonzero().flatten().tolist()
        self.known = [row for row in self.named if self.labels[self.views.drawing[row]][0] in known]

    def next(self, count: int) -> tuple[Tensor, list[Line]]:
        """latents (B, 4, 16, 16)"""
        latents, lines = [], []
        for in_words in self.mix.in_words(count).tolist():
            if self.dice.random() < self.mix.scenes:
                number = self.dice.choice(self.scenes)
                latents.append(torch.from_numpy(self.scene_latents[number].astype(np.float32)))
                lines.append(self.scene_line(number, in_words))
                continue
            of_words = self.known if self.dice.random() < self.mix.known else self.named
            row = self.dice.choice(of_words if in_words else self.pictured)
            concept, style = self.labels[self.views.drawing[row]]
            background = drawings.BACKGROUND_NAMES[self.views.background[row]]
            latents.append(self.views.latents[row].float())
            if in_words:
                lines.append(Line(drawings.caption(concept, style, background, self.dice)))
            elif self.dice.random() < 0.04:
                lines.append(Line(""))
            else:
                lines.append(code_caption(row, style, background, self.dice))
        return torch.stack(latents), lines

    def scene_line(self, number: int, in_words: bool) -> Line:
        """One in twenty is empty; with codes, one of two things is a word in half of the captions."""
        if self.dice.random() < 0.05:
            return Line("")
        both = self.dice.choice([(True, True), (True, True), (True, False), (False, True)])
        line = scene_line(self.world.scene(number), self.labels, (False, False) if in_words else both, self.dice)
        return Line(line.text, tuple((self.views.in_scenes(drawing), vectors) for drawing, vectors in line.coded))


class Batches(IterableDataset):
    """Latents (B, 4, 16, 16) and their captions of every step from `first` on; a step is the same, whoever makes it,
    and whether or not the training stopped before it."""

    def __init__(self, data: Captioned, captions: Captions, batch: int, seed: int, first: int) -> None:
        self.data, self.captions, self.batch, self.seed, self.first = data, captions, batch, seed, first

    def __iter__(self) -> Iterator[tuple[Tensor, Said]]:
        worker = get_worker_info()
        step, stride = (self.first, 1) if worker is None else (self.first + worker.id, worker.num_workers)
        while True:
            self.data.dice.seed(f"{self.seed} {step}")
            latents, lines = self.data.next(self.batch)
            yield latents, self.captions(lines, TOKENS if step % ALL_TOKENS_EVERY == 0 else None)
            step += stride


class Student:
    """What is trained."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        codes: Codes,
        tokenizer: CLIPTokenizer,
        device: str = "cpu",
    ) -> None:
        self.unet, self.text, self.codes = unet.to(device), text.to(device), codes.to(device)
        self.device = torch.device(device)
        self.captions = Captions(tokenizer)
        unet.set_attn_processor(AttnProcessor())  # on a CPU faster to train than the fused kind
        text.set_attn_implementation("eager")  # as above
        groups = {
            "text": list(text.parameters()),
            "unet": [p for name, p in unet.named_parameters() if not name.startswith(NEW)],
            "new": [p for name, p in unet.named_parameters() if name.startswith(NEW)],
            "mapper": list(codes.mapper.parameters()),
        }
        self.groups = {name: group for name, group in groups.items() if group}
        self.parameters = [p for group in self.groups.values() for p in group]

    def encode(self, said: Said) -> Tensor:
        """(B, tokens, width)"""
        if not len(said.drawn):
            return self.text(said.ids).last_hidden_state
        vectors = self.codes(said.drawn, noise=1.0)
        row, place = (said.codes >= 0).nonzero(as_tuple=True)

        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            return output.index_put((row, place), vectors[said.codes[row, place], said.which[row, place]].to(output))

        handle = self.text.get_input_embeddings().register_forward_hook(hook)
        try:
            return self.text(said.ids).last_hidden_state
        finally:
            handle.remove()

    def loss(self, latents: Tensor, said: Said, abar: Tensor) -> Tensor:
        """(B,) weighted squared errors of eps"""
        noise = torch.randn_like(latents)
        # one timestep from each of B equal shares, dealt to the pictures at random
        u = torch.randperm(len(latents), device=self.device) + torch.rand(len(latents), device=self.device)
        timesteps = (TIMESTEPS * (u / len(latents)) ** TOWARDS_NOISE).long().clamp(0, TIMESTEPS - 1)
        a = abar[timesteps][:, None, None, None]
        noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda" or BF16_PAYS):
            predicted = self.unet(noisy, timesteps, self.encode(said)).sample.float()
        snr = abar[timesteps] / (1 - abar[timesteps])
        weight = snr.clamp(max=MAX_SNR) / snr * snr.clamp(max=MAX_SNR) ** NOISY_WEIGHT
        return (predicted - noise).square().mean((1, 2, 3)) * weight


def begin(
    folder: Path, model: Path, seed: int, mix: Mix = Mix(), whole: bool = False, device: str = "cpu"
) -> tuple[Student, Captioned]:
    """The model, doubled where it is not yet, and codes that say nothing yet, near its neutral word. `whole`: every
    level of the U-Net sees the text."""
    torch.manual_seed(seed)
    data = Captioned(folder, seed, mix)
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    text = CLIPTextModel.from_pretrained(model / "text_encoder", torch_dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    wide = text.config.hidden_size == WIDTH
    if not wide:
        text, unet = widened_text_encoder(text), widened_unet(unet, STRAIGHT)
    if whole:
        unet = seeing_unet(unet)
    (word,) = tokenizer(START_WORD if wide else "emoji", add_special_tokens=False).input_ids
    start = text.get_input_embeddings().weight[word].detach().clone()
    return Student(unet, text, Codes(data.views.seen, len(start), start), tokenizer, device), data


def rate(step: int, share: float, fall_from: float) -> float:
    """Of the peak: a warm-up, then even, then from `fall_from` of the time on a straight fall to 2 %."""
    fall = 1.0 if share < fall_from else max(0.02, (1 - share) / (1 - fall_from))
    return min(1.0, max(0, step + 1) / WARM_UP) * fall


def train(
    folder: Path,
    model: Path,
    snapshot: Path,
    minutes: float,
    batch: int = 16,
    fall_from: float = 1.0,
    seed: int = 0,
    steps: int | None = None,
    mix: Mix = Mix(),
    whole: bool = False,
    device: str = "cpu",
    workers: int = 0,
) -> None:
    """Train for `minutes`, or up to a step; an existing snapshot is continued, optimizers and averages too. `workers`
    make captions beside the training: a GPU waits for them otherwise."""
    student, data = begin(folder, model, seed, mix, whole, device)
    optimizer = torch.optim.AdamW(
        [{"params": group} for group in student.groups.values()],
        betas=(0.9, 0.98),
        weight_decay=1e-4,
        fused=True,
    )
    ema = [p.detach().clone() for p in student.parameters]
    step = resume(snapshot, student, optimizer, ema) if snapshot.exists() else 0
    abar = alphas_cumprod().to(student.device)
    batches = Batches(data, student.captions, batch, seed, step)
    made = iter(DataLoader(batches, batch_size=None, num_workers=workers, pin_memory=student.device.type == "cuda"))
    started, first, losses = time.monotonic(), step, []
    seconds = minutes * 60
    saved = started
    while (passed := time.monotonic() - started) < seconds and step != steps:
        torch.manual_seed(1_000_003 * seed + step)
        share = rate(step, passed / seconds, fall_from)
        for name, group in zip(student.groups, optimizer.param_groups, strict=True):
            group["lr"] = RATES[name] * share * (mix.rate if name in ("text", "unet") else 1)
        latents, said = next(made)
        loss = student.loss(latents.to(student.device, non_blocking=True), said.to(student.device), abar)
        optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(student.parameters, 1.0)
        optimizer.step()
        step += 1
        if step % EMA_EVERY == 0:
            decay = min(EMA_DECAY, step / (step + 30)) ** EMA_EVERY
            torch._foreach_lerp_(ema, [p.detach() for p in student.parameters], 1 - decay)
        losses.append(loss.detach())
        if step % 50 == 0:
            both = torch.stack(losses).cpu()
            words = mix.in_words(batch)
            means = f"codes {both[:, ~words].mean():.4f} words {both[:, words].mean():.4f}"
            speed = (step - first) * batch / (time.monotonic() - started)
            print(f"{passed:.0f}s step {step} {means} {speed:.1f} pictures/s", flush=True)
            losses.clear()
        if time.monotonic() - saved > 300:
            save(snapshot, student, optimizer, ema, step)
            saved = time.monotonic()
    save(snapshot, student, optimizer, ema, step)


def save(snapshot: Path, student: Student, optimizer, ema: list[Tensor], step: int) -> None:  # noqa: ANN001
    state = {
        "unet": student.unet.state_dict(),
        "text": student.text.state_dict(),
        "codes": student.codes.state_dict(),
        "ema": ema,
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    temporary = snapshot.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(snapshot)


def resume(snapshot: Path, student: Student, optimizer, ema: list[Tensor]) -> int:  # noqa: ANN001
    """The step that the snapshot was made at."""
    state = torch.load(snapshot, weights_only=True, map_location=student.device)
    student.unet.load_state_dict(state["unet"])
    student.text.load_state_dict(state["text"])
    student.codes.load_state_dict(state["codes"])
    optimizer.load_state_dict(state["optimizer"])
    for target, source in zip(ema, state["ema"], strict=True):
        target.copy_(source)
    return state["step"]


@torch.no_grad()
def export(folder: Path, model: Path, snapshot: Path, out: Path) -> int:
    """Write the averages of a snapshot as a model folder, with the VAE and the tokenizer of `model`; returns its step.

    The word START_WORD gets the mean code, a good beginning for any new word.
    """
    state = torch.load(snapshot, weights_only=True, map_location="cpu")
    whole = any(name.startswith("down_blocks.0.attentions") for name in state["unet"])
    student, _ = begin(folder, model, seed=0, whole=whole)
    student.unet.load_state_dict(state["unet"])
    student.text.load_state_dict(state["text"])
    student.codes.load_state_dict(state["codes"])
    for parameter, averaged in zip(student.parameters, state["ema"], strict=True):
        parameter.copy_(averaged)
    (token,) = student.captions.tokenizer(START_WORD, add_special_tokens=False).input_ids
    student.text.get_input_embeddings().weight[token] = student.codes.mean()[:USUAL_VECTORS].mean(0)
    vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32)
    write_folder(out, student.unet, vae, student.text, model / "tokenizer")
    return state["step"]
