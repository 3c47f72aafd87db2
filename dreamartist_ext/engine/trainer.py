"""The training loop: one readable generator of StepReports over a state that can be saved and restored."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .averaging import average_in, copy_of, overwrite
from .captions import CaptionWays
from .config import TrainConfig
from .draws import Draws, bucket_order, seed_for
from .embedding import EmbeddingPair
from .errors import SettingError
from .family import family_in_words, widths_of
from .guidance import Guidance
from .host import DiffusionHost, Vectors
from .latents import EncodedPictures
from .learning_rate import RateSchedule, lr_at
from .memory import memory_saved
from .names import negative_name
from .norm import SIDES, set_length, turn_only
from .passes import Pass, losses
from .pictures import Shown, fingerprint
from .prompts import fill, negative_captions
from .snapshot import Snapshot, check_same, put_back, tensors_of
from .step_guard import StepGuard, copies, undo_unless
from .stopping import Check, is_over
from .transfer import to_device

NEGATIVE_JITTER = 1e-3  # the negative starts as the positive's initial vectors plus this much noise


@dataclass(frozen=True)
class StepReport:
    """What one step did. `loss` stays a tensor: reading it waits for the GPU."""

    step: int  # 1 .. steps
    steps: int
    loss: Tensor  # scalar
    learning_rate: float
    seconds: float  # this step's


def initial_pair(host: DiffusionHost, config: TrainConfig) -> EmbeddingPair:
    """The pair at step 0, on the host's device."""
    positive = host.initial_vectors(config.initialization_text, config.vectors)
    if not config.use_negative:
        return EmbeddingPair(config.name, positive)
    generator = torch.Generator().manual_seed(seed_for(config.seed, "negative", 0))
    text = config.negative_initialization_text or config.initialization_text
    negative = {
        key: v + NEGATIVE_JITTER * torch.randn(v.shape, generator=generator).to(v)
        for key, v in host.initial_vectors(text, config.negative_vectors).items()
    }
    return EmbeddingPair(config.name, positive, negative)


def check_start(own: Vectors, other: Vectors, setting: str, word: str) -> None:
    """Raises SettingError unless vectors can take the place of others."""
    widths = [family_in_words(widths_of(half)) for half in (own, other)]
    if widths_of(own) != widths_of(other):
        raise SettingError(f"start_from must be a word for {widths[0]}, and {word} is for {widths[1]}.")
    counts = [len(next(iter(half.values()))) for half in (own, other)]
    if counts[0] != counts[1]:
        raise SettingError(
            f"{setting} must be {counts[1]}, the number of vectors of {word} in start_from, got {counts[0]}."
        )


