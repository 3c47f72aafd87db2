"""What is compared: settings laid over the embedded model's own defaults, and the steps at which they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.embedded_model.drawings import HELD_OUT

CONCEPTS = tuple(sorted(HELD_OUT))
TUNE, REPORT = CONCEPTS[::2], CONCEPTS[1::2]  # settings are chosen on the first half, figures given for the second


@dataclass(frozen=True)
class Arm:
    """`settings`: fields of TrainConfig. `at`: steps before the last at which the pair is measured as well."""

    settings: dict[str, Any] = field(default_factory=dict)
    at: tuple[int, ...] = ()


_ORIGINAL = {
    "initialization_text": "*",
    "template": "a photo of [name]|a picture of [name]|[name]",
    "vectors": 3,
    "negative_vectors": 6,
    "learning_rate": "0.003",
    "batch_size": 1,
    "guidance": "3",
    "min_snr": 0.0,
    "steps": 8000,
}
_TO_8000 = (125, 250, 500, 1000, 2000, 4000)

ARMS: dict[str, Arm] = {
    "pair": Arm(),
    "plain": Arm({"use_negative": False}),
    # The recipes of others: DreamArtist's defaults, and the WebUI's tab (rate 0.005)
    "original": Arm(_ORIGINAL, _TO_8000),
    "webui": Arm({**_ORIGINAL, "use_negative": False, "learning_rate": "0.005"}, _TO_8000),
    # One factor at a time
    "steps-150": Arm({"steps": 150}),
    "steps-600": Arm({"steps": 600}, (150, 300)),
    "rate-0.0025": Arm({"learning_rate": "0.0025"}),
    "rate-0.01": Arm({"learning_rate": "0.01"}),
    "vectors-1": Arm({"vectors": 1, "negative_vectors": 2}),
    "vectors-6": Arm({"vectors": 6, "negative_vectors": 12}),
    "negative-3": Arm({"negative_vectors": 3}),
    "guidance-2": Arm({"guidance": "2"}),
    "guidance-5": Arm({"guidance": "5"}),
    "guidance-1.5-5": Arm({"guidance": "1.5-5"}),
    "min-snr-5": Arm({"min_snr": 5.0}),
    "cosine": Arm({"cosine": True}),
    "negative-rate-half": Arm({"negative_lr_ratio": 0.5}),
}


def concepts_named(words: Sequence[str]) -> list[str]:
    """`tune`, `report`, `all` or names of held-out things."""
    groups = {"tune": TUNE, "report": REPORT, "all": CONCEPTS}
    chosen = [concept for word in words for concept in groups.get(word, (word,))]
    if unknown := sorted(set(chosen) - set(CONCEPTS)):
        raise SystemExit(f"{unknown[0]} is not one of the held-out things: {', '.join(CONCEPTS)}.")
    return list(dict.fromkeys(chosen))
