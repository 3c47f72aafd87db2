"""A part of the noise schedule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TimestepRange:
    """A part of a schedule, as shares of its length: 0 is its clean end, 1 its noisy one."""

    start: float = 0.0
    end: float = 1.0

    def of(self, timesteps: int) -> tuple[int, int]:
        """The first timestep of the part, and how many there are in it: at least one."""
        first = min(round(self.start * timesteps), timesteps - 1)
        return first, max(1, round(self.end * timesteps) - first)
