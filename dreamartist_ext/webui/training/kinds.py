"""Kinds, recipes and what was set by hand, as the form lays them over each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any

from ...engine.config import TrainConfig
from ...engine.errors import DreamArtistError
from ...files.presets import KINDS, PRESET_HELP, PRESETS, RECIPES, layered
from ...files.recipes import own_names, own_settings

NAMED_FIELDS = ("name", "initialization_text")  # have their own place in the form
OPTION_FIELDS = tuple(item for item in fields(TrainConfig) if item.name not in NAMED_FIELDS)
OPTION_NAMES = [item.name for item in OPTION_FIELDS]
LABELS = {item.name: item.metadata["label"] for item in fields(TrainConfig)}
KIND_LABELS = {"thing": "thing", "character": "character", "style": "style", "photo": "photo"}
RECIPE_LABELS = {
    "": "Recommended",
    "study-thing": "A thing, by our study",
    "paper-character": "A drawn character, as published",
    "paper-style": "A style, as published",
    "paper-photo": "A photograph, as published",
}
assert set(RECIPE_LABELS) == {"", *RECIPES}
assert set(KIND_LABELS) == set(KINDS)


def recipe_labels() -> dict[str, str]:
    """The shipped recipes and the user's own, as the list shows them."""
    return {**RECIPE_LABELS, **{name: f"{name} (yours)" for name in own_names() if _is_usable(name)}}


def _is_usable(name: str) -> bool:
    try:
        return name not in RECIPES and bool(own_settings(name))
    except DreamArtistError:
        return False


def recipe_named(label: str | None) -> str:
    """The recipe of a label in the list; "" is the recommended one."""
    return next((name for name, shown in recipe_labels().items() if shown == label), "")


def usual(model: Mapping[str, Any], kind: str, recipe: str) -> dict[str, Any]:
    """Every setting as it is when nothing is set by hand."""
    plain = {item.name: item.default for item in fields(TrainConfig)}
    return {**plain, **layered({}, model, kind, recipe)}


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of a setting are the same, however a form writes numbers."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return str(one or "") == str(other or "")


def by_hand(values: Mapping[str, Any], model: Mapping[str, Any], kind: str, recipe: str) -> dict[str, Any]:
    """Those of the values that are not as usual."""
    before = usual(model, kind, recipe)
    return {key: value for key, value in values.items() if not is_same(value, before[key])}


def kind_of(template: str) -> str:
    """The kind whose prompts these are, or "thing"."""
    return next((kind for kind in KINDS if PRESETS[kind].get("template") == template), "thing")


def kind_html(kind: str) -> str:
    """One line on the chosen kind."""
    return f'<p class="dreamartist-about-kind">{escape(PRESET_HELP[kind].capitalize())}.</p>'


def recipe_html(model: Mapping[str, Any], kind: str, recipe: str) -> str:
    """One line on the chosen recipe, and what it changes."""
    if not recipe:
        about = "This model's own settings." if model else "Suits most pictures."
        return f'<p class="dreamartist-about-kind">{about}</p>'
    before, after = usual(model, kind, ""), usual(model, kind, recipe)
    changed = [
        f"{escape(LABELS[key])} {escape(str(after[key]))} ({escape(str(before[key]))})"
        for key in after
        if not is_same(after[key], before[key])
    ]
    about = escape(PRESET_HELP.get(recipe, "saved by you").capitalize())
    says = f"{about}. Changes: {'; '.join(changed) or 'nothing here'}."
    return f'<p class="dreamartist-about-kind">{says}</p>'


def usual_html(model: Mapping[str, Any], kind: str, recipe: str) -> str:
    """For the page's script, which marks what was changed: every setting's usual value."""
    values = json.dumps({key: value for key, value in usual(model, kind, recipe).items() if key in OPTION_NAMES})
    return f'<i class="dreamartist-usual" data-usual="{escape(values)}"></i>'


def differing(model: Mapping[str, Any]) -> set[str]:
    """The settings that have not the same usual value for all kinds and recipes."""
    all_of_them = [usual(model, kind, "") for kind in KINDS] + [usual(model, "thing", name) for name in recipe_labels()]
    first, *others = all_of_them
    return {name for name in first if any(not is_same(first[name], other[name]) for other in others)}


def chosen(
    model: Mapping[str, Any], kind: str, recipe: str, before: Sequence[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings after another kind or recipe was chosen: what was set by hand stays."""
    known = before[1] if before[1] in recipe_labels() else ""  # it may be deleted since: what it set stays
    hand = by_hand(options, model, before[0], known)
    return {**{key: usual(model, kind, recipe)[key] for key in options}, **hand}
