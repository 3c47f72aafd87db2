"""Several trainings that share their passes through the network: each sample has its own pair and optimizer.

A training is what it would be alone: same seeds, noises, timesteps and order of pictures; its own loss, clipping,
average, checks and snapshots; and a step of its own that is left out, if its loss is not finite. Only the last digits
of the arithmetic are those of a larger batch.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields, replace
from itertools import chain

import torch
from torch import Tensor

from ..engine.config import TrainConfig
from ..engine.errors import DreamArtistError, SettingError, TrainingError
from ..engine.host import DiffusionHost
from ..engine.latents import EncodedPictures
from ..engine.memory import memory_saved
from ..engine.passes import Pass, joined, losses
from ..engine.pictures import Shown
from ..engine.trainer import Training
from ..files.run import RunFiles, is_out_of_memory, run_to_files
from .own_words import OwnWords, PromptShapes, reads_as

OWN_SETTINGS = frozenset(["name", "caption", "seed"])  # all others are common to trainings that share passes
MOST_IN_A_PASS = 256


class SharedTraining(Training):
    """A training whose losses and gradients come out of passes that it shares."""

    def __init__(self, host: DiffusionHost, config: TrainConfig, pictures: Sequence[Shown]) -> None:
        super().__init__(OwnWords(host), config, pictures)
        self.computed: tuple[Tensor, list[Tensor | None]] | None = None

    def vectors(self) -> list[Tensor]:
        return [v for half in self.pair.named().values() for v in half.values()]

    def _backward(self, encoded: EncodedPictures) -> Tensor:
        assert self.computed is not None, "the pass comes before the step"
        (loss, gradients), self.computed = self.computed, None
        for vectors, gradient in zip(self.vectors(), gradients, strict=True):
            vectors.grad = gradient
        return loss


@dataclass
class Member:
    """One of the trainings; `error` is why it ended early, `is_done` that nothing is left to do."""

    training: SharedTraining
    files: RunFiles
    is_done: bool = False
    error: DreamArtistError | None = None

    @property
    def is_unfinished(self) -> bool:
        return not self.is_done and self.error is None

    def takes_part(self, step: int) -> bool:
        """Whether its samples are in the pass at this step.

        A training that is already further still fills its place. So after a resume the others compute exactly what
        they would have computed in a run without a stop.
        """
        return self.error is None and (not self.training.is_over or self.training.step > step)

    def learns_at(self, step: int) -> bool:
        """Whether this is the step from which it goes on."""
        return self.is_unfinished and self.training.step == step and not self.training.is_over


def check_alike(members: Sequence[Member]) -> None:
    """Raises SettingError where trainings cannot share their passes."""
    first = members[0].training.config
    for config in (member.training.config for member in members):
        for name in (item.name for item in fields(TrainConfig)):
            if name not in OWN_SETTINGS and getattr(config, name) != getattr(first, name):
                raise SettingError(f"{config.name} and {first.name} differ in {name}; they cannot share their passes.")
    if first.batch_size * len(members) > MOST_IN_A_PASS:
        raise SettingError(
            f"a pass has at most {MOST_IN_A_PASS} samples, got {len(members)} concepts of batch_size "
            f"{first.batch_size}."
        )


def train_together(
    host: DiffusionHost, members: Sequence[Member], provenance: Mapping[str, str] | None = None
) -> Generator[int, None, None]:
    """Train to the end all members that are not done; yields after each step how many made it.

    Closing it keeps a snapshot of each. A member's own error ends that member only, and is found there; an error of a
    common pass ends all of them and is raised. Raises SettingError as `check_alike`.
    """
    check_alike(members)
    with host.session(), ExitStack() as stack:
        _encode(members)
        sizes = list(chain.from_iterable(m.training.encoded().sizes for m in members if m.error is None))
        if not any(member.is_unfinished for member in members):
            return
        config = members[0].training.config
        stack.enter_context(memory_saved(host, replace(config, batch_size=config.batch_size * len(members)), sizes))
        reports = [stack.enter_context(closing(run_to_files(m.training, m.files, provenance))) for m in members]
        passes = SharedPasses(host)
        while behind := [member for member in members if member.is_unfinished]:
            step = min(member.training.step for member in behind)
            taking = [member.training for member in members if member.takes_part(step)]
            passes.compute(taking, [member.training for member in behind if member.learns_at(step)], step)
            now = [i for i, member in enumerate(members) if member.is_unfinished and member.training.step == step]
            yield sum(_advance(members[i], reports[i]) for i in now)


def _encode(members: Sequence[Member]) -> None:
    """Encode everyone's pictures; one that cannot be read ends its own training only."""
    for member in members:
        member.training.scratch = member.files.folder
        if member.error is None:
            try:
                member.training.encoded()
            except DreamArtistError as error:
                member.error = error


