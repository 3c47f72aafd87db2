"""How a caption varies from sample to sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .config import TrainConfig
from .draws import seed_for


@dataclass(frozen=True)
class CaptionWays:
    """How captions vary. `dropout` is the share of samples without any, `tag_dropout` the share of tags left out."""

    dropout: float = 0.0
    tag_dropout: float = 0.0
    shuffle: bool = False
    separator: str = ","

    @classmethod
    def of(cls, config: TrainConfig) -> CaptionWays:
        return cls(config.caption_dropout, config.tag_dropout, config.shuffle_tags, config.tag_separator)

    def vary(self, captions: Sequence[str], seed: int, step: int) -> list[str]:
        """The captions of one step's samples. Seed and step alone decide them.

        So they are the same after a resume, and for one batch of N as for N accumulated passes."""
        generator = torch.Generator().manual_seed(seed_for(seed, "captions", step))
        return [self._varied(caption, generator) for caption in captions]

    def _varied(self, caption: str, generator: torch.Generator) -> str:
        if self.dropout and _draw(1, generator)[0] < self.dropout:
            return ""
        if not self.tag_dropout and not self.shuffle:
            return caption
        tags = [tag.strip() for tag in caption.split(self.separator) if tag.strip()]
        if self.tag_dropout:
            kept = _draw(len(tags), generator)
            tags = [tag for tag, draw in zip(tags, kept, strict=True) if draw >= self.tag_dropout]
        if self.shuffle:
            tags = [tags[i] for i in torch.randperm(len(tags), generator=generator).tolist()]
        return f"{self.separator.strip()} ".join(tags)


def _draw(count: int, generator: torch.Generator) -> list[float]:
    """Numbers in [0, 1)"""
    return torch.rand(count, generator=generator, dtype=torch.float64).tolist()
