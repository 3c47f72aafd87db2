"""Everything random about a training, as functions of its seed and the step: noise, timesteps, order of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


class Draws:
    """Everything random about one step, as a function of seed and step alone: the same on every device, after
    every resume, and for one batch of N as for N accumulated passes."""

    def __init__(self, seed: int, step: int) -> None:
        self.generator = torch.Generator().manual_seed(seed_for(seed, "step", step))

    def noise(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def integers(self, high: int, count: int) -> Tensor:
        return torch.randint(high, (count,), generator=self.generator)

    def timesteps(self, high: int, count: int, exponent: float = 1.0, first: int = 0) -> Tensor:
        """t = first + floor(high u^exponent) with u uniform in [0, 1): (count,).

        An exponent below 1 draws more of them from the noisy end."""
        if exponent == 1:
            return first + self.integers(high, count)
        drawn = (high * torch.rand(count, generator=self.generator) ** exponent).long()
        return first + drawn.clamp(max=high - 1)


def seed_for(seed: int, purpose: str, index: int) -> int:
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def picture_order(seed: int, count: int, first: int, wanted: int) -> list[int]:
    """Indices of samples first, first + 1, ... when every epoch is a fresh permutation of `count` pictures."""
    order = []
    for position in range(first, first + wanted):
        epoch, place = divmod(position, count)
        generator = torch.Generator().manual_seed(seed_for(seed, "order", epoch))
        order.append(int(torch.randperm(count, generator=generator)[place]))
    return order


def bucket_order(seed: int, buckets: Sequence[Hashable], step: int, samples: int) -> list[int]:
    """Indices of the pictures of one step, all of one bucket; buckets[i] is the bucket of picture i.

    An epoch has as many steps as there are pictures, and each picture leads one of them. A step takes the next samples
    of its leader's bucket; every bucket has its own order. So all pictures are shown equally often, however a step's
    samples are split into passes. Within one bucket it is `picture_order`.
    """
    count = len(buckets)
    epoch, place = divmod(step, count)
    generator = torch.Generator().manual_seed(seed_for(seed, "leaders", epoch))
    led = [buckets[i] for i in torch.randperm(count, generator=generator).tolist()]
    members = [i for i, bucket in enumerate(buckets) if bucket == led[place]]
    before = epoch * len(members) + led[:place].count(led[place])
    return [members[i] for i in picture_order(seed, len(members), before * samples, samples)]
