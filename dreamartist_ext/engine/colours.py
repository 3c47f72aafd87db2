"""A colour as a setting says it."""

from __future__ import annotations

from .errors import SettingError

Colour = tuple[int, int, int]


WHITE = (255, 255, 255)


def parse_colour(text: str) -> Colour:
    """A colour by its CSS name or as #rrggbb; raises SettingError."""
    from PIL import ImageColor  # on use: settings are read without a picture library

    try:
        return ImageColor.getrgb(text.strip())[:3]
    except ValueError:
        raise SettingError(f'background must be a colour such as "white" or "#ff8800", got "{text[:80]}".') from None
