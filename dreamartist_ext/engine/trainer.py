"""The training loop: one readable generator of StepReports over a state that can be saved and restored."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .attention_mask import latent_weight
from .config import TrainConfig
from .data import TrainingPicture, fill, fingerprint
from .embedding import EmbeddingPair, negative_name
from .errors import FileError, SettingError, TrainingError
from .guidance import Guidance
from .host import DiffusionHost, Vectors
from .learning_rate import RateSchedule, lr_at
from .objective import noise_loss

NEGATIVE_JITTER = 1e-3  # the negative starts as the positive's initial vectors plus this much noise
FINITE_CHECK_EVERY = 10  # steps: a check waits for the GPU


@dataclass(frozen=True)
class StepReport:
    """What one step did. `loss` is a tensor so that reading it, which waits for a GPU, is the reader's choice."""

    step: int  # 1 .. steps
    steps: int
    loss: Tensor  # scalar
    learning_rate: float
    seconds: float  # this step's


@dataclass(frozen=True)
class Check:
    """The mean noise loss on fixed noises: of the pair at a step, and of the empty prompt, which it should beat."""

    step: int
    loss: float
    baseline: float


@dataclass(frozen=True)
class Snapshot:
    """All that a later run needs to go on as if it had never stopped."""

    tensors: dict[str, Tensor]
    config: str  # TrainConfig as JSON
    step: int
    fingerprint: str  # of the pictures
    model: str  # the host's identity
    checks: tuple[Check, ...] = ()

    # Noise, timesteps, templates and the order of the pictures are functions of the seed and the step
    # (see `Draws`), so there is no generator's state to keep.


def pair_of(snapshot: Snapshot, name: str) -> EmbeddingPair:
    """The pair that a snapshot holds, without its optimizer."""

    def half(prefix: str) -> Vectors:
        split = ((key.split("."), tensor) for key, tensor in snapshot.tensors.items())
        return {words[1]: tensor for words, tensor in split if words[0] == prefix and len(words) == 2}

    return EmbeddingPair(name, half("positive"), half("negative") or None, snapshot.step, {"settings": snapshot.config})


