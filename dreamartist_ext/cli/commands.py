"""The command `dreamartist`: its commands are read when they are asked for."""

from __future__ import annotations

import importlib

import click

from .. import __version__

COMMANDS = ("train", "generate", "train-many", "serve", "demo", "evaluate", "inspect", "convert", "rename")


class Commands(click.Group):
    """Every command is a file of its own in this room, under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{__package__}.{name}"), name)
        return command


@click.group(cls=Commands)
@click.version_option(__version__)
def dreamartist() -> None:
    """Teach Stable Diffusion a concept from one picture."""
