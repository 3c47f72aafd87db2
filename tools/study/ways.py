"""Ways of training that are no setting, because the study has to show first that they pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from unittest.mock import patch

import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.draws import Draws, seed_for
from dreamartist_ext.engine.host import Vectors
from dreamartist_ext.engine.pictures import Shown
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.hosts.diffusers.host import DiffusersHost


class NegativeOnly(Training):
    """The positive stays the word that it starts from; only the negative learns."""

    def _shape_gradients(self) -> None:
        super()._shape_gradients()
        for vectors in self.pair.positive.values():
            vectors.grad = torch.zeros_like(vectors)


class EmptyNegativeInHalf(Training):
    """In half of the samples the empty prompt stands in the negative's place, so that the positive has to be right
    beside it too: the guidance scale then meets a pair that it was made for from both ends."""

    def _prompts(self, draws: Draws, order: Sequence[int], step: int) -> tuple[list[str], list[str]]:
        positive, negative = super()._prompts(draws, order, step)
        generator = torch.Generator().manual_seed(seed_for(self.config.seed, "empty negatives", step))
        empty = torch.rand(len(negative), generator=generator) < 0.5
        return positive, ["" if is_empty else prompt for is_empty, prompt in zip(empty.tolist(), negative, strict=True)]

    def _check_reached(self) -> None:
        """A step whose samples are all without the negative leaves it as it is."""


class CrossInitialization(Training):
    """Both halves start from what the text encoder makes of the initial words, in place of their embeddings
    (arXiv 2312.15905; there for faces, with a pull back to it, which is left out here). One text encoder only."""

    def __init__(self, host: DiffusersHost, config: TrainConfig, pictures: Sequence[Shown]) -> None:
        with patch.object(host, "initial_vectors", partial(outputs_of, host)):
            super().__init__(host, config, pictures)


def outputs_of(host: DiffusersHost, text: str, count: int) -> Vectors:
    """Vector i of `count` is the output for token floor(i * tokens / count) of the text's."""
    tokens = len(host.token_ids(text))
    with torch.no_grad(), host.session():
        states = host.encode_prompts([text])[0, 1 : 1 + tokens]  # without the start
    return {key: states[torch.arange(count) * tokens // count] for key in host.mean_norms()}


WAYS: dict[str, Callable[..., Training]] = {
    "": Training,
    "negative only": NegativeOnly,
    "empty negative in half": EmptyNegativeInHalf,
    "cross initialization": CrossInitialization,
}
