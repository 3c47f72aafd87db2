"""What a user should know of a name before it is a word in every prompt."""

from __future__ import annotations

from .output import is_quiet, note


def warn_of_ordinary(name: str, is_one_token: bool = False) -> str:
    """Say that the name is a word that people use in prompts, which is the user's decision; returns what is said."""
    from ..files.ordinary_words import warning_about

    warning = warning_about(name, is_one_token)
    if warning and not is_quiet():
        note(f"Note: {warning}")
    return warning
