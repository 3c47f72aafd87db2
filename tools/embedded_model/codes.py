"""Words whose meaning is only in their vectors, so that a learned word finds a space that is lived in.

Every training drawing has a code: a few vectors that stand for it in captions, "an emoji of a <its code> on a red
background". A mapper makes them from the drawing itself, so that the space is smooth and a new drawing already has a
place in it; a table adds what the mapper cannot say. The same code is seen on many backgrounds, which the words name:
a code does not hold the background. The text encoder is the shipped one, doubled (widening.py); it and what of the
U-Net lies behind the text are trained on.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import CLIPTextModel, CLIPTokenizer

from . import drawings, scenes
from .export import write_folder
from .latents import BF16_PAYS
from .seeing import seeing_unet
from .shapes import TIMESTEPS, TOKENS, alphas_cumprod
from .widening import widened_text_encoder, widened_unet

WIDTH = 384  # of the wide encoder
MAX_VECTORS = 8
USUAL_VECTORS = 6
CODE_SIZE = 0.3  # root mean square of a code's vectors, held: what inversion reaches in some hundred steps of 0.01
CODE_NOISE = 0.3  # of that size, at most
# How loudly the U-Net reads a code's own half. The encoder adds up to 32 where a code has 0.3, so this brings a code to
# a third of a word: without any training six vectors then went the whole way on a pineapple, at 0.5 half of it.
STRAIGHT = 32.0
ALL_TOKENS_EVERY = 10  # steps; a caption's padding costs as much as its words
MAX_SNR = 5.0
TOWARDS_NOISE = 0.7  # t = 1000 u^0.7
EMA_DECAY = 0.999  # a step
EMA_EVERY = 4  # steps: passing over all weights costs a third of a step of eight
RATES = {"text": 3e-4, "unet": 2e-4, "mapper": 1.5e-3}
TABLE_RATE = 5e-3
CODES_ALONE = 200  # steps in which a model that is wide already waits for its codes
BEFORE_TEXT = ("conv_in", "time_embedding", "down_blocks.0")  # of the U-Net: stays as it is, and costs no backward pass
WARM_UP = 100  # steps
CODE = "@"
START_WORD = "*"  # the WebUI's neutral word for a beginning


class Codes(nn.Module):
    """The codes of all drawings, by mapper and by table."""

    def __init__(self, seen: Tensor, width: int, start: Tensor) -> None:
        """seen (N, 4 * 16 * 16), start (width,): the word that every code begins near"""
        super().__init__()
        self.register_buffer("seen", (seen - seen.mean(0)) / seen.std())
        hidden = 768
        self.mapper = nn.Sequential(
            nn.Linear(seen.shape[1], hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, MAX_VECTORS * width)
        )
        nn.init.normal_(self.mapper[-1].weight, std=1 / hidden**0.5)
        with torch.no_grad():
            self.mapper[-1].bias.copy_(start.repeat(MAX_VECTORS))
        self.table = nn.Embedding(len(seen), MAX_VECTORS * width, sparse=True)
        nn.init.zeros_(self.table.weight)
        self.width = width

    def forward(self, indices: Tensor, with_table: Tensor, noise: float) -> Tensor:
        """indices (B,), with_table (B,) 0 or 1 -> (B, MAX_VECTORS, width)"""
        code = self.of(self.seen[indices])
        code = code + self.table(indices).view_as(code) * with_table[:, None, None]
        return code + noise * CODE_NOISE * CODE_SIZE * torch.randn_like(code) * torch.rand(len(code), 1, 1)

    def of(self, seen: Tensor) -> Tensor:
        """By the mapper alone: (B, 1024) -> (B, MAX_VECTORS, width)"""
        code = self.mapper(seen).view(len(seen), MAX_VECTORS, self.width)
        return CODE_SIZE * code / code.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)

    @torch.no_grad()
    def mean(self) -> Tensor:
        """(MAX_VECTORS, width): the middle of the space, a good start for any new word"""
        return self.of(self.seen).mean(0)


def _seen(folder: Path) -> Tensor:
    """Of all drawings, kept in the work folder."""
    kept = folder / "seen.pt"
    if not kept.exists():
        torch.save(drawings.seen_small(drawings.load(folder).rgba), kept)
    return torch.load(kept, weights_only=True)


@dataclass(frozen=True)
class Line:
    """A caption and, for each CODE in it, the drawing and how many vectors."""

    text: str
    coded: tuple[tuple[int, int], ...] = ()


def code_caption(drawing: int, style: str, background: str, dice: random.Random) -> Line:
    forms = (
        (0.40, f"an emoji of a {CODE} on a {background} background"),
        (0.12, f"a {style} emoji of a {CODE} on a {background} background"),
        (0.14, f"a {CODE} on a {background} background"),
        (0.08, f"{CODE}, {background} background"),
        (0.06, f"a drawing of a {CODE} on a {background} background"),
        (0.08, f"an emoji of a {CODE}"),
        (0.08, f"a {CODE}"),
        (0.04, f"a drawing of a {CODE}"),
    )
    text = dice.choices([form for _, form in forms], [share for share, _ in forms])[0]
    return Line(text, ((drawing, some_vectors(dice)),))


def some_vectors(dice: random.Random) -> int:
    return USUAL_VECTORS if dice.random() < 0.6 else dice.randint(2, MAX_VECTORS)


def scene_line(
    scene: scenes.Scene, labels: Sequence[drawings.Label], coded: Sequence[bool], dice: random.Random
) -> Line:
    """labels: of all drawings. coded: which of the scene's two things is a code, and not its name. A name says its
    style in half of the captions."""
    things = scene.things if scene.relation else scene.things[:1]
    names, codes = [], []
    for thing, is_code in zip(things, coded, strict=False):
        concept, style = labels[thing.drawing]
        if is_code:
            names.append(CODE)
            codes.append((thing.drawing, some_vectors(dice)))
        else:
            names.append(f"{style} {concept}".replace("-", " ") if dice.random() < 0.5 else concept.replace("-", " "))
    return Line(scenes.described(scene, names, dice), tuple(codes))


@dataclass(frozen=True)
class Mix:
    """The share of captions in words, and of these the share about known things; a factor of all rates; the share of
    pictures that are scenes."""

    words: float = 1 / 3
    known: float = 0.6
    rate: float = 1.0
    scenes: float = 0.0

    def in_words(self, batch: int) -> Tensor:
        """(B,): which of a batch, the same places in every one"""
        return torch.arange(batch) >= round(batch * (1 - self.words))


class Captioned:
    """Latents that exist so far, with captions by code and in words."""

    def __init__(self, folder: Path, seed: int, mix: Mix = Mix()) -> None:
        self.folder, self.mix = folder, mix
        self.labels = [tuple(label) for label in json.loads((folder / "labels.json").read_text())]
        self.latents = np.load(folder / "latents.npy", mmap_mode="r")  # (N, backgrounds, 4, 16, 16), scaled
        if mix.scenes:
            self.scene_latents = np.load(folder / "scenes.npy", mmap_mode="r")  # (N, 4, 16, 16), scaled
            self.world = scenes.World(drawings.load(folder).rgba)
        known = set(drawings.training_concepts())
        self.known = {i for i, (concept, _) in enumerate(self.labels) if concept in known}
        self.dice = random.Random(seed)
        self.refresh()

    def refresh(self) -> None:
        """Take up latents that were made meanwhile."""
        self.made = np.argwhere(np.load(self.folder / "done.npy")).tolist()
        self.made_known = [pair for pair in self.made if pair[0] in self.known]
        if self.mix.scenes:
            self.scenes = np.flatnonzero(np.load(self.folder / "scenes_done.npy")).tolist()

    def next(self, count: int) -> tuple[Tensor, list[Line]]:
        """latents (B, 4, 16, 16)"""
        latents, lines = [], []
        for in_words in self.mix.in_words(count).tolist():
            if self.dice.random() < self.mix.scenes:
                number = self.dice.choice(self.scenes)
                latents.append(torch.from_numpy(self.scene_latents[number].astype(np.float32)))
                lines.append(self.scene_line(number, in_words))
                continue
            pool = self.made_known if in_words and self.dice.random() < self.mix.known else self.made
            i, b = self.dice.choice(pool)
            (concept, style), background = self.labels[i], drawings.BACKGROUND_NAMES[b]
            latents.append(torch.from_numpy(self.latents[i, b].astype(np.float32)))
            if in_words:
                lines.append(Line(drawings.caption(concept, style, background, self.dice)))
            elif self.dice.random() < 0.04:
                lines.append(Line(""))
            else:
                lines.append(code_caption(i, style, background, self.dice))
        return torch.stack(latents), lines

    def scene_line(self, number: int, in_words: bool) -> Line:
        """One in twenty is empty; with codes, one of two things is a word in half of the captions."""
        if self.dice.random() < 0.05:
            return Line("")
        both = self.dice.choice([(True, True), (True, True), (True, False), (False, True)])
        return scene_line(self.world.scene(number), self.labels, (False, False) if in_words else both, self.dice)


@dataclass(frozen=True)
class Said:
    """Captions as a model reads them: `ids` (B, tokens); for each token, which of the captions' codes stands there,
    counted through all of them, or -1, `codes` (B, tokens); which of its vectors, `which` (B, tokens); and the drawings
    that the codes stand for, `drawn` (number of codes,)."""

    ids: Tensor
    codes: Tensor
    which: Tensor
    drawn: Tensor

    def to(self, device: torch.device) -> Said:
        return Said(*(part.to(device, non_blocking=True) for part in (self.ids, self.codes, self.which, self.drawn)))


class Captions:
    """Token ids of lines, with places for codes."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self.tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}

    def __call__(self, lines: Sequence[Line], tokens: int | None) -> Said:
        """As many tokens as the longest line needs where they are not given."""
        if tokens is None:
            tokens = 2 + max(
                sum(len(self._of(part)) for part in line.text.split(CODE)) + sum(vectors for _, vectors in line.coded)
                for line in lines
            )
        ids = torch.full((len(lines), tokens), self.tokenizer.eos_token_id)
        codes = torch.full((len(lines), tokens), -1)
        which = torch.zeros(len(lines), tokens, dtype=torch.long)
        count = 0
        for row, line in enumerate(lines):
            first, *rest = line.text.split(CODE)
            whole = [self.tokenizer.bos_token_id, *self._of(first)]
            for (_, vectors), part in zip(line.coded, rest, strict=True):
                stands = slice(len(whole), min(len(whole) + vectors, tokens - 1))
                codes[row, stands] = count
                which[row, stands] = torch.arange(max(0, stands.stop - stands.start))
                whole += [0] * vectors + self._of(part)
                count += 1
            ids[row, : min(len(whole), tokens - 1)] = torch.tensor(whole[: tokens - 1])
        drawn = torch.tensor([drawing for line in lines for drawing, _ in line.coded], dtype=torch.long)
        return Said(ids, codes, which, drawn)

    def _of(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self._ids[text]


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
            if step % 50 < stride:
                self.data.refresh()


class Student:
    """What is trained."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        codes: Codes,
        tokenizer: CLIPTokenizer,
        alone: bool,
        whole: bool = False,
        device: str = "cpu",
    ) -> None:
        """alone: whether the codes first find their way in a model that knows codes already. whole: whether all of the
        U-Net is trained, and not only what lies behind the text."""
        self.unet, self.text, self.codes, self.alone = unet.to(device), text.to(device), codes.to(device), alone
        self.device = torch.device(device)
        self.captions = Captions(tokenizer)
        unet.set_attn_processor(AttnProcessor())  # on a CPU faster to train than the fused kind
        text.set_attn_implementation("eager")  # as above
        for name, parameter in unet.named_parameters():
            parameter.requires_grad_(whole or not name.startswith(BEFORE_TEXT))
        self.groups = {
            "text": list(text.parameters()),
            "unet": [p for p in unet.parameters() if p.requires_grad],
            "mapper": list(codes.mapper.parameters()),
        }
        self.parameters = [p for group in self.groups.values() for p in group]

    def encode(self, said: Said) -> Tensor:
        """(B, tokens, width)"""
        if not len(said.drawn):
            return self.text(said.ids).last_hidden_state
        with_table = (torch.rand(len(said.drawn), device=self.device) < 0.5).float()
        vectors = self.codes(said.drawn, with_table, noise=1.0)
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
        weight = snr.clamp(max=MAX_SNR) / snr * snr.clamp(max=MAX_SNR) ** -0.5
        return (predicted - noise).square().mean((1, 2, 3)) * weight


def begin(
    folder: Path, model: Path, seed: int, mix: Mix = Mix(), whole: bool = False, device: str = "cpu"
) -> tuple[Student, Captioned]:
    """The model, doubled where it is not yet, and codes that say nothing yet, near its neutral word. `whole`: all of
    the U-Net is trained, and every level of it sees the text."""
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
    return Student(unet, text, Codes(_seen(folder), len(start), start), tokenizer, wide, whole, device), data


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
    sparse = torch.optim.SparseAdam(student.codes.table.parameters(), lr=TABLE_RATE)
    ema = [p.detach().clone() for p in student.parameters]
    step = resume(snapshot, student, optimizer, sparse, ema) if snapshot.exists() else 0
    abar = alphas_cumprod().to(student.device)
    batches = Batches(data, student.captions, batch, seed, step)
    made = iter(DataLoader(batches, batch_size=None, num_workers=workers, pin_memory=student.device.type == "cuda"))
    started, first, losses = time.monotonic(), step, []
    seconds = minutes * 60
    saved = started
    while (passed := time.monotonic() - started) < seconds and step != steps:
        torch.manual_seed(1_000_003 * seed + step)
        share = mix.rate * rate(step, passed / seconds, fall_from)
        later = share if not student.alone else mix.rate * rate(step - CODES_ALONE, passed / seconds, fall_from)
        for name, group in zip(student.groups, optimizer.param_groups, strict=True):
            group["lr"] = RATES[name] * (share if name == "mapper" else later)
        sparse.param_groups[0]["lr"] = TABLE_RATE * share
        latents, said = next(made)
        loss = student.loss(latents.to(student.device, non_blocking=True), said.to(student.device), abar)
        optimizer.zero_grad(set_to_none=True)
        sparse.zero_grad(set_to_none=True)
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(student.parameters, 1.0)
        optimizer.step()
        sparse.step()
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
            print(f"{passed:.0f}s step {step} {means} {speed:.1f} pictures/s {len(data.made)} latents", flush=True)
            losses.clear()
        if time.monotonic() - saved > 300:
            save(snapshot, student, optimizer, sparse, ema, step)
            saved = time.monotonic()
    save(snapshot, student, optimizer, sparse, ema, step)


def save(snapshot: Path, student: Student, optimizer, sparse, ema: list[Tensor], step: int) -> None:  # noqa: ANN001
    state = {
        "unet": student.unet.state_dict(),
        "text": student.text.state_dict(),
        "codes": student.codes.state_dict(),
        "ema": ema,
        "optimizer": optimizer.state_dict(),
        "sparse": sparse.state_dict(),
        "step": step,
    }
    temporary = snapshot.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(snapshot)


def resume(snapshot: Path, student: Student, optimizer, sparse, ema: list[Tensor]) -> int:  # noqa: ANN001
    """The step that the snapshot was made at."""
    state = torch.load(snapshot, weights_only=True, map_location=student.device)
    student.unet.load_state_dict(state["unet"])
    student.text.load_state_dict(state["text"])
    student.codes.load_state_dict(state["codes"])
    optimizer.load_state_dict(state["optimizer"])
    sparse.load_state_dict(state["sparse"])
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
    student.unet.load_state_dict(state["unet"])  # what was not trained has no average
    student.text.load_state_dict(state["text"])
    student.codes.load_state_dict(state["codes"])
    for parameter, averaged in zip(student.parameters, state["ema"], strict=True):
        parameter.copy_(averaged)
    (token,) = student.captions.tokenizer(START_WORD, add_special_tokens=False).input_ids
    student.text.get_input_embeddings().weight[token] = student.codes.mean()[:USUAL_VECTORS].mean(0)
    vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32)
    write_folder(out, student.unet, vae, student.text, model / "tokenizer")
    return state["step"]
