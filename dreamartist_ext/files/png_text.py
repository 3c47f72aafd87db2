"""The text of a PNG file, read without decoding a pixel: all that Pillow's `text` finds, which is what the WebUI reads.

ImageMagick and others pack text that was plain (zTXt), write it as Unicode (iTXt), or put it behind the pixels.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO

from ..engine.errors import FileError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 8 * 2**20  # of one text; 75 vectors of SDXL take 5 MiB as the WebUI writes them
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_PIXELS = (b"IDAT", b"fdAT")
_KIND = re.compile(rb"\w{4}")
_CHUNKS_AT_MOST = 100_000  # some programs cut the pixels into pieces of 8 KiB
_CUT_OFF = "{} is cut off: it ends in the middle of the picture."


def png_text(content: bytes, where: str, keywords: Collection[str] | None = None) -> dict[str, str]:
    """The texts of these keywords, or of all, of each the last; raises FileError for a damaged file.

    Of the PNG specification, section 11.3.4: a Latin-1 keyword, a zero byte, and text that zTXt and iTXt may pack.
    """
    if not content.startswith(PNG_SIGNATURE):
        raise FileError(f"{where} is not a PNG picture.")
    found: dict[str, str] = {}
    is_behind_pixels = is_cut = False
    view = memoryview(content)
    for kind, place, length in _chunks(io.BytesIO(content), len(content), where):
        is_behind_pixels = is_behind_pixels or kind == b"IDAT"
        is_cut = place + length > len(content)
        if kind not in _TEXT_KINDS:
            continue
        checksum = int.from_bytes(view[place + length : place + length + 4], "big")
        if not is_behind_pixels and zlib.crc32(view[place - 4 : place + length]) != checksum:  # as Pillow looks at them
            raise FileError(f"{where} is damaged: a checksum in it is wrong.")
        keyword, _, rest = bytes(view[place : place + length]).partition(b"\0")
        name = keyword.decode("latin-1")
        if keywords is not None and name not in keywords:
            continue
        text = _TEXTS[kind](rest, where)
        if text is not None:
            found[name] = text
    if is_cut and not found:
        raise FileError(_CUT_OFF.format(where))
    return found


def holds_text(file: BinaryIO, keyword: str) -> bool:
    """Whether a PNG file holds a text of this keyword; nothing else is read of it."""
    if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        return False
    size = file.seek(0, 2)
    wanted = keyword.encode("latin-1") + b"\0"
    try:
        for kind, place, length in _chunks(file, size, ""):
            if kind in _TEXT_KINDS and length >= len(wanted):
                file.seek(place)
                if file.read(len(wanted)) == wanted:
                    return True
    except FileError:
        return False
    return False


def _chunks(file: BinaryIO, size: int, where: str) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its content begins, length) of every chunk before the last; raises FileError where one is missing.

    As for Pillow, a picture may end behind its pixels without saying so, and among them too, where no row needs the
    rest: that a decoder alone could tell, and the texts before are whole in any case.
    """
    place, are_pixels_there = len(PNG_SIGNATURE), False
    for _ in range(_CHUNKS_AT_MOST):
        file.seek(place)
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND" or (are_pixels_there and not _KIND.match(kind)):
            return
        are_pixels_there = are_pixels_there or kind == b"IDAT"
        needed = 0 if kind in _PIXELS else length if are_pixels_there else length + 4
        if place + 8 + needed > size:
            raise FileError(_CUT_OFF.format(where))
        yield kind, place + 8, length
        place += length + 12
    raise FileError(f"{where} is damaged: it does not end like a PNG picture.")


def _plain(text: bytes, where: str) -> str:
    return _limited(text, where).decode("latin-1")


def _packed(text: bytes, where: str) -> str:
    """A byte for how it is packed, of which there is one, then what zlib made of Latin-1."""
    if text[:1] != b"\0":
        raise FileError(f"{where} is damaged: a text in it is packed in an unknown way.")
    return (_unpacked(text[1:], where) or b"").decode("latin-1")


def _unicode(content: bytes, where: str) -> str | None:
    """Whether it is packed, how, a language, the keyword in it, UTF-8; None for what Pillow overlooks."""
    parts = content[2:].split(b"\0", 2)
    if len(parts) != 3 or (content[0] and content[1]):
        return None
    text = _unpacked(parts[2], where) if content[0] else _limited(parts[2], where)
    try:
        return None if text is None else text.decode()
    except UnicodeDecodeError:
        return None


def _unpacked(packed: bytes, where: str) -> bytes | None:
    """None for what zlib cannot read."""
    try:
        return _limited(zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES + 1), where)
    except zlib.error:
        return None


def _limited(text: bytes, where: str) -> bytes:
    if len(text) > MAX_TEXT_BYTES:
        raise FileError(f"{where} holds more than {MAX_TEXT_BYTES // 2**20} MiB of text, which no embedding has.")
    return text


_TEXTS: dict[bytes, Callable[[bytes, str], str | None]] = {b"tEXt": _plain, b"zTXt": _packed, b"iTXt": _unicode}
