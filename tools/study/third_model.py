"""What is compared on the third embedded model. The settings of ARMS lie over those that are recommended there.

No arm fixes the vectors' length: on this model vectors that stand for a thing are some 25 times as long as words,
and would be cut to a word's length.
"""

from __future__ import annotations

from typing import Any

from .arms import Arm

# The recommended settings of the third model when this study began, at half of their steps.
BEGAN_FROM: dict[str, Any] = {
    "initialization_text": "1 2 3 4 5 6",
    "template": "an emoji of a [name] on a white background|a [name] on a white background",
    "vectors": 6,
    "steps": 150,
    "batch_size": 4,
    "learning_rate": "0.05",
    "negative_lr_ratio": 0.3,
    "cosine": True,
    "guidance": "2",
    "fix_norm": "off",
    "noisy_weight": 0.5,
    "timestep_exponent": 0.65,
}
CHOSEN = "guidance-1.3"
NEUTRAL = "a {} on a white background"  # the prompt of the drawings that are compared with the picture

_PLAIN = {"use_negative": False}
_SLOW = {"learning_rate": "0.02"}
_NO_BACKGROUND = {"template": "an emoji of a [name]|a [name]"}
# What others' recipes have; the words to start from, the templates and the number of vectors are the model's own: it
# knows no photographs, and a thing's code has six vectors.
_OTHERS = {
    "batch_size": 1,
    "steps": 2000,
    "noisy_weight": 0.0,
    "timestep_exponent": 1.0,
    "cosine": False,
    "negative_lr_ratio": 1.0,
}
_ON_THE_WAY = (250, 500, 1000)
_SETTINGS: dict[str, dict[str, Any]] = {
    "pair": {},
    "guidance-1": {"guidance": "1"},
    "guidance-1.3": {"guidance": "1.3"},
    "guidance-4": {"guidance": "4"},
    "guidance-1-to-3": {"guidance": "1-3"},
    "guidance-3-to-1": {"guidance": "3-1"},
    "negative-rate-0.1": {"negative_lr_ratio": 0.1},
    "negative-rate-1": {"negative_lr_ratio": 1.0},
    "rate-0.02": _SLOW,
    "rate-0.02-guidance-1.3": {**_SLOW, "guidance": "1.3"},
    "rate-0.02-guidance-1.5": {**_SLOW, "guidance": "1.5"},
    "rate-0.02-guidance-3": {**_SLOW, "guidance": "3"},
    "rate-0.02-negative-rate-1": {**_SLOW, "negative_lr_ratio": 1.0},
    "rate-0.02-steps-300": {**_SLOW, "steps": 300},
    "rate-0.02-names-no-background": {**_SLOW, **_NO_BACKGROUND},
    "steps-300": {"steps": 300},
    "min-snr-5": {"min_snr": 5.0, "noisy_weight": 0.0},
    "plain-weight": {"noisy_weight": 0.0, "timestep_exponent": 1.0},
    "ema": {"ema": 0.95, "save_ema": True},
    "mirror": {"mirror": True},
    "names-no-background": _NO_BACKGROUND,
    "starts-from-emoji": {"initialization_text": "emoji"},
    "vectors-12": {"vectors": 12},
    "negative-vectors-2": {"negative_vectors": 2},
}
ARMS: dict[str, Arm] = {
    **{name: Arm(settings) for name, settings in _SETTINGS.items()},
    **{
        name: Arm({**_PLAIN, **_SETTINGS[name.removeprefix("plain-")]})
        for name in ("plain-steps-300", "plain-rate-0.02", "plain-names-no-background")
    },
    "plain": Arm(_PLAIN),
    "original": Arm({**_OTHERS, "learning_rate": "0.003", "guidance": "3"}, _ON_THE_WAY),
    "webui": Arm({**_OTHERS, **_PLAIN, "learning_rate": "0.005"}, _ON_THE_WAY),
    "empty-negative-half": Arm(way="empty negative in half"),
    "negative-only": Arm(way="negative only"),
}
