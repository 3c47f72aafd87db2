"""What a command says: sentences for a person, or JSON for a program; and a stranger's text on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from .help import OUTPUT

_QUIET, _JSON = "dreamartist.quiet", "dreamartist.json"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def quiet_option(command: _Command) -> _Command:
    """--quiet"""
    return click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, _param, value: _keep(ctx, _QUIET, value),
        help="Print only errors.",
        panel=OUTPUT,
    )(command)


def json_option(command: _Command) -> _Command:
    """--json"""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, _param, value: _keep(ctx, _JSON, value),
        help="Answer in JSON, for a program.",
        panel=OUTPUT,
    )(command)


def _keep(ctx: click.Context, key: str, value: bool) -> None:
    ctx.meta[key] = value


def _is_set(key: str) -> bool:
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(key))


def is_quiet() -> bool:
    return _is_set(_QUIET)


def wants_json() -> bool:
    return _is_set(_JSON)


def say(text: str, mark: str = "") -> None:
    """A line for a person, unless only what went wrong is asked for, or JSON. `mark` stands before it, in colour."""
    if not is_quiet() and not wants_json():
        put(mark + harmless(text))


def note(text: str) -> None:
    """A line that belongs to no answer, such as a warning: also where JSON is asked for."""
    put(harmless(text), err=True)


def harmless(text: str) -> str:
    """Lines that may hold the name of a file: what would move a terminal's cursor or turn its text is a question
    mark."""
    return "\n".join(printable(line, len(line)) for line in text.split("\n"))


def put(text: str, err: bool = False) -> None:
    """A line as the stream takes it; click of itself would write UTF-8 where ASCII is asked for."""
    click.echo(text, file=sys.stderr if err else sys.stdout)


def answer(values: Any) -> None:
    """The answer for a program, if one asks. Plain ASCII, so that it fits every pipe."""
    if wants_json():
        put(json.dumps(values, indent=2))


def styled(text: str, err: bool = False, **style: Any) -> str:
    """In colour or bold where a terminal is, and NO_COLOR is not set."""
    stream = sys.stderr if err else sys.stdout
    return click.style(text, **style) if stream.isatty() and not os.environ.get("NO_COLOR") else text


def printable(text: str, most: int = 2000) -> str:
    """A stranger's text without control characters, cut to a length that fits a terminal."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() else "?" for c in cut)


def safe_streams() -> None:
    """Characters that a terminal or a pipe cannot show are replaced from here on, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
