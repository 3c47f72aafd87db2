"""What the prompt hook asks of a WebUI: how its prompts are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Steps:
    """The steps of a pass: `second` is None for the first pass, and the steps of the hires pass for that one."""

    first: int
    second: int | None = None

    @property
    def count(self) -> int:
        return self.first if self.second is None else self.second

    @property
    def before(self) -> int:
        """How far the count of steps has come when this pass begins."""
        return 0 if self.second is None else self.first


class PromptLanguage(Protocol):
    """What the WebUI makes of a prompt."""

    def parts(self, prompt: str) -> Sequence[tuple[str, float]]:
        """The prompts that AND separates, each with the weight that it really has."""

    def schedules(self, prompt: str, steps: Steps) -> Sequence[tuple[int, str]]:
        """Texts in the order of their steps, each with its last step; the first step of a pass is 1."""

    def embeddings(self, text: str) -> Sequence[tuple[str, float]]:
        """Name and weight of every embedding that stands in a scheduled text, in order."""

    def chunks(self, text: str) -> int:
        """How many times 75 tokens a scheduled text fills."""
