"""Flags that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import rich_click as click

from ..engine.config import TrainConfig
from ..engine.options import field_type
from ..files.presets import KINDS, RECIPES, kind_and_recipe
from ..files.recipes import own_names
from .help import MODEL, OUTPUT, REQUIRED, SOURCES, panel_of
from .numbers import Whole, in_words
from .paths import FOLDER, PATH

EMBEDDINGS = Path("embeddings")


def model_options(command: Callable) -> Callable:
    """--model, --clip-skip, --device and --precision"""
    options = (
        click.option(
            "--model",
            type=PATH,
            panel=MODEL,
            help="A folder in diffusers' layout, or a .safetensors or .ckpt file.  [default: the embedded model]",
        ),
        click.option(
            "--clip-skip",
            type=Whole(1, 12),
            default=1,
            show_default=True,
            panel=MODEL,
            help="Read the text encoder this many layers from its end.",
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            default="auto",
            show_default=True,
            panel=MODEL,
            help="Where to compute; auto: on a GPU if there is one.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default="auto",
            show_default=True,
            panel=MODEL,
            help="Number format; auto: bf16 if the hardware computes in it, else fp32.",
        ),
    )
    return _with(command, options)


def embeddings_option(command: Callable) -> Callable:
    """--embeddings"""
    return click.option(
        "--embeddings", type=FOLDER, default=EMBEDDINGS, show_default=True, help="Folder of embeddings."
    )(command)


def out_option(default: str, help: str) -> Callable[[Callable], Callable]:
    """--out, a folder"""
    return click.option("--out", type=FOLDER, default=Path(default), show_default=True, panel=OUTPUT, help=help)


class OwnToo(click.Choice):
    """A choice that the user's own recipes are a part of."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value in own_names() else super().convert(value, param, ctx)


def preset_options(command: Callable) -> Callable:
    """--kind, --recipe, --preset, which takes the name of either, and --config"""
    options = (
        click.option(
            "--kind",
            type=click.Choice(KINDS),
            metavar="KIND",
            panel=SOURCES,
            help=f"What the concept is, for its prompts: {', '.join(KINDS)}.",
        ),
        click.option(
            "--recipe",
            type=OwnToo(RECIPES),
            metavar="RECIPE",
            panel=SOURCES,
            help=f"How it is trained: {', '.join(RECIPES)}, or a recipe saved on the page.",
        ),
        click.option(
            "--preset",
            type=OwnToo([*KINDS, *RECIPES]),
            metavar="KIND|RECIPE",
            panel=SOURCES,
            help="A kind or a recipe, by its name.",
        ),
        click.option(
            "--config",
            "config_file",
            type=PATH,
            panel=SOURCES,
            help="A JSON file of settings, or an embedding: takes the settings it was trained with.",
        ),
    )
    return _with(command, options)


def chosen(kind: str | None, recipe: str | None, preset: str | None) -> tuple[str, str]:
    """Kind and recipe, of which `preset` may be the one that is not given."""
    other_kind, other_recipe = kind_and_recipe(preset or "")
    return kind or other_kind, recipe or other_recipe


def config_options(command: Callable) -> Callable:
    """A flag for every field of TrainConfig; values are checked by TrainConfig itself."""
    return _with(command, [_name_option(), *map(_config_option, _but_the_name())])


def config_options_without_name(command: Callable) -> Callable:
    """As `config_options`, for a command that finds names by itself; the flag is there to be refused in a sentence."""
    return _with(command, [_name_option(hidden=True), *map(_config_option, _but_the_name())])


def _but_the_name() -> list[Field]:
    return [item for item in fields(TrainConfig) if item.name != "name"]


def _name_option(hidden: bool = False) -> Callable[[Callable], Callable]:
    about = next(item for item in fields(TrainConfig) if item.name == "name").metadata["help"]
    return click.option("--name", metavar="NAME", panel=REQUIRED, hidden=hidden, help=f"{about}  [or in --config]")


def _config_option(item: Field) -> Callable[[Callable], Callable]:
    flag = "--" + item.name.replace("_", "-")
    about: dict[str, Any] = {"help": f"{item.metadata['help']}  [{_said(item)}]"}
    if field_type(item) is bool:
        flag = f"{flag}/--no-{flag[2:]}"
        about["default"] = None
    else:
        about["metavar"] = "|".join(item.metadata["choices"]) or field_type(item).__name__.upper()
    return click.option(flag, item.name, panel=panel_of(item.metadata["group"]), **about)


def _said(item: Field) -> str:
    """The plain default, the unit and the range of a setting."""
    is_flag = field_type(item) is bool
    default = ("on" if item.default else "off") if is_flag else ('""' if item.default == "" else item.default)
    limits = (item.metadata[key] for key in ("least", "most", "above"))
    unit = item.metadata["unit"]
    value = f"default: {default}{' ' if unit.isalpha() else '; ' if unit else ''}{unit}"
    said = [value, in_words(*limits)]
    return "; ".join(part for part in said if part)


def _with(command: Callable, options: Any) -> Callable:
    for option in reversed(list(options)):
        command = option(command)
    return command
