"""What is compared: settings laid over those that the study began from, and the steps at which they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.embedded_model.drawings import HELD_OUT

CONCEPTS = tuple(sorted(HELD_OUT))
TUNE, REPORT = CONCEPTS[::2], CONCEPTS[1::2]  # settings are chosen on the first half, figures given for the second


@dataclass(frozen=True)
class Arm:
    """`settings`: fields of TrainConfig. `at`: steps before the last at which the pair is measured as well. `way`: one
    of `ways.WAYS`, for what no setting says. `masked`: the white around the thing does not count."""

    settings: dict[str, Any] = field(default_factory=dict)
    at: tuple[int, ...] = ()
    way: str = ""
    masked: bool = False


# What the embedded model's defaults were when the study began; they are now those of the arm CHOSEN.
BEGAN_FROM: dict[str, Any] = {"guidance": "1.5", "negative_lr_ratio": 1.0, "fix_norm": "off"}
CHOSEN = "fixed+g2+quarter"

# What the recipes of others have in place of the embedded model's own; the words to start from and the templates stay,
# because the model knows no photographs.
_OTHERS = {
    "vectors": 3,
    "batch_size": 1,
    "steps": 4000,
    "noisy_weight": 0.0,
    "timestep_exponent": 1.0,
    "cosine": False,
}
_ORIGINAL = {**_OTHERS, "negative_vectors": 6, "learning_rate": "0.003", "guidance": "3"}  # DreamArtist's defaults
_WEBUI = {**_OTHERS, "use_negative": False, "learning_rate": "0.005"}  # of its tab
# What the tab offers on any other model: the defaults of TrainConfig.
_TAB = {**_ORIGINAL, "learning_rate": "0.005", "steps": 1000}
_ON_THE_WAY = (500, 1000, 2000)

_WHITE = " on a white background"
_NAMES_THE_BACKGROUND = {"template": f"a [name]{_WHITE}|an emoji of a [name]{_WHITE}|a drawing of a [name]{_WHITE}"}

_FACTORS: dict[str, dict[str, Any]] = {
    "fixed": {"fix_norm": "positive"},
    "half": {"negative_lr_ratio": 0.5},
    "quarter": {"negative_lr_ratio": 0.25},
    "g2": {"guidance": "2"},
    "g3": {"guidance": "3"},
    "g5": {"guidance": "5"},
    "g1to3": {"guidance": "1-3"},
    "v12": {"vectors": 12},
    "twice": {"steps": 800},
    "62": {"steps": 62},
    "200": {"steps": 200},
    "slow": {"learning_rate": "0.005"},
    "fast": {"learning_rate": "0.02"},
    "snr": {"min_snr": 5.0, "noisy_weight": 0.0},
    "ema": {"ema": 0.98, "save_ema": True},
    "toy": {"initialization_text": "toy"},
    "background": _NAMES_THE_BACKGROUND,
    "batch8": {"batch_size": 8},
}
_COMBINED = (
    CHOSEN,
    "g3+quarter",
    "fixed+g3+quarter",
    "g1to3+quarter",
    "g2+quarter",
    "fixed+g2",
    "fixed+g1to3+quarter",
    "fixed+g3",
    "fixed+quarter",
    "g3+quarter+twice",
    "g5+quarter",
    "g2+half",
    "fixed+g2+half",
    "fixed+v12+g2+quarter",
    # One factor at a time from there
    *(
        f"{CHOSEN}+{factor}"
        for factor in ("twice", "62", "200", "slow", "fast", "snr", "ema", "toy", "background", "batch8")
    ),
)


def _together(name: str) -> dict[str, Any]:
    """The settings of all factors in the name."""
    return {setting: value for factor in name.split("+") for setting, value in _FACTORS[factor].items()}


ARMS: dict[str, Arm] = {
    "pair": Arm(),
    "plain": Arm({"use_negative": False}),
    "original": Arm(_ORIGINAL, _ON_THE_WAY),
    "original-500": Arm({**_ORIGINAL, "steps": 500}),
    "original-2000": Arm({**_ORIGINAL, "steps": 2000}, (250, 500, 1000)),
    "webui": Arm(_WEBUI, _ON_THE_WAY),
    "webui-2000": Arm({**_WEBUI, "steps": 2000}, (250, 500, 1000)),
    "tab": Arm(_TAB),
    f"tab+cosine+{CHOSEN}": Arm({**_TAB, "cosine": True, **_together(CHOSEN)}),
    # One factor at a time
    "guidance-1": Arm({"guidance": "1"}),
    "guidance-1.2": Arm({"guidance": "1.2"}),
    "guidance-2": Arm({"guidance": "2"}),
    "guidance-3": Arm({"guidance": "3"}),
    "guidance-5": Arm({"guidance": "5"}),
    "guidance-1-to-3": Arm({"guidance": "1-3"}),
    "guidance-3-to-1": Arm({"guidance": "3-1"}),
    "negative-1": Arm({"negative_vectors": 1}),
    "negative-12": Arm({"negative_vectors": 12}),
    "vectors-2": Arm({"vectors": 2, "negative_vectors": 2}),
    "vectors-3": Arm({"vectors": 3}),
    "vectors-12": Arm({"vectors": 12, "negative_vectors": 12}),
    "rate-0.003": Arm({"learning_rate": "0.003"}),
    "rate-0.005": Arm({"learning_rate": "0.005"}),
    "rate-0.02": Arm({"learning_rate": "0.02"}),
    "min-snr-5": Arm({"min_snr": 5.0, "noisy_weight": 0.0}),
    "plain-weight": Arm({"noisy_weight": 0.0, "timestep_exponent": 1.0}),
    "noisy-weight-1": Arm({"noisy_weight": 1.0}),
    "negative-rate-quarter": Arm({"negative_lr_ratio": 0.25}),
    "negative-rate-half": Arm({"negative_lr_ratio": 0.5}),
    "negative-rate-double": Arm({"negative_lr_ratio": 2.0}),
    "no-cosine": Arm({"cosine": False}),
    "pair-50": Arm({"steps": 50}),
    "pair-62": Arm({"steps": 62}),
    "pair-125": Arm({"steps": 125}),
    "steps-200": Arm({"steps": 200}),
    "steps-800": Arm({"steps": 800}, (200, 400)),
    "batch-1": Arm({"batch_size": 1}),
    "batch-8": Arm({"batch_size": 8}),
    "weight-decay": Arm({"weight_decay": 0.1}),
    "random-crop": Arm({"random_crop": 0.2}),
    "mirror": Arm({"mirror": True}),
    "latents-drawn-each-time": Arm({"latent_sampling": "each"}),
    "names-the-background": Arm(_NAMES_THE_BACKGROUND),
    "fix-norm-positive": Arm({"fix_norm": "positive"}),
    "fix-norm-both": Arm({"fix_norm": "both"}),
    "starts-from-a-word": Arm({"initialization_text": "toy"}),
    "reconstruction": Arm({"reconstruction": 0.1}),
    "masked": Arm(masked=True),
    "ema": Arm({"ema": 0.98, "save_ema": True}),
    # The few that matter, together
    **{name: Arm(_together(name)) for name in _COMBINED},
    # What no setting says
    "negative-only": Arm(way="negative only"),
    f"{CHOSEN}+negative-only": Arm(_together(CHOSEN), way="negative only"),
    f"{CHOSEN}+masked": Arm(_together(CHOSEN), masked=True),
    "empty-negative-half": Arm(way="empty negative in half"),
    "cross-initialization": Arm(_together(CHOSEN), way="cross initialization"),
    # The same for plain inversion
    "plain-200": Arm({"use_negative": False, "steps": 200}),
    "plain-800": Arm({"use_negative": False, "steps": 800}),
    "plain-rate-0.003": Arm({"use_negative": False, "learning_rate": "0.003"}),
    "plain-rate-0.005": Arm({"use_negative": False, "learning_rate": "0.005"}),
    "plain-rate-0.02": Arm({"use_negative": False, "learning_rate": "0.02"}),
    "plain-vectors-3": Arm({"use_negative": False, "vectors": 3}),
    "plain-vectors-12": Arm({"use_negative": False, "vectors": 12}),
    "plain-fix-norm": Arm({"use_negative": False, "fix_norm": "positive"}),
}


def concepts_named(words: Sequence[str]) -> list[str]:
    """`tune`, `report`, `all` or names of held-out things."""
    groups = {"tune": TUNE, "report": REPORT, "all": CONCEPTS}
    chosen = [concept for word in words for concept in groups.get(word, (word,))]
    if unknown := sorted(set(chosen) - set(CONCEPTS)):
        raise SystemExit(f"{unknown[0]} is not one of the held-out things: {', '.join(CONCEPTS)}.")
    return list(dict.fromkeys(chosen))
