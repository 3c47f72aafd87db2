"""docs/command-line.md: every command with its flags, from the commands' own help."""

from __future__ import annotations

import inspect
from dataclasses import fields

import click

from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.config import TrainConfig

from .marks import code, row

SETTINGS = {item.name for item in fields(TrainConfig)}


def commands() -> str:
    context = click.Context(dreamartist, info_name="dreamartist")
    found = ((name, dreamartist.get_command(context, name)) for name in dreamartist.list_commands(context))
    return "\n\n".join(section(name, command) for name, command in found if command is not None)


def section(name: str, command: click.Command) -> str:
    """A command: how it is called, what it does, its flags, and examples of it."""
    context = click.Context(command, info_name=f"dreamartist {name}")
    usage = command.get_usage(context).split(": ", 1)[-1]
    parts = [f"## {name}", f"    {' '.join(usage.split())}", inspect.cleandoc(command.help or "").replace("\b\n", "")]
    takes_settings = {each.name for each in command.params} >= {"learning_rate", "guidance"}
    own = [each for each in command.params if not (takes_settings and each.name in SETTINGS)]
    if rows := [flag(each) for each in own if is_shown(each)]:
        parts.append("\n".join(["| | default | |", "|---|---|---|", *rows]))
    if takes_settings:
        parts.append("And a flag for every [setting](options.md): `--learning-rate 0.003`, `--cosine`, `--no-cosine`.")
    if command.epilog:
        lines = [line.strip().removeprefix("$ ") for line in command.epilog.replace("\b", "").splitlines()]
        parts.append("\n".join(["Examples:", "", *(f"    {line}" for line in lines if line.startswith("dreamartist"))]))
    return "\n\n".join(part for part in parts if part)


def is_shown(item: click.Parameter) -> bool:
    return bool(getattr(item, "help", None)) or isinstance(item, click.Option)


def flag(item: click.Parameter) -> str:
    names = ", ".join(map(code, [*item.opts, *item.secondary_opts]))
    if isinstance(item, click.Argument):
        names = code(item.metavar or str(item.name).upper())
    said, _, named = (getattr(item, "help", None) or "").strip().rstrip("]").partition("[default:")
    choices = ", ".join(map(str, getattr(item.type, "choices", ())))
    about = said.strip() if not choices or choices in said else f"{said.strip()} One of {choices}."
    is_flag = getattr(item, "is_flag", False)
    default = "" if is_flag or item.required else code(shown(item.default))
    return row([names, named.strip() or default, about])


def shown(value: object) -> str:
    """A default as it would be typed; nothing for none."""
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return "" if value is None or callable(value) or "UNSET" in repr(value).upper() else str(value)
