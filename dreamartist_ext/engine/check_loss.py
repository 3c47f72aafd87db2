"""A loss that can be compared between steps: the same noises and timesteps each time, no gradient.

The loss of a training step is mostly the luck of its timesteps; this one moves only when the vectors do.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import Tensor

from .guidance import Guidance
from .names import negative_name
from .objective import noise_loss
from .passes import conditioning
from .prompts import fill, negative_captions
from .stopping import Check, check_samples
from .trainer import Training

SEED = 20221121  # any; fixed, so that two trainings of one picture can be compared as well
PART = 4  # samples per forward pass


class CheckLoss:
    """Call it inside a host session, with the pair bound. `stopping.check_interval` says what it costs.

    A training that goes on keeps its number of samples, also when its number of steps changes.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        checks = training.checks
        self.samples = checks[-1].samples if checks else check_samples(training.config)
        self._baseline = checks[-1].baseline if checks else None

    @torch.no_grad()
    def __call__(self) -> Check:
        config, pair = self.training.config, self.training.pair
        captions = [picture.caption for picture in self.training.pictures]
        prompts = [fill(config.templates[0], pair.name, caption) for caption in captions]
        negatives = [
            fill(config.negative_templates[0], negative_name(pair.name), caption)
            for caption in negative_captions(captions, pair.name, config.filewords_positive_only)
        ]
        if self._baseline is None:
            empty = [""] * len(prompts)
            self._baseline = self._mean_loss(empty, None)
        with self.training.kept_bound():
            loss = self._mean_loss(prompts, negatives if pair.negative else None)
        return Check(self.training.step, loss, self._baseline, self.training.guard.mean_loss(), self.samples)

    def _mean_loss(self, prompts: list[str], negatives: list[str] | None) -> float:
        host, config = self.training.host, self.training.config
        encoded = self.training.encoded()
        timesteps = self._timesteps().to(encoded.device)
        pictures = spread_over(len(encoded), self.samples)
        generator = torch.Generator().manual_seed(SEED)
        guidance = None if negatives is None else Guidance.parse(config.guidance)
        total = torch.zeros((), device=encoded.device)
        for part in parts_of_one_size([encoded.sizes[i] for i in pictures], PART):
            chosen = pictures[part]
            latents = encoded.latents(chosen)
            noise = torch.randn(*latents.shape, generator=generator).to(latents)
            total += noise_loss(
                encoded.host_for(host, chosen),
                latents,
                noise,
                timesteps[part],
                conditioning(
                    host, [prompts[i] for i in chosen], None if negatives is None else [negatives[i] for i in chosen]
                ),
                None if guidance is None else guidance.at(timesteps[part], host.schedule.timesteps),
                encoded.weights(chosen),
                config.min_snr,
                config.noisy_weight,
            ).sum()
        return float(total / self.samples)

    def _timesteps(self) -> Tensor:
        """The middles of equal parts of the timesteps that are trained, (samples,)."""
        first, count = self.training.config.timestep_range.of(self.training.host.schedule.timesteps)
        return first + ((torch.arange(self.samples) + 0.5) * count / self.samples).long()


def spread_over(count: int, samples: int) -> list[int]:
    """Which of `count` pictures each sample shows: all in turn, or, of too many, some spread evenly."""
    return [i % count if count <= samples else i * count // samples for i in range(samples)]


def parts_of_one_size(sizes: Sequence[Hashable], most: int) -> Iterator[slice]:
    """Runs of at most `most` neighbours that have the same size."""
    first = 0
    for i in range(1, len(sizes) + 1):
        if i == len(sizes) or i - first == most or sizes[i] != sizes[first]:
            yield slice(first, i)
            first = i
