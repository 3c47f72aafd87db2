"""An embedding in the pixels of a picture, as AUTOMATIC1111 writes it beside the text: it is still there where a
program has dropped the text.

To the left of what the picture shows is a block with the lower four bits of each byte, to the right one with the upper
four, each behind a black column. They lie in the lower four bits of the colours, under noise that is always the same.
"""

from __future__ import annotations

import io
import warnings
import zlib

import numpy as np
from PIL import Image

from ..engine.errors import FileError
from .picture_files import formats, room_for_metadata
from .png_text import MAX_TEXT_BYTES

MOST_PIXELS = 16_000_000  # 75 vectors of SDXL take 2 million
_LOW = 0x0F
_FACTOR, _STEP = 1_664_525, 1_013_904_223  # of the noise: a linear congruential generator of 32 bits


def json_in_pixels(content: bytes, where: str) -> bytes | None:
    """The JSON in a picture of any lossless format, or None for any other; raises FileError where it is too long."""
    try:
        with (
            room_for_metadata(),
            warnings.catch_warnings(),
            Image.open(io.BytesIO(content), formats=[name for name in formats() if name != "JPEG"]) as picture,
        ):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if picture.width * picture.height > MOST_PIXELS:
                return None
            colours = np.asarray(picture.convert("RGB"))
    except Exception:  # Pillow's decoders raise nearly anything on damaged bytes
        return None
    return _unpacked(_bytes_in(_without_frame(colours)), where)


def _without_frame(colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) without the rows and columns at its edges in which no pixel has something of each colour."""
    is_lit = (colours[:, :, 0] != 0) & (colours[:, :, 1] != 0) & (colours[:, :, 2] != 0)  # ten times as fast as `all`
    rows, columns = (np.flatnonzero(is_lit.any(axis=axis)) for axis in (1, 0))
    return colours[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else colours


def _bytes_in(colours: np.ndarray) -> bytes:
    """The two blocks of a picture (H, W, 3) as bytes; nothing where there are no two that zlib could have made."""
    black = np.flatnonzero(~(np.bitwise_or.reduce(colours, axis=0) & _LOW).any(axis=1))
    if len(black) < 2:
        return b""
    lower, upper = ((block & _LOW).ravel() for block in (colours[:, : black[0]], colours[:, black[-1] + 1 :]))
    if lower.size != upper.size or lower.size < 2 or not _begins_like_zlib(lower[:2], upper[:2]):
        return b""
    return _joined(lower, upper).tobytes()


def _begins_like_zlib(lower: np.ndarray, upper: np.ndarray) -> bool:
    """By its first two bytes: the noise of a whole picture takes longer."""
    first, second = _joined(lower, upper).tolist()
    return first & _LOW == zlib.DEFLATED and (first * 256 + second) % 31 == 0


def _joined(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    noise = _noise(lower.size)
    return (upper ^ noise) << 4 | (lower ^ noise)


def _noise(count: int) -> np.ndarray:
    """x[n] = (a x[n-1] + c) mod 2**32 from x[0] = 0, which is c times the sum of the powers of a below n."""
    powers = np.full(count, _FACTOR, dtype=np.uint32)
    powers[:1] = 1
    numbers = np.cumsum(np.cumprod(powers, dtype=np.uint32), dtype=np.uint32) * np.uint32(_STEP)
    return (numbers % 255 & _LOW).astype(np.uint8)


def _unpacked(packed: bytes, where: str) -> bytes | None:
    """What stands behind the end is padding."""
    packer = zlib.decompressobj()
    try:
        found = packer.decompress(packed, MAX_TEXT_BYTES + 1) if packed else b""
    except zlib.error:
        return None
    if len(found) > MAX_TEXT_BYTES:
        raise FileError(f"{where} holds more than {MAX_TEXT_BYTES // 2**20} MiB of text, which no embedding has.")
    return found if packer.eof and found else None
