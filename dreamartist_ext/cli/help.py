"""How the help of every command looks: rich-click's panels, the same order everywhere, examples at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import rich_click as click

REQUIRED, MODEL, OUTPUT = "Required", "Model", "Output"
# The panels of all commands from top to bottom; between the first two and the last two, the groups of TrainConfig.
SOURCES, WORKERS = "Settings from", "Workers"
GROUPS = ("concept", "prompts", "training", "optimizer", "picture", "saving")

CONTEXT: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "rich_help_config": {
        "theme": "default-slim",
        "force_terminal": None,  # rich-click would colour every pipe on GitHub
        "show_arguments": True,
        "text_markup": None,  # brackets are brackets
        "max_width": 110,
        "style_epilog_text": "",
        "default_string": r"\[default: {}]",
        "append_range_help_string": r"\[{}]",
    },
}


def examples_of(*arguments: str) -> str:
    """The end of a help, as rich-click takes lines: with an empty one between them."""
    return "\n\n".join(["Examples:", *(f"$ dreamartist {each}" for each in arguments)])


def panel_of(group: str) -> str:
    """What the panel of a group of settings is called."""
    return group.capitalize()


def command(*examples: str, **attributes: Any) -> Callable[[Callable[..., Any]], click.RichCommand]:
    """As click's `command`, with the panels in their order and examples of its use at the end."""
    names: Sequence[str] = (REQUIRED, SOURCES, *map(panel_of, GROUPS), "Options", WORKERS, MODEL, OUTPUT)
    return click.command(
        context_settings=CONTEXT,
        epilog=examples_of(*examples),
        panels=[click.RichOptionPanel(name, options=["help"] if name == OUTPUT else None) for name in names],
        **attributes,
    )
