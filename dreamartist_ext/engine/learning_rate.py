"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import SettingError

MAX_RATE = 10.0  # a token vector's length is below 1


@dataclass(frozen=True)
class RateSchedule:
    """Rates with the last step each holds for; the WebUI's syntax `0.005:100, 1e-3:1000`."""

    stages: tuple[tuple[float, float], ...]  # (rate, last step), the last one's step may be infinite

    @classmethod
    def parse(cls, text: str) -> RateSchedule:
        """Raises SettingError for anything that is not rates, each but the last with a rising last step."""
        stages: list[tuple[float, float]] = []
        parts = [part.strip() for part in text.split(",") if part.strip()]
        for position, part in enumerate(parts):
            rate, _, until = part.partition(":")
            try:
                stage = (float(rate), float(int(until)) if until else math.inf)
            except (ValueError, OverflowError):
                raise SettingError(_refusal(text)) from None
            after = stages[-1][1] if stages else 0
            open_ended_inside = stage[1] == math.inf and position < len(parts) - 1
            if not 0 < stage[0] <= MAX_RATE or stage[1] <= after or open_ended_inside:
                raise SettingError(_refusal(text))
            stages.append(stage)
        if not stages:
            raise SettingError(_refusal(text))
        return cls(tuple(stages))

    def rate(self, step: int) -> float:
        """The rate of step 1, 2, ...; past the last stage its rate stays."""
        return next((rate for rate, until in self.stages if step <= until), self.stages[-1][0])


def _refusal(text: str) -> str:
    what = f'a positive number up to {MAX_RATE:g} or stages such as "0.005:100, 1e-3:1000"'
    return f'learning_rate must be {what}, got "{text[:80]}".'


def lr_at(schedule: RateSchedule, step: int, steps: int, warmup: int = 0, cosine: bool = False) -> float:
    """The rate of step 1..steps: linear warm-up over `warmup` steps, then optionally a cosine fall to zero."""
    rate = schedule.rate(step)
    if step <= warmup:
        return rate * step / warmup
    if cosine:
        return rate * 0.5 * (1 + math.cos(math.pi * (step - 1 - warmup) / max(steps - warmup, 1)))
    return rate
