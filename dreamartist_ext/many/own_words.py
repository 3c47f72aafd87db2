"""Keeping apart the words of trainings that share a host: each is to see its own only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch

from ..engine.embedding import EmbeddingPair
from ..engine.host import BoundWords, Cond, DiffusionHost
from ..engine.names import negative_name
from ..engine.passes import Pass

MOST_SHAPES = 10_000  # remembered; captions can make ever new prompts


class OwnWords(BoundWords):
    """A host on which only what is bound here is found in a prompt; the model's state is kept by who shares it."""

    def __init__(self, host: DiffusionHost) -> None:
        super().__init__()
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def session(self) -> AbstractContextManager[None]:
        """One that ends before the others' must not put back what they still need."""
        return nullcontext()

    def less_memory(self) -> AbstractContextManager[None]:
        return nullcontext()

    def encode_prompts(self, prompts: Sequence[str]) -> Cond:
        with self._host.bind(self._bound):
            return self._host.encode_prompts(prompts)


class PromptShapes:
    """How long conditionings become: one that is padded to another's length is no longer what it was alone."""

    def __init__(self, host: DiffusionHost) -> None:
        self.host = host
        self._known: dict[tuple[str, str], tuple] = {}

    def longest(self, pair: EmbeddingPair, samples: Pass) -> tuple:
        """Of these prompts and negative prompts, in some order that longer ones are last in."""
        prompts = [*samples.prompts, *(samples.negative_prompts if pair.negative is not None else [])]
        return max(self._shape(pair, prompt) for prompt in prompts)

    @torch.no_grad()
    def _shape(self, pair: EmbeddingPair, prompt: str) -> tuple:
        key = pair.name, prompt
        if key not in self._known:
            if len(self._known) >= MOST_SHAPES:
                self._known.clear()
            with self.host.bind(pair.named()):
                cond = self.host.encode_prompts([prompt])
            tensors = cond.values() if isinstance(cond, dict) else [cond]
            self._known[key] = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
        return self._known[key]


def reads_as(samples: Pass, own: str, other: str) -> bool:
    """Whether a tokenizer could find the word `other` in these prompts of the word `own`: anywhere but inside of it.

    Tokenizers differ in what they make of blanks and capitals, so these do not count.
    """
    return any(_holds(prompt, own, other) for prompt in dict.fromkeys([*samples.prompts, *samples.negative_prompts]))


@lru_cache(maxsize=2**16)  # the same prompts come again and again, for each two of the trainings
def _holds(prompt: str, own: str, other: str) -> bool:
    text, other = "".join(prompt.lower().split()), other.lower()
    if other not in text:
        return False
    inside = rf"{re.escape(own.lower())}({re.escape(negative_name(''))})?"
    spans = [found.span() for found in re.finditer(inside, text)]
    starts = (found.start() for found in re.finditer(rf"(?={re.escape(other)})", text))
    return any(not any(a <= start and start + len(other) <= b for a, b in spans) for start in starts)
