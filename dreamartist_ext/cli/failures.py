"""How a command ends that does not succeed: one sentence, and a status that tells why.

2: what was given cannot be used. 130: stopped, by Ctrl-C. 1: all else. No traceback, unless DREAMARTIST_DEBUG asks.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from pathlib import Path

import click

from ..engine.errors import DreamArtistError, FileError, StoppedError, TrainingError, first_line
from .output import printable, put, styled

FAILURE, WRONG_INPUT, STOPPED = 1, 2, 130
_MOST_SHOWN = 1000  # characters of a sentence
DEBUG = "DREAMARTIST_DEBUG"
# What the system refuses through no fault of a path.
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_OF_A_PATH = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
)
# Packages that another of our extras brings than the command line's own.
_EXTRAS = {"gradio": "serve", "ray": "many", "accelerate": "accelerate", "open_clip": "clip"}


def told(error: Exception | KeyboardInterrupt) -> int:
    """Say on stderr what went wrong; returns the status to exit with."""
    if os.environ.get(DEBUG) and not isinstance(error, (click.ClickException, click.Abort)):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return _said("stopped.", STOPPED)
    if isinstance(error, click.ClickException):
        return _said(_of_usage(error), WRONG_INPUT)
    if isinstance(error, DreamArtistError):
        return _said(str(error), status_of(error))
    if isinstance(error, OSError) and error.filename is not None and error.errno in _OF_A_PATH:
        where = printable(os.fsdecode(error.filename), 200)
        return _said(f'"{where}" cannot be used: {error.strerror}; choose another.', WRONG_INPUT)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("dreamartist_ext"):
        package = error.name.partition(".")[0]
        extra = _EXTRAS.get(package, "standalone")
        return _said(f'this needs {package}: pip install "dreamartist[{extra}]".', FAILURE)
    return _said(f"{_unexpected(error)}; {_where_the_log_is(error)}", FAILURE)


def status_of(error: DreamArtistError) -> int:
    if isinstance(error, StoppedError):
        return STOPPED
    if isinstance(error, TrainingError):
        return FAILURE
    cause = error.__cause__
    is_of_machine = isinstance(error, FileError) and isinstance(cause, OSError) and cause.errno in _OF_THE_MACHINE
    return FAILURE if is_of_machine else WRONG_INPUT


def _said(sentence: str, status: int) -> int:
    line = printable(" ".join(sentence.splitlines()), _MOST_SHOWN)  # it may hold a stranger's text
    put(f"{styled('dreamartist:', err=True, fg='red')} {line}", err=True)
    return status


def _of_usage(error: click.ClickException) -> str:
    """In one sentence, with where help is."""
    text = " ".join(error.format_message().split())
    text = f"{text[:1].lower()}{text[1:]}"
    ctx = getattr(error, "ctx", None)
    help_at = f' See "{ctx.command_path} --help".' if ctx else ""
    return (text if text.endswith((".", "?", ")")) else f"{text}.") + help_at


def _unexpected(error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        return "the memory of this machine is used up"
    text = printable(first_line(error), 200).rstrip(".")
    return f"something unexpected happened ({kind}{'' if text == kind else f': {text}'})"


def _where_the_log_is(error: Exception) -> str:
    """The traceback is never lost: it is in a file, or on the terminal."""
    if os.environ.get(DEBUG):
        return "the traceback is above."
    try:
        descriptor, path = tempfile.mkstemp(prefix="dreamartist-", suffix=".log")
        text = f"{' '.join(sys.argv)}\n{sys.version}\n{''.join(traceback.format_exception(error))}"
        with os.fdopen(descriptor, "wb") as log:
            log.write(text.encode("utf-8", "backslashreplace"))
    except OSError:
        return f"{DEBUG}=1 shows where."
    return f"where is in {Path(path)}, please report it."
