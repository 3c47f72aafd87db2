"""Classifier-free guidance, as a number or as a range over the timesteps."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

# r = t / (T - 1) in [0, 1] -> share of the way from the range's start to its end
RAMPS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda r: r,
    "cos": lambda r: ((r - 1) * math.pi / 2).cos(),
    "cos2": lambda r: 1 - (r * math.pi / 2).cos(),
}
MAX_GUIDANCE = 100
_NUMBER = r"\s*(\d+\.?\d*|\.\d+)\s*"
_SYNTAX = re.compile(rf"{_NUMBER}(?:-{_NUMBER}(?::\s*(\w+)\s*)?)?")


@dataclass(frozen=True)
class Guidance:
    """g(t) = start + ramp(t / (T - 1)) * (end - start)"""

    start: float
    end: float
    ramp: str = "linear"

    @classmethod
    def parse(cls, text: str) -> Guidance:
        """`"3"`, `"1.5-3"`, `"1.5-3:cos"`; raises SettingError for anything else."""
        match = _SYNTAX.fullmatch(text)
        if not match or (match[3] or "linear") not in RAMPS:
            ramps = ", ".join(RAMPS)
            raise SettingError(
                f'guidance must be a number or a range such as "1.5-3:cos" ({ramps}), got "{text[:80]}".'
            )
        start = float(match[1])
        end = float(match[2]) if match[2] else start
        if not (0 < start <= MAX_GUIDANCE and 0 < end <= MAX_GUIDANCE):
            raise SettingError(f"guidance must be more than 0 and at most {MAX_GUIDANCE}, got {text[:80]}.")
        return cls(start, end, match[3] or "linear")

    def at(self, timesteps: Tensor, count: int) -> Tensor:
        """Per sample: timesteps (B,) of `count` in all -> (B, 1, 1, 1)."""
        share = RAMPS[self.ramp](timesteps.float() / max(count - 1, 1))
        return (self.start + share * (self.end - self.start))[:, None, None, None]


def combine(uncond: Tensor, cond: Tensor, guidance_scale: Tensor | float) -> Tensor:
    """uncond + s (cond - uncond) (arXiv 2207.12598, eq. 6, with s = 1 + w); s = 1 is cond alone."""
    return uncond + guidance_scale * (cond - uncond)
