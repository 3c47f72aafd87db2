"""What a step will keep in memory, said as soon as there is a picture or another size: computed, nothing is run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...engine.config import TrainConfig
from ...engine.errors import SettingError
from ...engine.host import Kept
from ...engine.memory import is_too_much, samples_in_a_pass
from ...files.presets import layered
from ..workplace import TrainingHost, Workplace
from .estimate import pace_key
from .live_view import SHOWN_BYTES, duration


@dataclass(frozen=True)
class MemoryHint:
    """Bytes that a step keeps for pictures of `width` and `height` pixels, and that are free (0: not known)."""

    width: int
    height: int
    kept: Kept
    free: int
    less: bool
    own: int = 0  # the side of the pictures that the model was made for
    seconds: float = 0.0  # of the whole training, by a measurement or the last one of this size; 0 is not known

    def time_text(self) -> str:
        return f"About {duration(self.seconds)}, by the last training or measurement." if self.seconds else ""

    def size_text(self) -> str:
        """A warning of a size that is not the model's own, or nothing."""
        if not self.own or (self.width, self.height) == (self.own, self.own):
            return ""
        times = self.width * self.height / self.own**2
        much = f"about {times:.0f} times the work of" if times >= 1.5 else "less than"
        return f"{self.width}x{self.height} is {much} this model's own {self.own}x{self.own}, which it draws best."

    def text(self) -> str:
        """One sentence on memory, or nothing where it is too little to matter."""
        mine = self.kept.less if self.less else self.kept.plain
        if mine < SHOWN_BYTES:
            return ""
        said = f"{self.width}x{self.height}: a step keeps about {_in_words(mine)}"
        if self.less:
            said += f' with "Less memory" ({_in_words(self.kept.plain)} without)'
        if not self.free:
            return said + "."
        if not is_too_much(mine, self.free):
            return f"{said} of the {_in_words(self.free)} that are free."
        advice = "a smaller size does" if self.less else 'a smaller size does, or "Less memory"'
        return f"{said}, and {_in_words(self.free)} are free: that will hardly fit; {advice}."


class MemoryHints:
    """Remembers what a size keeps: on the largest models the computation takes seconds."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], Kept] = {}
        self._turn = threading.Lock()  # the page asks at every change, and must not find the model in its own use

    def look(
        self, workplace: Workplace, values: Mapping[str, Any], pace: Mapping[tuple[Any, ...], float]
    ) -> MemoryHint | None:
        """What there is to say of these settings; None while the model is in use, or where they are not valid.

        Raises ModelError where the loaded model cannot be trained.
        """
        try:
            config = TrainConfig.from_mapping(layered(values, workplace.defaults))
        except SettingError:  # said when the training is asked for
            return None
        with self._turn, workplace.glance() as host:
            if host is None:
                return None
            seconds = pace.get(pace_key(host, config), 0.0) * config.steps
            return replace(self.of(host, config), own=host.picture_size, seconds=seconds)

    def of(self, host: TrainingHost, config: TrainConfig) -> MemoryHint:
        width, height = config.width or host.picture_size, config.height or host.picture_size
        size = height // host.latent_factor, width // host.latent_factor
        key = host.name, host.picture_size, *size
        if key not in self._known:
            self._known[key] = host.kept_for_backward(1, *size)
        one, samples = self._known[key], samples_in_a_pass(config)
        kept = Kept(samples * one.plain, samples * one.less)
        free = host.free_memory()
        is_on = config.less_memory == "on" or (config.less_memory == "auto" and is_too_much(kept.plain, free))
        return MemoryHint(width, height, kept, free, is_on)


def _in_words(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB"
