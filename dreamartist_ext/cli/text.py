"""A stranger's text on a terminal."""

from __future__ import annotations


def printable(text: str, most: int = 2000) -> str:
    """A stranger's text without control characters, cut to a length that fits a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])
