"""Flags that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click

from ..engine.config import TrainConfig
from ..engine.options import field_type
from ..files.presets import KINDS, RECIPES, kind_and_recipe

EMBEDDINGS = Path("embeddings")
PATH = click.Path(path_type=Path)


def model_options(command: Callable) -> Callable:
    """--model, --clip-skip, --device and --precision"""
    command = click.option(
        "--model", type=PATH, help="A folder in diffusers' layout or a checkpoint; the embedded model if left out."
    )(command)
    command = click.option(
        "--clip-skip",
        type=click.IntRange(1, 12),
        default=1,
        help="Read the text encoder this many layers from its end.",
    )(command)
    command = click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")(command)
    return click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto")(command)


def preset_options(command: Callable) -> Callable:
    """--kind, --recipe, and --preset, which takes the name of either"""
    command = click.option("--kind", type=click.Choice(KINDS), help="What the concept is.")(command)
    command = click.option("--recipe", type=click.Choice(RECIPES), help="Settings to start from; flags win over them.")(
        command
    )
    return click.option("--preset", type=click.Choice([*KINDS, *RECIPES]), help="A kind or a recipe by its name.")(
        command
    )


def chosen(kind: str | None, recipe: str | None, preset: str | None) -> tuple[str, str]:
    """Kind and recipe, of which `preset` may be the one that is not given."""
    other_kind, other_recipe = kind_and_recipe(preset or "")
    return kind or other_kind, recipe or other_recipe


def config_options(command: Callable) -> Callable:
    """A flag for every field of TrainConfig; values are checked by TrainConfig itself."""
    for item in reversed(fields(TrainConfig)):
        flag = "--" + item.name.replace("_", "-")
        about = item.metadata["help"] + (f" [{item.metadata['unit']}]" if item.metadata["unit"] else "")
        if field_type(item) is bool:
            command = click.option(f"{flag}/--no-{flag[2:]}", item.name, default=None, help=about)(command)
        else:
            metavar = "|".join(item.metadata["choices"]) or field_type(item).__name__.upper()
            command = click.option(flag, item.name, metavar=metavar, help=about)(command)
    return command
