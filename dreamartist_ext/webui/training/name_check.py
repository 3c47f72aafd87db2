"""Whether a name can be a concept's, and what to know of it first. The page asks while it is typed, and Train again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...engine.config import TrainConfig
from ...engine.errors import DreamArtistError, SettingError
from ...engine.names import check_name, negative_name
from ...files.ordinary_words import warning_about
from ...files.run import RunFiles
from ..workplace import Workplace


@dataclass(frozen=True)
class NameSaid:
    """`problem`: why it cannot be used; `warning`: what will happen when it is. Either may be nothing."""

    problem: str = ""
    warning: str = ""
    is_taken: bool = False  # by a concept that can be replaced


def name_said(workplace: Workplace, name: str, template: str = "", in_training: str = "") -> NameSaid:
    """What speaks against a name, `in_training` being the word that is learned right now; needs no model."""
    try:
        check_name(name)
        _check_template(name, template)
    except DreamArtistError as error:
        return NameSaid(str(error))
    if name.lower() == in_training.lower():
        return NameSaid(f'the word "{name}" is being trained right now; choose another name.')
    if clash := workplace.clash(name) or workplace.clash(negative_name(name)):
        return NameSaid(clash)
    warning = warning_about(name, workplace.is_one_token(name))
    try:
        RunFiles(workplace.embeddings, name).check_free()
    except SettingError:
        return NameSaid(taken(name), warning, is_taken=True)
    return NameSaid(warning=warning)


def taken(name: str) -> str:
    """The sentence for a name that there is already."""
    return f"the name {name} is taken: choose another, or replace the concept that has it."


def _check_template(name: str, template: str) -> None:
    """The prompts that are trained with hold ordinary words themselves, which the name must not be."""
    for prompt in template.split("|"):
        if name.lower() in re.findall(r"[a-z0-9_-]+", prompt.replace("[name]", "").lower()):
            said = f'the name must not be "{name}": the prompts to train with hold that word ("{prompt.strip()}").'
            raise SettingError(said)


def template_of(values: dict[str, object]) -> str:
    return str(values.get("template") or TrainConfig.template)
