"""What is fuzzed: a byte that says how the rest becomes a file, and the door that reads it.

Check sums would stop a fuzzer at the gate, so that pickles, headers, texts and JSON are put into sound files here.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from dreamartist_ext.engine.embedding import MAX_VECTORS
from dreamartist_ext.engine.errors import DreamArtistError
from dreamartist_ext.files.card_files import card_word
from dreamartist_ext.files.importing import look
from dreamartist_ext.files.settings_files import read_settings
from dreamartist_ext.files.templates import read_templates

PNG = b"\x89PNG\r\n\x1a\n"
STORAGE = bytes(range(256)) * 16  # 4 KiB


def archive(pickled: bytes) -> bytes:
    """A pickle as torch's archive of it, with two storages."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for name, content in {"data.pkl": pickled, "version": b"3\n", "data/0": STORAGE, "data/1": STORAGE}.items():
            new.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def with_header(header: bytes) -> bytes:
    """A safetensors file of this header, with numbers behind it."""
    return struct.pack("<Q", len(header)) + header + STORAGE


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def repaired(content: bytes) -> bytes:
    """A PNG file with right check sums, as far as it has chunks."""
    fixed, place = bytearray(content), len(PNG)
    while content.startswith(PNG) and place + 12 <= len(fixed):
        end = place + 8 + int.from_bytes(fixed[place : place + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def card_of(content: bytes) -> bytes:
    """JSON of an embedding, and after a zero byte what the card says about itself, as a card."""
    embedding, _, about = content.partition(b"\0")
    texts = {b"sd-ti-embedding": base64.b64encode(embedding), b"sd-ti-embedding-negative": base64.b64encode(embedding)}
    texts |= {b"dreamartist": about} if about else {}
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    chunks = b"".join(chunk(b"tEXt", key + b"\0" + text) for key, text in texts.items())
    return PNG + head + chunks + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def as_it_is(content: bytes) -> bytes:
    return content


# The first byte of an input, modulo their number: (ending, what becomes of the rest).
FORMS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    (".pt", archive),
    (".pt", as_it_is),
    (".safetensors", with_header),
    (".safetensors", as_it_is),
    (".png", repaired),
    (".png", card_of),
    (".json", as_it_is),
    (".txt", as_it_is),
)


def read(data: bytes, folder: Path) -> str:
    """What became of one input, in a word; raises what a reader must never raise."""
    ending, form = FORMS[data[0] % len(FORMS)] if data else FORMS[1]
    path = folder / f"x{ending}"
    path.write_bytes(form(data[1:]))
    if ending in (".json", ".txt"):
        return _read_text(path)
    offers, refusals = look([path])
    card_word(path)
    assert len(offers) + len(refusals) == 1
    for refusal in refusals:
        assert refusal.sentence.isprintable(), refusal.sentence
        assert len(refusal.sentence) < 400, refusal.sentence
        assert refusal.sentence.endswith("."), refusal.sentence
    for offer in offers:
        for half in filter(None, (offer.positive, offer.negative)):
            json.dumps(half.provenance).encode()
            assert all(torch.isfinite(v).all() and 1 <= len(v) <= MAX_VECTORS for v in half.vectors.values())
    return "read" if offers else "refused"


def _read_text(path: Path) -> str:
    try:
        read_settings(path) if path.suffix == ".json" else read_templates(path)
    except DreamArtistError as error:
        str(error).encode()
        return "refused"
    return "read"
