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
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import CLIPTextModel, CLIPTokenizer

from . import drawings, scenes, views
from .captions import Captions, Line, Said, code_caption, scene_line
from .export import write_folder
from .seeing import seeing_unet
from .shapes import TOKENS, alphas_cumprod
from .student import NEW, Codes, Student
from .widening import widened_text_encoder, widened_unet

WIDTH = 384  # of the wide encoder
# How loudly the U-Net reads a code's own half. The encoder adds up to 32 where a code has 0.3, so this brings a code to
# a third of a word: without any training six vectors then went the whole way on a pineapple, at 0.5 half of it.
STRAIGHT = 32.0
ALL_TOKENS_EVERY = 10  # steps; a caption's padding costs as much as its words
EMA_DECAY = 0.999  # a step
EMA_EVERY = 4  # steps: passing over all weights costs a third of a step of eight
WARM_UP = 100  # steps
CLEAR_EVERY = 10  # steps
START_WORD = "*"  # the WebUI's neutral word for a beginning
START_WORDS = ("1", "2", "3", "4", "5", "6")  # a beginning for each vector, where each has a part of the picture


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
        return Line(line.text, tuple(self.views.in_scenes(drawing) for drawing in line.coded))


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
            group["lr"] = student.rates[name] * share * (mix.rate if name in ("text", "unet") else 1)
        latents, said = next(made)
        loss = student.loss(latents.to(student.device, non_blocking=True), said.to(student.device), abar)
        optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(student.parameters, 1.0)
        optimizer.step()
        step += 1
        if step % CLEAR_EVERY == 0:
            student.keep_clear()
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


def save(
    snapshot: Path, student: Student, optimizer: torch.optim.Optimizer | None, ema: list[Tensor], step: int
) -> None:
    state = {
        "unet": student.unet.state_dict(),
        "text": student.text.state_dict(),
        "codes": student.codes.state_dict(),
        "ema": ema,
        "optimizer": optimizer and optimizer.state_dict(),
        "step": step,
    }
    temporary = snapshot.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(snapshot)


def resume(snapshot: Path, student: Student, optimizer: torch.optim.Optimizer, ema: list[Tensor]) -> int:
    """The step that the snapshot was made at."""
    state = torch.load(snapshot, weights_only=True, map_location=student.device)
    student.load(state)
    if state["optimizer"]:
        optimizer.load_state_dict(state["optimizer"])
    for target, source in zip(ema, state["ema"], strict=True):
        target.copy_(source)
    return state["step"]


@torch.no_grad()
def restored(folder: Path, model: Path, snapshot: Path) -> tuple[Student, Captioned, int]:
    """The averages of a snapshot, what it is trained on, and its step."""
    state = torch.load(snapshot, weights_only=True, map_location="cpu")
    student, data = begin(folder, model, seed=0, whole=any(name.startswith(NEW) for name in state["unet"]))
    student.load(state)
    for parameter, averaged in zip(student.parameters, state["ema"], strict=True):
        parameter.copy_(averaged)
    return student, data, state["step"]


@torch.no_grad()
def export(folder: Path, model: Path, snapshot: Path, out: Path) -> int:
    """Write the averages of a snapshot as a model folder, with the VAE and the tokenizer of `model`; returns its step.

    START_WORDS get the mean code, and START_WORD the mean of that: good beginnings for a new word.
    """
    student, _, step = restored(folder, model, snapshot)
    mean = student.codes.mean()
    embeddings = student.text.get_input_embeddings().weight
    for word, vector in zip((START_WORD, *START_WORDS), (mean.mean(0), *mean), strict=True):
        (token,) = student.captions.tokenizer(word, add_special_tokens=False).input_ids
        embeddings[token] = vector
    vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32)
    write_folder(out, student.unet, vae, student.text, model / "tokenizer")
    return step
