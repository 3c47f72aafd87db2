"""The text chunks of a PNG file, read without decoding a pixel and without decompressing anything."""

from __future__ import annotations

import zlib

from ..engine.errors import FileError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT_BYTES = 8 * 2**20  # of one chunk; 75 vectors of SDXL take 5 MiB as the WebUI writes them
_CHUNKS_AT_MOST = 10_000


def png_text(content: bytes, where: str) -> dict[str, str]:
    """The uncompressed text chunks (tEXt) by keyword, the first of each; raises FileError for a damaged file.

    Of the PNG specification, section 11.3.4.3: a Latin-1 keyword, a zero byte, Latin-1 text.
    """
    if not content.startswith(PNG_SIGNATURE):
        raise FileError(f"{where} is not a PNG picture.")
    found: dict[str, str] = {}
    place, view = len(PNG_SIGNATURE), memoryview(content)
    for _ in range(_CHUNKS_AT_MOST):
        length, kind = int.from_bytes(view[place : place + 4], "big"), bytes(view[place + 4 : place + 8])
        end = place + 8 + length
        if end + 4 > len(content):
            raise FileError(f"{where} is cut off: it ends in the middle of the picture.")
        if kind == b"tEXt":
            if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
                raise FileError(f"{where} is damaged: a checksum in it is wrong.")
            if length > MAX_TEXT_BYTES:
                raise FileError(f"{where} holds {length} bytes of text, which no embedding has.")
            keyword, _, text = bytes(view[place + 8 : end]).partition(b"\0")
            found.setdefault(keyword.decode("latin-1"), text.decode("latin-1"))
        if kind == b"IEND":
            return found
        place = end + 4
    raise FileError(f"{where} is damaged: it does not end like a PNG picture.")
