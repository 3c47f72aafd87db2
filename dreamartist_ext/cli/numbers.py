"""Numbers in a range, which help shows in words."""

from __future__ import annotations

import click

MANY = 1e5  # a limit above this is no help


def in_words(least: float | None, most: float | None, above: float | None = None) -> str:
    """ "1 to 12", "at least 1", or nothing where there is no limit that anybody would meet."""
    if most is None or most > MANY:
        return f"at least {least:g}" if least else ""
    low = f"above {above:g}" if above is not None else f"{least or 0:g}"
    return f"{low} to {most:g}"


class Whole(click.IntRange):
    """A whole number in a range."""

    name = "int"

    def _describe_range(self) -> str:
        return in_words(self.min, self.max)


class Number(click.FloatRange):
    """A number in a range."""

    name = "float"

    def _describe_range(self) -> str:
        return in_words(self.min, self.max)