def _advance(member: Member, reports: Generator) -> bool:
    """Whether this member has made its step."""
    try:
        next(reports)
    except StopIteration:
        member.is_done = True
        return False
    except DreamArtistError as error:
        member.error = error
        return False
    return True


class SharedPasses:
    """The passes of one step after another, and what they need to know of prompts."""

    def __init__(self, host: DiffusionHost) -> None:
        self.host = host
        self.shapes = PromptShapes(host)

    def compute(self, taking: Sequence[SharedTraining], learning: Sequence[SharedTraining], step: int) -> None:
        """Hand to those that are `learning` the loss and the gradients of their next step; raises TrainingError.

        taking: all whose samples are in the passes, always in the same order.
        """
        if not learning:
            return
        try:
            for training in learning:
                training.computed = (torch.zeros((), device=self.host.device), [None] * len(training.vectors()))
            for parts in zip(*(t.passes(t.encoded(), step) for t in taking), strict=True):
                for group in self._groups(list(zip(taking, parts, strict=True))):
                    self._add(group, learning)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise TrainingError(
                    f"out of memory at step {step + 1}; fewer concepts per pass, or less_memory on, need less."
                ) from error
            raise

    def _groups(self, shares: list[tuple[SharedTraining, Pass]]) -> list[list[tuple[SharedTraining, Pass]]]:
        """Those that can be one batch: pictures of one size, prompts that are padded alike, and no prompt that could
        be read as holding another's word."""
        groups: dict[tuple, list[list[tuple[SharedTraining, Pass]]]] = {}
        for training, part in shares:
            like = groups.setdefault((part.latents.shape[1:], self.shapes.longest(training.pair, part)), [])
            place = next((group for group in like if not _meets(training, part, group)), None)
            if place is None:
                like.append(place := [])
            place.append((training, part))
        return [group for alike in groups.values() for group in alike]

    def _add(self, group: list[tuple[SharedTraining, Pass]], learning: Sequence[SharedTraining]) -> None:
        """One pass: its share of the loss and of the gradients to each that is learning."""
        if not any(training in learning for training, _ in group):
            return
        words = {word: half for training, _ in group for word, half in training.pair.named().items()}
        with self.host.bind(words):
            each = losses(self.host, group[0][0].config, joined([part for _, part in group]))
        shares = each.split([len(part) for _, part in group])
        means = {t: share.sum() / t.samples for (t, _), share in zip(group, shares, strict=True) if t in learning}
        total = torch.stack([training.guard.scaled(mean) for training, mean in means.items()]).sum()
        vectors = [v for training in means for v in training.vectors()]
        found = iter(torch.autograd.grad(total, vectors, allow_unused=True) if total.requires_grad else [])
        for training, mean in means.items():
            assert training.computed is not None
            loss, before = training.computed
            new = [next(found, None) for _ in before]
            gradients = [a if b is None else b if a is None else a + b for a, b in zip(before, new, strict=True)]
            training.computed = (loss + mean.detach(), gradients)


def _meets(training: SharedTraining, part: Pass, group: list[tuple[SharedTraining, Pass]]) -> bool:
    """Whether one of both could find the other's word in its prompts."""
    return any(
        reads_as(part, training.config.name, other.config.name)
        or reads_as(theirs, other.config.name, training.config.name)
        for other, theirs in group
    )
