"""The share of the way: how much of what the U-Net could draw of a new picture a learned word can say.

From the empty prompt (0) to free encoder output at the word's places (1), by the weighted noise loss on fixed noises:
(empty - reached) / (empty - free). The held-out things, one picture each; six input vectors, plain and as a pair. And
whether the drawings are recognised: nearest of all references, by deep features, is their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from dreamartist_ext.evaluation import features, measures
from dreamartist_ext.evaluation.backgrounds import nearest_background
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.host import to_image

from .inversion import save_sheet
from .latents import BF16_PAYS
from .measure import Model, decode, load_model
from .shapes import LATENT_SIZE, PICTURE_SIZE, TIMESTEPS, TOKENS, alphas_cumprod

CHECK_TIMESTEPS = (100, 300, 500, 700, 850, 950)
CHECK_NOISES = 4  # for each of the timesteps
MAX_SNR = 5.0  # min-SNR, arXiv 2303.09556
TOWARDS_NOISE = 0.65  # t = 1000 u^0.65
BATCH = 4
AT_ONCE = 10  # things: a small network computes faster on many
PAIR_GUIDANCE = 2.0
WAYS = ("output", "plain", "pair")
BEFORE = "an emoji of a"  # what stands before the word
WHITE = "on a white background"  # may stand after it
Words = dict[tuple[str, str, int], tuple[Tensor, Tensor | None]]  # positive and negative (V, width)
COLOURS = ("red", "blue", "green", "yellow", "purple", "black", "pink", "orange")


@dataclass(frozen=True)
class Budget:
    vectors: int = 6
    steps: int = 300
    rate: float = 0.05  # of AdamW, falls as a cosine
    negative_rate: float = 1.0  # the negative's share of it
    output_rate: float = 0.05  # of free encoder output: on a U-Net that reads it loudly, as much smaller
    guidance: float = 6.0
    drawing_steps: int = 20
    drawn: int = 4  # of each thing and seed, on no named background and again on named ones


class Prompts:
    """Encoder output of prompts with one learned word in them, of several words at once."""

    def __init__(self, model: Model, start: str, vectors: int, after: str = "") -> None:
        """after: what stands after the word where it is learned"""
        self.model, self.vectors, self.after = model, vectors, after
        words = model.tokenizer(start, add_special_tokens=False).input_ids
        self.start = [words[i % len(words)] for i in range(vectors)]  # as the host starts a word
        self.width = model.text.config.hidden_size

    def initial(self) -> Tensor:
        """(V, width)"""
        return self.model.text.get_input_embeddings().weight[self.start].detach().clone()

    def encode(self, words: Tensor | None, before: str = "", after: str = "") -> Tensor:
        """words (W, V, width), or None for a prompt without one -> (W or 1, 77, width)"""
        ids = [self.model.tokenizer(part, add_special_tokens=False).input_ids for part in (before, after)]
        place = self.place(before)
        row = [self.model.tokenizer.bos_token_id, *ids[0], *(self.start if words is not None else []), *ids[1]]
        end = self.model.tokenizer.eos_token_id
        padded = torch.tensor([row + [end] * (TOKENS - len(row))], device=self.model.device)
        if words is None:
            return self.model.text(padded).last_hidden_state
        with replaced(self.model, place, words):
            return self.model.text(padded.expand(len(words), -1)).last_hidden_state

    def place(self, before: str) -> int:
        """Where the word begins."""
        return 1 + len(self.model.tokenizer(before, add_special_tokens=False).input_ids)


@contextmanager
def replaced(model: Model, place: int, words: Tensor) -> Iterator[None]:
    """The words' vectors (W, V, width) stand at `place` while this lasts."""

    def hook(_module: torch.nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        return torch.cat([output[:, :place], words, output[:, place + words.shape[1] :]], 1)

    handle = model.text.get_input_embeddings().register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@dataclass
class Learned:
    """What was optimised for W words: vectors, or free encoder output, (W, V, width), and a pair's negatives."""

    positive: Tensor
    negative: Tensor | None
    prompts: Prompts
    way: str

    def cond(self, after: str | None = None) -> Tensor:
        """(W, 77, width), of the prompt that they were learned in or one that goes on in another way"""
        before, after = BEFORE, self.prompts.after if after is None else after
        if self.way != "output":
            return self.prompts.encode(self.positive, before, after)
        base = self.prompts.encode(self.prompts.initial()[None], before, after).detach()
        base, place = base.expand(len(self.positive), -1, -1), self.prompts.place(before)
        return torch.cat([base[:, :place], self.positive, base[:, place + self.positive.shape[1] :]], 1)

    def uncond(self) -> Tensor:
        """(W, 77, width)"""
        return self.prompts.encode(self.negative).expand(len(self.positive), -1, -1)


def noise_loss(model: Model, latents: Tensor, timesteps: Tensor, noise: Tensor, cond: Tensor, uncond: Tensor | None):  # noqa: ANN201
    """(W, B): squared error of eps, weighted by min(SNR, 5)^-0.5; with `uncond`, of the guided prediction.

    latents (W, 4, 16, 16), timesteps (B,), noise (B, 4, 16, 16): the same for each; cond and uncond (W, 77, width)
    """
    words, count = len(latents), len(noise)
    abar = alphas_cumprod()[timesteps].to(latents.device)
    timesteps, noise = timesteps.to(latents.device), noise.to(latents.device)
    a = abar[:, None, None, None]
    noisy = (a.sqrt() * latents[:, None] + (1 - a).sqrt() * noise).flatten(0, 1)
    predicted = _predict(model, noisy, timesteps.repeat(words), cond.repeat_interleave(count, 0))
    if uncond is not None:
        other = _predict(model, noisy, timesteps.repeat(words), uncond.repeat_interleave(count, 0))
        predicted = other + PAIR_GUIDANCE * (predicted - other)
    weight = (abar / (1 - abar)).clamp(max=MAX_SNR) ** -0.5
    return (predicted.unflatten(0, (words, count)) - noise).square().mean((2, 3, 4)) * weight


def _predict(model: Model, noisy: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
    with torch.autocast(noisy.device.type, torch.bfloat16, enabled=noisy.is_cuda or BF16_PAYS):
        return model.unet(noisy, timesteps, cond).sample.float()


@torch.no_grad()
def check_loss(model: Model, latents: Tensor, cond: Tensor, uncond: Tensor | None = None) -> Tensor:
    """(W,)"""
    generator = torch.Generator().manual_seed(77)
    losses = []
    for timestep in CHECK_TIMESTEPS:
        noise = torch.randn(CHECK_NOISES, 4, LATENT_SIZE, LATENT_SIZE, generator=generator)
        losses.append(noise_loss(model, latents, torch.full((CHECK_NOISES,), timestep), noise, cond, uncond).mean(1))
    return torch.stack(losses).mean(0)


def invert(model: Model, prompts: Prompts, latents: Tensor, way: str, budget: Budget, seed: int) -> Learned:
    """Optimise the vectors of a word for each picture's latents (W, 4, 16, 16), each for itself, all at once."""
    generator = torch.Generator().manual_seed(seed)
    start = prompts.initial()
    start = start + 1e-3 * torch.randn(start.shape, generator=generator).to(start.device)
    if way == "output":
        start = prompts.encode(start[None], BEFORE, prompts.after)[0, prompts.place(BEFORE) :][: len(start)].detach()
    start = start.expand(len(latents), -1, -1)
    positive = start.clone().requires_grad_(True)
    negative = start.clone().requires_grad_(True) if way == "pair" else None
    learned = Learned(positive, negative, prompts, way)
    groups = [{"params": [positive], "rate": budget.output_rate if way == "output" else budget.rate}]
    if negative is not None:
        groups.append({"params": [negative], "rate": budget.rate * budget.negative_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=0)
    for step in range(budget.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * 0.5 * (1 + cos(pi * step / budget.steps))
        u = (torch.randperm(BATCH, generator=generator) + torch.rand(BATCH, generator=generator)) / BATCH
        timesteps = (TIMESTEPS * u**TOWARDS_NOISE).long().clamp(0, TIMESTEPS - 1)
        noise = torch.randn(BATCH, *latents.shape[1:], generator=generator)
        uncond = learned.uncond() if way == "pair" else None
        loss = noise_loss(model, latents, timesteps, noise, learned.cond(), uncond).mean(1).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return learned


@torch.no_grad()
def draw(model: Model, cond: Tensor, uncond: Tensor, first_seed: int, budget: Budget) -> Tensor:
    """DDIM with guidance, a picture for each of cond and uncond (N, 77, width) -> (N, 3, 128, 128) in [-1, 1]"""
    noises = [torch.Generator().manual_seed(first_seed + i) for i in range(len(cond))]
    latents = torch.stack([torch.randn(4, LATENT_SIZE, LATENT_SIZE, generator=g) for g in noises]).to(cond.device)
    model.scheduler.set_timesteps(budget.drawing_steps)
    return decode(model.vae, _denoised(model, latents, model.scheduler.timesteps, cond, uncond, budget.guidance)).cpu()


@torch.no_grad()
def redraw(
    model: Model, latents: Tensor, cond: Tensor, uncond: Tensor, strength: float, seed: int, budget: Budget
) -> Tensor:
    """img2img: from scaled latents (1, 4, 16, 16), with cond and uncond (77, width) -> (3, 128, 128) in [-1, 1]"""
    model.scheduler.set_timesteps(budget.drawing_steps)
    timesteps = model.scheduler.timesteps[round(budget.drawing_steps * (1 - strength)) :]
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents.device)
    noisy = model.scheduler.add_noise(latents, noise, timesteps[:1])
    return decode(model.vae, _denoised(model, noisy, timesteps, cond[None], uncond[None], budget.guidance))[0].cpu()


def _denoised(
    model: Model, latents: Tensor, timesteps: Tensor, cond: Tensor, uncond: Tensor, guidance: float
) -> Tensor:
    both = torch.cat([uncond, cond])
    for timestep in timesteps:
        unconditional, conditional = _predict(model, torch.cat([latents] * 2), timestep, both).chunk(2)
        guided = unconditional + guidance * (conditional - unconditional)
        latents = model.scheduler.step(guided, timestep, latents).prev_sample
    return latents


class References:
    """The held-out pictures, their latents, and which of them a drawing is nearest to."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.names = sorted(path.stem for path in folder.glob("*.png"))
        paths = [folder / f"{name}.png" for name in self.names]
        loaded = [load_pictures([path], PICTURE_SIZE, PICTURE_SIZE)[0].pixels for path in paths]
        self.pixels = torch.stack(loaded)  # (20, 3, 128, 128) in [-1, 1]
        self.network = features.FeatureNet()
        self.deep = self.network(self.pixels).deep
        with torch.no_grad():
            means = [model.vae.encode(picture[None].to(model.device)).latent_dist.mean for picture in self.pixels]
        self.latents = torch.cat(means) * model.vae.config.scaling_factor

    def ranks(self, pictures: Tensor, name: str) -> list[int]:
        """Of each picture (N, 3, H, W): how many references are nearer to it than its own, 0 to 19."""
        return measures.ranks(self.network(pictures).deep, self.deep, self.names.index(name))


def measure_things(
    model: Model,
    references: References,
    prompts: Prompts,
    names: Sequence[str],
    ways: Sequence[str],
    budget: Budget,
    seed: int,
) -> tuple[list[dict], dict[tuple[str, str], Tensor], Words]:
    """A row of figures, a tensor of drawings, and what was learned, for each thing and way; all things in one batch."""
    latents = references.latents[[references.names.index(name) for name in names]]
    nothing = prompts.encode(None).expand(len(names), -1, -1)
    empty = check_loss(model, latents, nothing)
    rows, drawn, words = [], {}, {}
    for way in ways:
        learned = invert(model, prompts, latents, way, budget, seed)
        with torch.no_grad():
            cond, uncond = learned.cond(), learned.uncond() if way == "pair" else None
            losses = check_loss(model, latents, cond, uncond)
            on_colours = [learned.cond(f"on a {colour} background") for colour in COLOURS[: 2 * budget.drawn]]
        for i, name in enumerate(names):
            row = {"thing": name, "way": way, "seed": seed, "empty": float(empty[i]), "loss": float(losses[i])}
            row["norm"] = float(learned.positive[i].detach().norm(dim=-1).mean())
            negative = None if learned.negative is None else learned.negative[i].detach().cpu().clone()
            words[name, way, seed] = learned.positive[i].detach().cpu().clone(), negative
            if budget.drawn:
                neutral = (nothing if uncond is None else uncond)[i]
                conds = torch.stack([cond[i]] * budget.drawn + [c[i] for c in on_colours])
                pictures = draw(model, conds, neutral.expand_as(conds), 1000 * seed, budget)
                coloured = pictures[budget.drawn :]
                row["ranks"] = references.ranks(pictures[: budget.drawn], name)
                row["ranks_on_colours"] = references.ranks(coloured, name)
                right = [nearest_background(p) == c for p, c in zip(coloured, COLOURS, strict=False)]
                row["backgrounds"] = sum(right) / len(right)
                drawn[name, way] = pictures
            rows.append(row)
    return rows, drawn, words


def summary(rows: Sequence[dict]) -> dict[str, dict[str, float]]:
    """By way: the mean share of the way, recognised first and among three, named backgrounds obeyed."""
    free = {(r["thing"], r["seed"]): r["loss"] for r in rows if r["way"] == "output"}
    result = {}
    for way in WAYS:
        own = [r for r in rows if r["way"] == way]
        if not own:
            continue
        shares = [
            (r["empty"] - r["loss"]) / (r["empty"] - free[r["thing"], r["seed"]])
            for r in own
            if (r["thing"], r["seed"]) in free
        ]
        figures = {"share": shares, "empty": [r["empty"] for r in own], "loss": [r["loss"] for r in own]}
        for name in ("ranks", "ranks_on_colours"):
            figures[f"first {name}"] = [rank < 1 for r in own for rank in r.get(name, ())]
            figures[f"among three {name}"] = [rank < 3 for r in own for rank in r.get(name, ())]
        figures["backgrounds"] = [r["backgrounds"] for r in own if "backgrounds" in r]
        result[way] = {name: round(sum(v) / len(v), 4) for name, v in figures.items() if v} | {"things": len(own)}
    return result


def measure_share(
    folder: Path,
    references_folder: Path,
    out: Path,
    things: Sequence[str],
    seeds: Sequence[int] = (0,),
    ways: Sequence[str] = WAYS,
    start: str = "emoji",
    budget: Budget = Budget(),
    after: str = "",
    say: Callable[[str], None] = print,
    device: str = "cpu",
) -> dict:
    """To `out`: share.json; share.png, a row per thing and way (reference, plain drawings, on colours); words.pt, what
    was learned."""
    model = load_model(folder, device)
    model.unet.set_attn_processor(AttnProcessor())  # on a CPU faster to train through than the fused kind
    model.unet.to(memory_format=torch.contiguous_format)
    references = References(model, references_folder)
    prompts = Prompts(model, start, budget.vectors, after)
    rows: list[dict] = []
    words: Words = {}
    sheet = []
    out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for names in (things[i : i + AT_ONCE] for i in range(0, len(things), AT_ONCE)):
            measured, drawn, learned = measure_things(model, references, prompts, names, ways, budget, seed)
            rows += measured
            words |= learned
            torch.save(words, out / "words.pt")
            for row in measured:
                say(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}))
            for (name, _way), pictures in sorted(drawn.items(), key=lambda item: (names.index(item[0][0]), item[0][1])):
                sheet.append([to_image(references.pixels[references.names.index(name)]), *map(to_image, pictures)])
            result = {
                "model": str(folder.name),
                "budget": vars(budget),
                "start": start,
                "after": after,
                "summary": summary(rows),
            }
            (out / "share.json").write_text(json.dumps({**result, "rows": rows}, indent=1))
            if sheet:
                save_sheet(sheet, out / "share.png")
    say(json.dumps(summary(rows), indent=1))
    return summary(rows)