class Training:
    """The pair, its optimizer and the step; `run` makes steps until config.steps."""

    def __init__(self, host: DiffusionHost, config: TrainConfig, pictures: Sequence[Shown]) -> None:
        self.host = host
        self.config = config
        self.pictures = pictures
        self.rates = RateSchedule.parse(config.learning_rate)
        self.guidance = Guidance.parse(config.guidance)
        self.pair = initial_pair(host, config)
        self.step = 0
        self._is_whole = True  # no step was cut short between its first change and its last
        self.checks: list[Check] = []
        self.scratch: Path | None = None  # where latents that do not fit into memory may lie
        self._encoded: EncodedPictures | None = None
        self._fingerprint = ""
        self.guard = StepGuard(float(getattr(host, "loss_scale", 1.0)), host.device)
        self._halves: list[Vectors] = [h for h in (self.pair.positive, self.pair.negative) if h is not None]
        self._lengths = host.mean_norms() if config.fix_norm != "off" else {}
        self._set_lengths(self.pair)
        self.average = copy_of(self.pair) if config.ema else None
        self.optimizer = torch.optim.AdamW(
            [{"params": [v.requires_grad_(True) for v in half.values()]} for half in self._halves],
            lr=self.rates.rate(1),
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=host.device.type == "cuda" or None,  # counts its steps on the GPU: see `step_guard`
        )

    def start_from(self, pair: EmbeddingPair) -> None:
        """Begin from the vectors of another pair; a half that it lacks begins as without it. Raises SettingError where
        the numbers of vectors or the kinds of model differ."""
        halves = (
            (self.pair.positive, pair.positive, "vectors"),
            (self.pair.negative, pair.negative, "negative_vectors"),
        )
        given = [(own, other, setting) for own, other, setting in halves if own is not None and other is not None]
        for own, other, setting in given:
            check_start(own, other, setting, self.config.start_from)
        with torch.no_grad():
            for own, other, _ in given:
                for key, vectors in own.items():
                    vectors.copy_(other[key])
        self._set_lengths(self.pair)
        if self.average is not None:
            overwrite(self.average, self.pair)

    def run(self) -> Generator[StepReport, None, None]:
        """Train inside a host session; closing the generator at any step puts the model back as it was."""
        with self.host.session(), self.host.bind(self.pair.named()), ExitStack() as stack:
            encoded = self.encoded()
            stack.enter_context(memory_saved(self.host, self.config, encoded.sizes))
            while self.step < self.config.steps:
                started = time.perf_counter()
                rate = self._set_rates(self.step + 1)
                self.optimizer.zero_grad(set_to_none=True)  # also what a step that failed left behind
                loss = self._backward(encoded)
                self._check_reached()
                self._make_step(loss)
                self.guard.check(self.step)
                yield StepReport(self.step, self.config.steps, loss, rate, time.perf_counter() - started)

    def _make_step(self, loss: Tensor) -> None:
        """Change vectors, moments and averages, unless this step's loss or gradient is not finite."""
        was_whole, self._is_whole = self._is_whole, False
        gradients = (v.grad for half in self._halves for v in half.values() if v.grad is not None)
        finite = self.guard.judge(loss, gradients)
        before = copies(self._state())
        self._shape_gradients()
        self.optimizer.step()
        self.step += 1
        self._after_step()
        undo_unless(finite, self._state(), before)
        self._is_whole = was_whole

    def _state(self) -> list[Tensor]:
        vectors = [v for half in self._halves for v in half.values()]
        moments = [m for state in self.optimizer.state.values() for m in state.values()]
        averages = [] if self.average is None else [v for h in self.average.named().values() for v in h.values()]
        return [*vectors, *moments, *averages]

    def _shape_gradients(self) -> None:
        for half, fixed in zip(self._halves, SIDES[self.config.fix_norm], strict=False):
            if fixed:
                turn_only(half)
            if self.config.clip_gradient:
                torch.nn.utils.clip_grad_norm_(half.values(), self.config.clip_gradient)

    def _after_step(self) -> None:
        self.pair.step = self.step
        self._set_lengths(self.pair)
        if self.average is not None:
            average_in(self.average, self.pair, self.config.ema)
            self._set_lengths(self.average)
            self.average.step = self.step
            if self.config.ema_replace_every and self.step % self.config.ema_replace_every == 0:
                overwrite(self.pair, self.average)

    def _set_lengths(self, pair: EmbeddingPair) -> None:
        for half, fixed in zip((pair.positive, pair.negative), SIDES[self.config.fix_norm], strict=True):
            if fixed and half is not None:
                set_length(half, self._lengths)

    def kept(self) -> EmbeddingPair:
        """The pair that is judged, shown and written: the one that is trained, or its average."""
        if self.average is None or not self.config.save_ema:
            return self.pair
        return replace(self.average, provenance=self.pair.provenance)

    def kept_bound(self) -> AbstractContextManager[None]:
        """Inside, prompts see `kept()`; call it where the training's session is open."""
        return nullcontext() if self.kept() is self.pair else self.host.bind(self.kept().named())

    def _check_reached(self) -> None:
        """A word that the tokenizer does not find in a prompt would leave its vectors as they were."""
        for word, half in self.pair.named().items():
            if all(vectors.grad is None for vectors in half.values()):
                raise SettingError(
                    f'the word "{word}" is not found in its own prompts; choose another name or template.'
                )

    def encoded(self) -> EncodedPictures:
        """The pictures as latents, made once; call it inside a host session."""
        if self._encoded is None:
            self._encoded = EncodedPictures(self.host, self.config, self.pictures, self.scratch)
            self._fingerprint = self._encoded.fingerprint
        return self._encoded

    def fingerprint(self) -> str:
        """Of the pictures, which may be many: read once."""
        if not self._fingerprint:
            self._fingerprint = fingerprint(self.pictures)
        return self._fingerprint

    def _set_rates(self, step: int) -> float:
        rate = lr_at(self.rates, step, self.config.steps, self.config.warmup, self.config.cosine)
        for group, ratio in zip(self.optimizer.param_groups, (1.0, self.config.negative_lr_ratio), strict=False):
            group["lr"] = rate * ratio
        return rate

    def _backward(self, encoded: EncodedPictures) -> Tensor:
        """Add up the gradient of the mean loss over all samples of this step; the mean loss, detached."""
        total = torch.zeros((), device=encoded.device)
        for part in self.passes(encoded, self.step):
            loss = losses(self.host, self.config, part).sum() / self.samples
            if loss.requires_grad:
                self.guard.scaled(loss).backward()
            total += loss.detach()
        return total

    @property
    def samples(self) -> int:
        """Of one step."""
        return self.config.batch_size * self.config.accumulation

    def parts(self) -> list[slice]:
        """The samples of each pass of a step."""
        size = self.config.batch_size
        return [slice(first, first + size) for first in range(0, self.samples, size)]

    def passes(self, encoded: EncodedPictures, step: int) -> Iterator[Pass]:
        """What the step that leads on from `step` learns from; a function of the settings, pictures and step alone."""
        config, device = self.config, encoded.device
        draws = Draws(config.seed, step)
        order = bucket_order(config.seed, encoded.sizes, step, self.samples)
        latents, masks = encoded.latents(order, step), encoded.weights(order)
        noise = to_device(draws.noise((self.samples, *latents.shape[1:])), device).to(latents)
        first_timestep, count = config.timestep_range.of(self.host.schedule.timesteps)
        timesteps = draws.timesteps(count, self.samples, config.timestep_exponent, first_timestep)
        timesteps = to_device(timesteps, device)
        prompts, negative_prompts = self._prompts(draws, order, step)
        for part in self.parts():
            yield Pass(
                latents[part],
                noise[part],
                timesteps[part],
                prompts[part],
                negative_prompts[part],
                None if masks is None else masks[part],
                encoded.context(order[part]),
                encoded.pixels(order[part]) if config.reconstruction else None,
            )

    def _prompts(self, draws: Draws, order: Sequence[int], step: int) -> tuple[list[str], list[str]]:
        config = self.config
        captions = CaptionWays.of(config).vary([self.pictures[i].caption for i in order], config.seed, step)
        plain = negative_captions(captions, config.name, config.filewords_positive_only)

        def draw(templates: tuple[str, ...], word: str, filewords: list[str]) -> list[str]:
            chosen = draws.integers(len(templates), len(order)).tolist()
            return [fill(templates[i], word, words) for i, words in zip(chosen, filewords, strict=True)]

        return (
            draw(config.templates, config.name, captions),
            draw(config.negative_templates, negative_name(config.name), plain),
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: all steps are made, or the checks have run out of patience."""
        return is_over(self.config, self.step, self.checks)

    def is_sound(self) -> bool:
        """Whether the last step was made to its end, and every vector is a finite number."""
        return self._is_whole and all(
            bool(torch.isfinite(v).all()) for half in self.pair.named().values() for v in half.values()
        )

    def snapshot(self) -> Snapshot:
        """The whole state, copied; raises TrainingError rather than keep vectors that are not finite."""
        tensors = tensors_of(self.pair, self.optimizer, self.average, self.guard)
        about = self.config.to_json(), self.step, self.fingerprint(), self.host.identity()
        return Snapshot(tensors, *about, tuple(self.checks), dict(self.pair.provenance))

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the same settings (but for `steps` and `save_every`), pictures and model."""
        check_same(snapshot, self.config, self.fingerprint(), self.host.identity())
        put_back(snapshot, self.pair, self.optimizer, self.average)
        self.guard.put_back(snapshot.tensors)
        self.pair.provenance = dict(snapshot.about)
        self.step = snapshot.step
        self._is_whole = True
        if self.average is not None:
            self.average.step = snapshot.step
        self.checks = list(snapshot.checks)
