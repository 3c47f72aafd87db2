"""One training in several processes: each computes its share of every step's samples, and all make the same step.

Every process draws the noise, timesteps, pictures and prompts of the whole step, as one alone would, and computes its
own slice of the samples. Losses and gradients are added up over all of them, so that every optimizer makes the same
step, and drops the same. The first process leads: it alone checks, writes, and says whether there is another step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from .config import TrainConfig
from .errors import DreamArtistError, SettingError, TrainingError, first_line
from .host import DiffusionHost
from .latents import EncodedPictures
from .pictures import Shown
from .snapshot import Snapshot
from .trainer import Training

# What the first process tells the others: make a step, say what you hold, or go.
Order = Literal["step", "compare", "end"]


class Group(Protocol):
    """The processes of one training. All call the same methods in the same order.

    When a process is gone, a call raises TrainingError, and `is_broken` is true from then on."""

    rank: int  # 0 leads
    count: int
    is_broken: bool

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each; a CPU tensor waits for no GPU."""

    def told(self, value: Any = None) -> Any:
        """What the first process says."""

    def all_said(self, value: Any) -> list[Any]:
        """What each process says, in the order of their ranks."""


class DividedTraining(Training):
    """One of the processes of a training. The first is trained like any other `Training`; the others `follow` it."""

    def __init__(self, host: DiffusionHost, config: TrainConfig, pictures: Sequence[Shown], group: Group) -> None:
        """Raises SettingError for a step with fewer samples than processes."""
        check_divisible(config, group.count)
        super().__init__(host, config, pictures)
        self.group = group

    def parts(self) -> list[slice]:
        """This process's passes: neighbouring samples, of which no process has two more than another."""
        size = self.config.batch_size
        first, last = (self.samples * rank // self.group.count for rank in (self.group.rank, self.group.rank + 1))
        return [slice(begin, min(begin + size, last)) for begin in range(first, last, size)]

    def follow(self) -> None:
        """For the other processes: make the leader's steps until it says that the training is over."""
        with closing(self.run()) as reports:
            while (order := self.group.told()) != "end":
                if order == "compare":
                    self.group.all_said(self._digest())
                    continue
                try:
                    next(reports)
                except DreamArtistError:
                    if self.group.is_broken:
                        raise  # otherwise the first process raises the same, and may still want to compare

    def _backward(self, encoded: EncodedPictures) -> Tensor:
        """As in one process, of the samples of all of them; raises what any of them raised."""
        if self.group.rank == 0:
            self.group.told("step")
        failure, loss = None, torch.zeros((), device=encoded.device)
        try:
            loss = super()._backward(encoded)
        except Exception as error:  # whatever it is, the others have to hear of it, or they wait
            failure = error
        vectors = [v for half in self._halves for v in half.values()]
        reached = self._reached_anywhere([v.grad is not None for v in vectors], failure)
        gradients = [torch.zeros_like(v) if v.grad is None else v.grad for v in vectors]
        summed = self.group.total(torch.cat([loss.to(vectors[0]).reshape(1), *(g.flatten() for g in gradients)]))
        parts = summed[1:].split([v.numel() for v in vectors])
        for v, gradient, is_reached in zip(vectors, parts, reached, strict=True):
            v.grad = gradient.reshape(v.shape) if is_reached else None
        return summed[0].to(loss)

    def _reached_anywhere(self, reached: Sequence[bool], failure: Exception | None) -> list[bool]:
        """Which vectors have a gradient in any process. Reads no value of a GPU, so that nobody waits for one."""
        failed, *counts = self.group.total(torch.tensor([failure is not None, *reached]).long()).tolist()
        if failed:
            sentences = self.group.all_said(None if failure is None else first_line(failure))
            if failure is not None and self.group.rank == 0:
                raise failure
            rank = next(rank for rank, sentence in enumerate(sentences) if sentence)
            raise TrainingError(f"process {rank + 1} of {self.group.count} cannot go on: {sentences[rank]}")
        return [count > 0 for count in counts]

    def snapshot(self) -> Snapshot:
        """See `Training.snapshot`; raises TrainingError too where the processes do not hold the same any more."""
        snapshot = super().snapshot()
        if not self.group.is_broken:
            self._compare()
        return snapshot

    def _compare(self) -> None:
        try:
            self.group.told("compare")
            digests = self.group.all_said(self._digest())
        except TrainingError:
            return  # one of them is gone: what is here is sound, and there will be no other step
        if len(set(digests)) > 1:
            raise TrainingError(
                f"the processes do not hold the same vectors any more at step {self.step}; "
                "the snapshot before it is kept."
            )

    def _digest(self) -> str:
        """Of the step, vectors, moments and averages, bit by bit."""
        digest = hashlib.sha256(str(self.step).encode())
        for tensor in self._state():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def check_divisible(config: TrainConfig, count: int) -> None:
    """Raises SettingError for a step with fewer samples than processes."""
    samples = config.batch_size * config.accumulation
    if samples < count:
        raise SettingError(
            f"batch_size x accumulation is {samples}, too few for {count} processes to share; "
            f"give at least {count}, or fewer processes."
        )
