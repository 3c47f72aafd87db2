"""What a training draws at every check: which prompts, with which seeds. Kept beside its snapshots."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from ...engine.errors import SettingError
from ...engine.prompts import lines_of
from ...evaluation.prompt_lists import checked_subject, filled
from ...files.atomic import write_atomically
from ...files.bounded import read_at_most
from ...files.run import RunFiles

FILE = "previews.json"  # beside the snapshots
MOST_PICTURES = 12
MOST_SEED = 2**32 - 1
MOST_BYTES = 20_000


@dataclass(frozen=True)
class PreviewPlan:
    """Every prompt with every seed; the first of the first is also the concept's picture."""

    prompts: tuple[str, ...] = ("[name]",)
    seeds: tuple[int, ...] = (1, 2, 3)

    @classmethod
    def read(cls, prompts: str = "", seeds: str = "") -> PreviewPlan:
        """As typed: a prompt a line, seeds with commas; what is empty stays as usual. Raises SettingError."""
        lines = list(filter(None, lines_of(prompts)))
        words = [word for word in re.split(r"[,;\s]+", seeds) if word]
        for word in words:
            if not (word.isdecimal() and int(word) <= MOST_SEED):
                raise SettingError(f"preview seeds must be whole numbers from 0 to {MOST_SEED}, got {word[:40]!r}.")
        checked = tuple(checked_subject(f"preview prompt {n}", line) for n, line in enumerate(lines, start=1))
        plan = cls(checked or cls.prompts, tuple(map(int, words)) or cls.seeds)
        if plan.count > MOST_PICTURES:
            raise SettingError(
                f"previews of {len(plan.prompts)} prompts and {len(plan.seeds)} seeds are {plan.count} pictures; "
                f"{MOST_PICTURES} are the most."
            )
        return plan

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> PreviewPlan:
        """Raises SettingError, also for what is no plan at all."""
        prompts, seeds = given.get("prompts", ()), given.get("seeds", ())
        if not isinstance(prompts, (list, tuple)) or not isinstance(seeds, (list, tuple)):
            raise SettingError("previews need lists of prompts and of seeds.")
        return cls.read("\n".join(map(str, prompts)), ",".join(map(str, seeds)))

    def to_mapping(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def count(self) -> int:
        return len(self.prompts) * len(self.seeds)

    def pictures(self, name: str) -> list[tuple[str, int]]:
        """(prompt, seed) of every picture, in order."""
        return [(filled(prompt, name), seed) for prompt in self.prompts for seed in self.seeds]

    def captions(self, name: str) -> tuple[str, ...]:
        return tuple(f"{prompt}, seed {seed}" for prompt, seed in self.pictures(name))


USUAL = PreviewPlan()


def keep_plan(files: RunFiles, plan: PreviewPlan) -> None:
    """For a continuation, and for pages of another day; raises FileError."""
    path = files.folder / FILE
    if plan == USUAL:
        path.unlink(missing_ok=True)
    else:
        write_atomically(path, json.dumps(plan.to_mapping()).encode())


def kept_plan(files: RunFiles) -> PreviewPlan:
    """The usual one where none was kept, or none that can be read."""
    with suppress(OSError, ValueError, AttributeError, RecursionError, SettingError):
        return PreviewPlan.from_mapping(json.loads(read_at_most(files.folder / FILE, MOST_BYTES) or b"{}"))
    return USUAL
