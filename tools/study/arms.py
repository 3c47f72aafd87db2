"""What is compared: settings laid over those that the study began from, and the steps at which they are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


# What the first embedded model's defaults were when the study began. It then took those of the arm CHOSEN; the model of
# today has its own.
BEGAN_FROM: dict[str, Any] = {
    "initialization_text": "emoji",
    "template": "a [name]|an emoji of a [name]|a drawing of a [name]",
    "vectors": 6,
    "steps": 400,
    "batch_size": 4,
    "learning_rate": "0.01",
    "cosine": True,
    "guidance": "1.5",
    "negative_lr_ratio": 1.0,
    "fix_norm": "off",
    "noisy_weight": 0.5,
    "timestep_exponent": 0.65,
}
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

# Each setting once. An arm has those of all factors in its name, or in its line of the tables below.
_FACTORS: dict[str, dict[str, Any]] = {
    "plain": {"use_negative": False},
    "g1": {"guidance": "1"},
    "g1.2": {"guidance": "1.2"},
    "g2": {"guidance": "2"},
    "g3": {"guidance": "3"},
    "g5": {"guidance": "5"},
    "g1to3": {"guidance": "1-3"},
    "g3to1": {"guidance": "3-1"},
    "n1": {"negative_vectors": 1},
    "n2": {"negative_vectors": 2},
    "n12": {"negative_vectors": 12},
    "v2": {"vectors": 2},
    "v3": {"vectors": 3},
    "v12": {"vectors": 12},
    "slowest": {"learning_rate": "0.003"},
    "slow": {"learning_rate": "0.005"},
    "fast": {"learning_rate": "0.02"},
    "snr": {"min_snr": 5.0, "noisy_weight": 0.0},
    "unweighted": {"noisy_weight": 0.0, "timestep_exponent": 1.0},
    "noisy": {"noisy_weight": 1.0},
    "quarter": {"negative_lr_ratio": 0.25},
    "half": {"negative_lr_ratio": 0.5},
    "double": {"negative_lr_ratio": 2.0},
    "level": {"cosine": False},
    "50": {"steps": 50},
    "62": {"steps": 62},
    "125": {"steps": 125},
    "200": {"steps": 200},
    "twice": {"steps": 800},
    "batch1": {"batch_size": 1},
    "batch8": {"batch_size": 8},
    "decay": {"weight_decay": 0.1},
    "crop": {"random_crop": 0.2},
    "mirror": {"mirror": True},
    "drawn": {"latent_sampling": "each"},
    "background": {"template": f"a [name]{_WHITE}|an emoji of a [name]{_WHITE}|a drawing of a [name]{_WHITE}"},
    "fixed": {"fix_norm": "positive"},
    "fixed-both": {"fix_norm": "both"},
    "toy": {"initialization_text": "toy"},
    "reconstruction": {"reconstruction": 0.1},
    "ema": {"ema": 0.98, "save_ema": True},
}
_ONE_AT_A_TIME = {
    "guidance-1": "g1",
    "guidance-1.2": "g1.2",
    "guidance-2": "g2",
    "guidance-3": "g3",
    "guidance-5": "g5",
    "guidance-1-to-3": "g1to3",
    "guidance-3-to-1": "g3to1",
    "negative-1": "n1",
    "negative-12": "n12",
    "vectors-2": "v2+n2",
    "vectors-3": "v3",
    "vectors-12": "v12+n12",
    "rate-0.003": "slowest",
    "rate-0.005": "slow",
    "rate-0.02": "fast",
    "min-snr-5": "snr",
    "plain-weight": "unweighted",
    "noisy-weight-1": "noisy",
    "negative-rate-quarter": "quarter",
    "negative-rate-half": "half",
    "negative-rate-double": "double",
    "no-cosine": "level",
    "pair-50": "50",
    "pair-62": "62",
    "pair-125": "125",
    "steps-200": "200",
    "steps-800": "twice",
    "batch-1": "batch1",
    "batch-8": "batch8",
    "weight-decay": "decay",
    "random-crop": "crop",
    "mirror": "mirror",
    "latents-drawn-each-time": "drawn",
    "names-the-background": "background",
    "fix-norm-positive": "fixed",
    "fix-norm-both": "fixed-both",
    "starts-from-a-word": "toy",
    "reconstruction": "reconstruction",
}
_OF_PLAIN_INVERSION = {
    "plain-200": "plain+200",
    "plain-800": "plain+twice",
    "plain-rate-0.003": "plain+slowest",
    "plain-rate-0.005": "plain+slow",
    "plain-rate-0.02": "plain+fast",
    "plain-vectors-3": "plain+v3",
    "plain-vectors-12": "plain+v12",
    "plain-fix-norm": "plain+fixed",
}
_MEASURED_ON_THE_WAY = {"steps-800": (200, 400)}
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


def _arms(named: Mapping[str, str]) -> dict[str, Arm]:
    """By name, from the factors of each."""
    return {name: Arm(_together(factors), _MEASURED_ON_THE_WAY.get(name, ())) for name, factors in named.items()}


ARMS: dict[str, Arm] = {
    "pair": Arm(),
    "plain": Arm(_together("plain")),
    "original": Arm(_ORIGINAL, _ON_THE_WAY),
    "original-500": Arm({**_ORIGINAL, "steps": 500}),
    "original-2000": Arm({**_ORIGINAL, "steps": 2000}, (250, 500, 1000)),
    "webui": Arm(_WEBUI, _ON_THE_WAY),
    "webui-2000": Arm({**_WEBUI, "steps": 2000}, (250, 500, 1000)),
    "tab": Arm(_TAB),
    f"tab+cosine+{CHOSEN}": Arm({**_TAB, "cosine": True, **_together(CHOSEN)}),
    **_arms(_ONE_AT_A_TIME),
    "masked": Arm(masked=True),
    "ema": Arm(_together("ema")),
    # The few that matter, together
    **_arms({name: name for name in _COMBINED}),
    # What no setting says
    "negative-only": Arm(way="negative only"),
    f"{CHOSEN}+negative-only": Arm(_together(CHOSEN), way="negative only"),
    f"{CHOSEN}+masked": Arm(_together(CHOSEN), masked=True),
    "empty-negative-half": Arm(way="empty negative in half"),
    "cross-initialization": Arm(_together(CHOSEN), way="cross initialization"),
    **_arms(_OF_PLAIN_INVERSION),
}


def concepts_named(words: Sequence[str]) -> list[str]:
    """`tune`, `report`, `all` or names of held-out things."""
    groups = {"tune": TUNE, "report": REPORT, "all": CONCEPTS}
    chosen = [concept for word in words for concept in groups.get(word, (word,))]
    if unknown := sorted(set(chosen) - set(CONCEPTS)):
        raise SystemExit(f"{unknown[0]} is not one of the held-out things: {', '.join(CONCEPTS)}.")
    return list(dict.fromkeys(chosen))
