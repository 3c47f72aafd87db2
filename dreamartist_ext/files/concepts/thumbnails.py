"""Pictures of concepts: one per step beside the snapshots, and two of each concept in a folder of their own, for pages
and for its card.

The two are filed under a digest of the vectors, not under the file's name. So a renamed, copied or restored concept
still finds its pictures, and an overwritten concept does not show those of its predecessor. The folder lies beside the
embeddings folder, because the WebUI would take a picture inside that for an embedding.
"""

from __future__ import annotations

import io
import logging
import struct
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from PIL import Image

from ...engine.errors import FileError
from ..bounded import read_at_most
from ..card_drawing import picture_on_card
from ..formats import MAX_EMBEDDING_BYTES
from ..picture_files import room_for_metadata
from ..run import RunFiles
from ..storage import find_embedding, write_atomically
from .host_cards import keep_card_picture
from .index import facts_of

logger = logging.getLogger(__name__)

FOLDER = "_previews"  # beside the trainings' folders; no name of a concept begins so
SUFFIX = ".jpg"
LARGE_SUFFIX = ".card.jpg"
SIDE = 224  # pixels, at most: a page carries dozens
MEDIUM_SIDE = 384
LARGE_SIDE = 768
MAX_BYTES = 256 * 2**10
MAX_LARGE_BYTES = 2 * 2**20
MAX_PIXELS = 64 * 2**20
KEPT = 500  # pictures of cards


def path_of(embeddings: Path, key: str) -> Path:
    """Where the picture of the concept with these vectors (`Facts.key`) is, if there is one."""
    return RunFiles(embeddings, FOLDER).folder / f"{key}{SUFFIX}"


def large_path_of(embeddings: Path, key: str) -> Path:
    """Where the one for its card is."""
    return path_of(embeddings, key).with_suffix(LARGE_SUFFIX)


def read(embeddings: Path, key: str) -> bytes:
    """The small JPEG file's bytes, or none."""
    return _read(path_of(embeddings, key), MAX_BYTES) if key else b""


def read_large(embeddings: Path, key: str) -> bytes:
    """The one for its card, or else the small one, or none."""
    large = _read(large_path_of(embeddings, key), MAX_LARGE_BYTES) if key else b""
    return large or read(embeddings, key)


def _read(path: Path, most: int) -> bytes:
    try:
        return read_at_most(path, most) or b""
    except OSError:
        return b""


def keep(embeddings: Path, key: str, picture: bytes) -> None:
    """Keep a picture (any format that Pillow reads) for a concept, in both sizes; raises FileError."""
    write_atomically(path_of(embeddings, key), small_jpeg(picture))
    write_atomically(large_path_of(embeddings, key), large_jpeg(picture))


def keep_step(files: RunFiles, step: int, picture: bytes) -> None:
    """Keep the picture of a step beside its snapshot; raises FileError."""
    write_atomically(_step_path(files, step), large_jpeg(picture))


def adopt_step(files: RunFiles, step: int, on_host_card: bool = False) -> None:
    """The pair of this step has become the concept, and so has its picture. Without one nothing happens: a picture
    that is missing or cannot be kept is no reason to stop anything. `on_host_card`: also beside the embedding."""
    path, embedding = _step_path(files, step), find_embedding(files.out, files.name)
    if embedding is None:
        return
    try:
        picture = path.read_bytes()
        keep(files.out, facts_of(embedding).key, picture)
        if on_host_card:
            keep_card_picture(embedding, picture)
    except FileNotFoundError:
        return
    except (OSError, FileError) as error:
        logger.warning("no preview of %s: %s", files.name, error)


def _step_path(files: RunFiles, step: int) -> Path:
    return files.folder / f"{files.step_stem(step)}{SUFFIX}"


def small_jpeg(picture: bytes) -> bytes:
    """Raises FileError for what is no picture."""
    return _jpeg(picture, SIDE, 85)


def medium_jpeg(picture: bytes) -> bytes:
    """Raises FileError for what is no picture."""
    return _jpeg(picture, MEDIUM_SIDE, 85)


def large_jpeg(picture: bytes) -> bytes:
    """Raises FileError for what is no picture."""
    return _jpeg(picture, LARGE_SIDE, 92)


def _jpeg(picture: bytes, side: int, quality: int) -> bytes:
    buffer = io.BytesIO()
    try:
        with room_for_metadata(), Image.open(io.BytesIO(picture)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise FileError(f"a picture of {image.width}x{image.height} is too large for a preview.")
            image.draft("RGB", (side * 2, side * 2))
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise FileError("the preview is no picture, or a damaged one.") from error
    small.thumbnail((side, side))
    small.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def on_card(path: Path) -> bytes:
    """The picture on a card, as a PNG file; nothing where none can be read."""
    try:
        if path.stat().st_size > MAX_EMBEDDING_BYTES:
            return b""
        with room_for_metadata(), Image.open(path, formats=["PNG"]) as card:
            if card.width * card.height > MAX_PIXELS:
                return b""
            picture = picture_on_card(card.convert("RGB"))
    except Exception:  # Pillow's decoders raise nearly anything on damaged bytes
        return b""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@lru_cache(maxsize=KEPT)
def small_on_card(path: Path, _size: int, _changed: int) -> bytes:
    """As a JPEG file for a page, which is drawn once for each state of the card."""
    picture = on_card(path)
    return small_jpeg(picture) if picture else b""


def first_picture(files: RunFiles) -> bytes:
    """The picture that was learned from, small, for a concept that has no other; or none."""
    with suppress(OSError, FileError):
        for path in sorted((files.folder / "pictures").iterdir()):
            if path.suffix != ".txt" and not path.stem.endswith("_att"):
                return small_jpeg(path.read_bytes())
    return b""