class Draws:
    """Everything random about one step, as a function of seed and step alone: the same on every device, after
    every resume, and for one batch of N as for N accumulated passes."""

    def __init__(self, seed: int, step: int) -> None:
        self.generator = torch.Generator().manual_seed(_seed_for(seed, "step", step))

    def noise(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def integers(self, high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=self.generator)


def _seed_for(seed: int, purpose: str, index: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def picture_order(seed: int, count: int, first: int, wanted: int) -> list[int]:
    """Indices of samples first, first + 1, ... when every epoch is a fresh permutation of `count` pictures."""
    order = []
    for position in range(first, first + wanted):
        epoch, place = divmod(position, count)
        generator = torch.Generator().manual_seed(_seed_for(seed, "order", epoch))
        order.append(int(torch.randperm(count, generator=generator)[place]))
    return order


def initial_pair(host: DiffusionHost, config: TrainConfig) -> EmbeddingPair:
    """The pair at step 0, on the host's device."""
    positive = host.initial_vectors(config.initialization_text, config.vectors)
    if not config.use_negative:
        return EmbeddingPair(config.name, positive)
    generator = torch.Generator().manual_seed(_seed_for(config.seed, "negative", 0))
    negative = {
        key: v + NEGATIVE_JITTER * torch.randn(v.shape, generator=generator).to(v)
        for key, v in host.initial_vectors(config.initialization_text, config.negative_vectors).items()
    }
    return EmbeddingPair(config.name, positive, negative)


class Training:
    """The pair, its optimizer and the step; `run` makes steps until config.steps."""

    def __init__(self, host: DiffusionHost, config: TrainConfig, pictures: Sequence[TrainingPicture]) -> None:
        self.host = host
        self.config = config
        self.pictures = pictures
        self.rates = RateSchedule.parse(config.learning_rate)
        self.guidance = Guidance.parse(config.guidance)
        self.pair = initial_pair(host, config)
        self.step = 0
        self.checks: list[Check] = []
        self._encoded: tuple[Tensor, Tensor | None] | None = None
        self.loss_scale = float(getattr(host, "loss_scale", 1.0))
        self._halves: list[Vectors] = [h for h in (self.pair.positive, self.pair.negative) if h is not None]
        self.optimizer = torch.optim.AdamW(
            [{"params": [v.requires_grad_(True) for v in half.values()]} for half in self._halves],
            lr=self.rates.rate(1),
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )

    def run(self) -> Generator[StepReport, None, None]:
        """Train inside a host session; closing the generator at any step puts the model back as it was."""
        with self.host.session(), self.host.bind(self.pair.named()):
            latents, masks = self.encoded()
            while self.step < self.config.steps:
                started = time.perf_counter()
                rate = self._set_rates(self.step + 1)
                self.optimizer.zero_grad(set_to_none=True)  # also what a step that failed left behind
                loss = self._backward_in_range(latents, masks)
                self._check_reached()
                if self.step % FINITE_CHECK_EVERY == 0 and not torch.isfinite(loss):
                    raise TrainingError(
                        f"the loss is no longer a finite number at step {self.step + 1}; try a lower learning_rate."
                    )
                self.optimizer.step()
                self.step += 1
                self.pair.step = self.step
                yield StepReport(self.step, self.config.steps, loss, rate, time.perf_counter() - started)

    def _check_reached(self) -> None:
        """A word that the tokenizer does not find in a prompt would leave its vectors as they were."""
        for word, half in self.pair.named().items():
            if all(vectors.grad is None for vectors in half.values()):
                raise SettingError(
                    f'the word "{word}" is not found in its own prompts; choose another name or template.'
                )

    def encoded(self) -> tuple[Tensor, Tensor | None]:
        """`_encode_pictures`, done once; call it inside a host session."""
        if self._encoded is None:
            self._encoded = self._encode_pictures()
        return self._encoded

    def _encode_pictures(self) -> tuple[Tensor, Tensor | None]:
        """Latents (N, 4, h, w), once, and mask weights (N, 1, h, w) if any picture has a mask."""
        latents = torch.cat([self.host.encode_images(p.pixels[None].to(self.host.device)) for p in self.pictures])
        if not self.config.use_mask or all(picture.mask is None for picture in self.pictures):
            return latents, None
        height, width = latents.shape[2:]
        plain = torch.ones(1, height, width)
        masks = [
            plain if p.mask is None else latent_weight(p.mask, height, width, f'The mask of "{p.source}"')
            for p in self.pictures
        ]
        return latents, torch.stack(masks).to(latents)

    def _set_rates(self, step: int) -> float:
        rate = lr_at(self.rates, step, self.config.steps, self.config.warmup, self.config.cosine)
        for group, ratio in zip(self.optimizer.param_groups, (1.0, self.config.negative_lr_ratio), strict=False):
            group["lr"] = rate * ratio
        return rate

    def _backward_in_range(self, latents: Tensor, masks: Tensor | None) -> Tensor:
        """`_backward`; in half precision with the loss scaled (arXiv 1710.03740), again where that overflows."""
        while True:
            loss = self._backward(latents, masks)
            if self.loss_scale == 1:
                return loss
            gradients = [v.grad for half in self._halves for v in half.values() if v.grad is not None]
            if all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
                for gradient in gradients:
                    gradient /= self.loss_scale
                return loss
            self.loss_scale = max(1.0, self.loss_scale / 2)
            self.optimizer.zero_grad(set_to_none=True)

    def _backward(self, latents: Tensor, masks: Tensor | None) -> Tensor:
        """Add up the gradient of the mean loss over all samples of this step; the mean loss, detached."""
        config, device = self.config, latents.device
        samples = config.batch_size * config.accumulation
        draws = Draws(config.seed, self.step)
        order = picture_order(config.seed, len(latents), self.step * samples, samples)
        noise = draws.noise((samples, *latents.shape[1:])).to(latents)
        timesteps = draws.integers(self.host.schedule.timesteps, samples).to(device)
        prompts, negative_prompts = self._prompts(draws, order)
        total = torch.zeros((), device=device)
        for first in range(0, samples, config.batch_size):
            part = slice(first, first + config.batch_size)
            loss = noise_loss(
                self.host,
                latents[order[part]],
                noise[part],
                timesteps[part],
                self.host.encode_prompts(prompts[part]),
                self.host.encode_prompts(negative_prompts[part]) if config.use_negative else None,
                self.guidance.at(timesteps[part], self.host.schedule.timesteps),
                None if masks is None else masks[order[part]],
                config.min_snr,
            )
            loss = loss.sum() / samples
            if loss.requires_grad:
                (loss * self.loss_scale).backward()
            total += loss.detach()
        return total

    def _prompts(self, draws: Draws, order: Sequence[int]) -> tuple[list[str], list[str]]:
        config = self.config
        captions = [self.pictures[i].caption for i in order]

        def draw(templates: tuple[str, ...], word: str) -> list[str]:
            chosen = draws.integers(len(templates), len(order)).tolist()
            return [fill(templates[i], word, caption) for i, caption in zip(chosen, captions, strict=True)]

        return draw(config.templates, config.name), draw(config.negative_templates, negative_name(config.name))

    def is_sound(self) -> bool:
        """Whether every vector is a finite number."""
        return all(bool(torch.isfinite(v).all()) for half in self.pair.named().values() for v in half.values())

    def snapshot(self) -> Snapshot:
        """The whole state, copied; raises TrainingError rather than keep vectors that are not finite."""
        tensors = {}
        for prefix, half in (("positive", self.pair.positive), ("negative", self.pair.negative)):
            for key, vectors in (half or {}).items():
                tensors[f"{prefix}.{key}"] = vectors
                for moment, value in self.optimizer.state.get(vectors, {}).items():
                    tensors[f"{prefix}.{key}.{moment}"] = torch.as_tensor(value)
        copies = {name: t.detach().cpu().clone() for name, t in tensors.items()}
        if not all(torch.isfinite(t).all() for t in copies.values()):
            raise TrainingError(
                f"the vectors are no longer finite at step {self.step}; the snapshot before it is kept."
            )
        about = self.config.to_json(), self.step, fingerprint(self.pictures), self.host.identity()
        return Snapshot(copies, *about, tuple(self.checks))

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the same settings (but for `steps` and `save_every`), pictures and model."""
        self._check_same(snapshot)
        self._check_complete(snapshot)
        for prefix, half in (("positive", self.pair.positive), ("negative", self.pair.negative)):
            for key, vectors in (half or {}).items():
                vectors.copy_(snapshot.tensors[f"{prefix}.{key}"])
                moments = ("step", "exp_avg", "exp_avg_sq")
                state = {m: snapshot.tensors.get(f"{prefix}.{key}.{m}") for m in moments}
                if state["step"] is not None:
                    # AdamW counts its steps on the CPU
                    self.optimizer.state[vectors] = {
                        m: t.clone() if m == "step" else t.to(vectors) for m, t in state.items() if t is not None
                    }
        self.step = self.pair.step = snapshot.step
        self.checks = list(snapshot.checks)

    def _check_complete(self, snapshot: Snapshot) -> None:
        for prefix, half in (("positive", self.pair.positive), ("negative", self.pair.negative)):
            for key, vectors in (half or {}).items():
                wanted = {"": vectors.shape}
                if snapshot.step:
                    wanted |= {".step": torch.Size([]), ".exp_avg": vectors.shape, ".exp_avg_sq": vectors.shape}
                for part, shape in wanted.items():
                    tensor = snapshot.tensors.get(f"{prefix}.{key}{part}")
                    if tensor is None or tensor.shape != shape:
                        raise FileError("the snapshot is damaged: it lacks a part of what training needs.")

    def _check_same(self, snapshot: Snapshot) -> None:
        old = json.loads(TrainConfig.from_mapping(json.loads(snapshot.config)).to_json())
        new = json.loads(self.config.to_json())
        for name in new:
            free = {"save_every", "steps"} if not self.config.cosine else {"save_every"}
            if name not in free and old[name] != new[name]:
                raise SettingError(
                    f"this training was started with {name} {old[name]}, so it cannot go on with {new[name]}."
                )
        if snapshot.fingerprint != fingerprint(self.pictures):
            raise SettingError(
                "this training was started from another picture or mask, so it cannot go on with this one."
            )
        if snapshot.model != self.host.identity():
            raise SettingError(
                "this training was started on another model or precision, so it cannot go on with this one."
            )
        if not 0 <= snapshot.step <= self.config.steps:
            raise SettingError(f"this training is already at step {snapshot.step}, past {self.config.steps}.")
