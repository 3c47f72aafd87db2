"""What can go wrong through no fault of the code. Every message is one sentence for the user."""

from __future__ import annotations

from typing import Literal

# What would help, where the page and the command line have ways of their own to do it. No sentence names a flag or a
# button: who shows the error adds that.
Remedy = Literal[
    "",
    "another name",
    "picture of it",
    "weights of CLIP",
    "model of CLIP",
    "lists of prompts",
    "going on",
    "Ray",
    "packages that measure",
    "open_clip",
    "card",
]


class DreamArtistError(Exception):
    """The base of all of them: a sentence that a user can act on, and what kind of help there is."""

    def __init__(self, sentence: str = "", remedy: Remedy = "") -> None:
        super().__init__(sentence)
        self.remedy = remedy


class SettingError(DreamArtistError):
    """A setting, a name or a template that cannot be used."""


class PictureError(DreamArtistError):
    """A picture, mask or caption that cannot be used."""


class FileError(DreamArtistError):
    """A file that is refused, or that cannot be written."""


class ModelError(DreamArtistError):
    """A model that cannot be used."""


class TrainingError(DreamArtistError):
    """A training that cannot go on."""


class StoppedError(DreamArtistError):
    """What the user asked for: a training that ended before its last step."""


def first_line(error: Exception) -> str:
    """What an error says, without what follows its first line; never nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
