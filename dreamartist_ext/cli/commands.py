"""The command `dreamartist`: its commands are read when they are asked for."""

from __future__ import annotations

import importlib
from typing import Any

import rich_click as click

from .. import __version__
from ..engine.errors import DreamArtistError
from .advice import add_advice
from .help import CONTEXT, examples_of

PANELS = {
    "Learn": ("train", "train-many"),
    "Use": ("generate", "evaluate", "serve", "demo"),
    "Concepts": ("list", "inspect", "convert", "share", "rename", "delete", "restore"),
    "This machine": ("doctor", "completion"),
}
COMMANDS = tuple(name for names in PANELS.values() for name in names)
PROGRAM, COMPLETE = "dreamartist", "_DREAMARTIST_COMPLETE"  # its name, and the variable by which a shell asks it


class Commands(click.RichGroup):
    """Every command is a file of its own in this room, under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def invoke(self, ctx: click.Context) -> Any:
        """With the flag that helps behind an error's sentence."""
        try:
            return super().invoke(ctx)
        except DreamArtistError as error:
            add_advice(error, ctx.invoked_subcommand or "")
            raise

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{__package__}.{name}"), name)
        return command


@click.group(
    cls=Commands,
    context_settings=CONTEXT,
    panels=[click.RichCommandPanel(title, commands=list(names)) for title, names in PANELS.items()],
    epilog=examples_of("train photo.png --name mycat", 'generate "a mycat on a red background"', "train --help"),
)
@click.version_option(__version__)
def dreamartist() -> None:
    """Teach Stable Diffusion a concept from one picture."""
