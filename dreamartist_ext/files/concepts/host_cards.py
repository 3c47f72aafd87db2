"""NAME.preview.png beside NAME.pt: what the WebUI's own cards of Textual Inversion show, and take for no word.

Ours say that they are: a picture that the user put there is never written over.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

from PIL import Image, PngImagePlugin

from ...engine.errors import FileError
from ...engine.names import negative_name
from ..atomic import write_atomically
from ..below import is_there
from ..picture_files import room_for_metadata
from ..storage import find_embedding

logger = logging.getLogger(__name__)

SUFFIX = ".preview.png"
SIDE = 512  # pixels, at most
_MARK = "dreamartist-preview"
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")
_ANY = (*_ENDINGS, *(f".preview{ending}" for ending in _ENDINGS))  # of what the WebUI takes for a card's picture


def card_picture_of(embedding: Path) -> Path:
    """Where the picture of an embedding's card is, if there is one."""
    return embedding.with_name(f"{embedding.stem}{SUFFIX}")


def keep_card_picture(embedding: Path, picture: bytes) -> None:
    """Put a picture on the WebUI's card, and in grey on that of its negative, unless the user has put one there. One
    that cannot be written is no reason to stop anything."""
    _keep(embedding, picture, "RGB")
    negative = find_embedding(embedding.parent, negative_name(embedding.stem))
    if negative is not None:
        _keep(negative, picture, "L")


def _keep(embedding: Path, picture: bytes, mode: str) -> None:
    path = card_picture_of(embedding)
    if any(is_there(embedding.with_name(f"{embedding.stem}{ending}")) for ending in _ANY) and not is_ours(path):
        return
    buffer, mark = io.BytesIO(), PngImagePlugin.PngInfo()
    mark.add_text(_MARK, "1")
    try:
        with room_for_metadata(), Image.open(io.BytesIO(picture)) as image:
            shown = image.convert("RGB").convert(mode)
        shown.thumbnail((SIDE, SIDE))
        shown.save(buffer, "PNG", pnginfo=mark)
        write_atomically(path, buffer.getvalue())
    except (OSError, ValueError, SyntaxError, FileError) as error:
        logger.warning("no picture on the card of %s: %s", embedding.stem, error)


def is_ours(path: Path) -> bool:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return _MARK in image.info
    except (OSError, ValueError, SyntaxError):
        return False
