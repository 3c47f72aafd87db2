"""What can go wrong through no fault of the code. Every message is one sentence for the user."""

from __future__ import annotations


class DreamArtistError(Exception):
    """The base of all of them: a sentence that a user can act on."""


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
