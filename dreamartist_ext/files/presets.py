"""Settings by kind of concept and by recipe: the JSON files in assets/presets, and how settings lie over each other.

Those called "paper" are what the method's authors published (arXiv 2211.11337 and its repository), word for word.
"study-thing" is what the study chose on the embedded model (docs/evidence/quality.md), but with the 300 steps that
this model recommends, twice the study's. Accumulation takes the place of the batch, to save memory. The rate turns a
vector as far in the first step of AdamW, which goes by rate x sqrt(width) / length: 0.05 at 384 and 7.6 there, 0.0018
at SD 1's 768 and a length taken to be 0.39. The others are this project's defaults, with prompts to fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engine.errors import SettingError
from .recipes import own_names, own_settings

FOLDER = Path(__file__).parents[1] / "assets" / "presets"
ABOUT = "about"  # of a preset, in words: no setting
KINDS = ("thing", "character", "style", "photo")  # what the concept is: its prompts
RECIPES = ("study-thing", "paper-character", "paper-style", "paper-photo")  # how it is trained

_FILES: dict[str, dict[str, Any]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in (*KINDS, *RECIPES)
}
PRESETS = {name: {key: value for key, value in content.items() if key != ABOUT} for name, content in _FILES.items()}
PRESET_HELP: dict[str, str] = {name: content[ABOUT] for name, content in _FILES.items()}


def layered(by_hand: Mapping[str, Any], model: Mapping[str, Any], kind: str = "", recipe: str = "") -> dict[str, Any]:
    """Settings laid over each other: the model's own < those of the kind < the recipe's < those set by hand.

    What none of them names keeps the default of `TrainConfig`. The page, the command line, the API and train-many all
    go through here. Raises SettingError for a kind or recipe that there is not, and as `own_settings`.
    """
    return {**model, **_named(kind, "kind", KINDS), **_of_recipe(recipe), **by_hand}


def _of_recipe(recipe: str) -> dict[str, Any]:
    """A shipped one, or one of the user's own."""
    if recipe and recipe not in RECIPES and recipe in own_names():
        return own_settings(recipe)
    return _named(recipe, "recipe", RECIPES)


def _named(name: str, what: str, known: tuple[str, ...]) -> dict[str, Any]:
    if name and name not in known:
        raise SettingError(f"{what} must be one of {', '.join(known)}, got {name[:80]!r}.")
    return PRESETS[name] if name else {}


def kind_and_recipe(preset: str) -> tuple[str, str]:
    """A preset's name as what `layered` takes: it is the one or the other."""
    return (preset, "") if preset in KINDS else ("", preset)
