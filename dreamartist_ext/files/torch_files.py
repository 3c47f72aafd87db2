"""What torch.save writes, read without torch.load: the zip archives of torch 1.6 and later, and the files before.

Of a storage no more is kept than what a tensor shows: diffusers saves one vector as a view of the whole vocabulary, in
a file of 150 MB.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch

from ..engine.errors import FileError
from .plain_pickle import read_pickle
from .plain_tensors import Builder, reference_to

# What torch.save writes, and nothing else: no TorchScript.
_KNOWN_MEMBER = re.compile(
    r"[^/]+/(data\.pkl|version|byteorder|data/\d+|\.data/serialization_id|\.format_version|\.storage_alignment)"
)
_STORAGE = re.compile(r"[^/]+/data/\d+")
_MEMBERS_AT_MOST = 256
_MOST_PICKLED = 16 * 2**20  # bytes of everything in a file but its storages
_MOST_DIRECTORY = 2**20  # bytes that list the members of an archive
_MOST_STREAMED = 2**30  # bytes of storages that are read through, for all tensors of a file together
_PIECE = 2**20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def read_torch(file: BinaryIO, where: str, most_bytes: int) -> Any:
    """The dictionaries, lists, numbers, texts and tensors in a file of torch.save; raises FileError.

    Nothing in the file is executed, and no more than `most_bytes` of tensors are made. `file` can be sought in.
    """
    beginning = file.read(4)
    file.seek(0)
    if beginning == b"PK\3\4":
        return _read_zip(file, where, most_bytes)
    if not beginning.startswith(b"\x80"):
        raise FileError(f"{where} is damaged.")
    return _read_legacy(file, where, most_bytes)


def _read_zip(file: BinaryIO, where: str, most_bytes: int) -> Any:
    pieces = _Pieces(file)
    try:
        with zipfile.ZipFile(pieces) as archive:  # it needs no more of a file than that
            pieces.most = _MOST_PICKLED
            root = _root(archive, where, most_bytes)
            found = read_pickle(archive.read(f"{root}data.pkl"), where).value
            return Builder(_Streamed(archive, root, where).read, where, most_bytes).build(found)
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise FileError(f"{where} is damaged.") from error
    except (ValueError, IndexError, OverflowError, struct.error, OSError) as error:
        raise FileError(f"{where} is damaged.") from error


class _Pieces:
    """A file that refuses to be read in pieces of more than `most` bytes: Python reads the list of an archive's
    members at once, and makes an object of each, before anybody can count them."""

    def __init__(self, file: BinaryIO) -> None:
        self.most = _MOST_DIRECTORY
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self.most + 1 if size < 0 else min(size, self.most + 1))
        if len(content) > self.most:
            raise zipfile.BadZipFile("too large a part")
        return content


class _Streamed:
    """The storages of an archive, read from beginning to end so that their check sums are checked."""

    def __init__(self, archive: zipfile.ZipFile, root: str, where: str) -> None:
        self.archive, self.root, self.where = archive, root, where
        self.left = _MOST_STREAMED

    def read(self, key: str, first: int, size: int) -> bytearray:
        kept, place = bytearray(), 0
        self.left -= self.archive.getinfo(f"{self.root}data/{key}").file_size
        if self.left < 0:
            raise FileError(f"{self.where} holds more numbers than any embedding.")
        with self.archive.open(f"{self.root}data/{key}") as member:
            while piece := member.read(_PIECE):
                kept += piece[max(0, first - place) : max(0, first + size - place)]
                place += len(piece)
        return kept


def _root(archive: zipfile.ZipFile, where: str, most_bytes: int) -> str:
    """What the names of all members begin with, of an archive that holds nothing but tensors."""
    members = archive.infolist()
    if len(members) > _MEMBERS_AT_MOST:
        raise FileError(f"{where} has more members than any embedding.")
    packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED or not _STORAGE.fullmatch(m.filename)]
    pickled = sum(m.file_size for m in members if not _STORAGE.fullmatch(m.filename))
    if sum(m.file_size for m in packed) > most_bytes or pickled > _MOST_PICKLED:
        raise FileError(f"{where} unpacks to more than any embedding holds.")
    names = [member.filename for member in members]
    pickles = [name for name in names if name.endswith("/data.pkl")]
    is_plain = all(member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members)
    if not is_plain or not all(map(_KNOWN_MEMBER.fullmatch, names)) or len(pickles) != 1:
        raise FileError(f"{where} holds something other than plain tensors.")
    root = pickles[0][: -len("data.pkl")]
    if root + "byteorder" in names and archive.read(root + "byteorder") != b"little":
        raise FileError(f"{where} was written by a machine of another byte order.")
    return root


def _read_legacy(file: BinaryIO, where: str, most_bytes: int) -> Any:
    """Five pickles (a magic number, a protocol, the writer's system, the object, the keys of its storages), then for
    each storage its number of elements (int64) and its bytes."""
    content = file.read(_MOST_PICKLED)
    magic = read_pickle(content, where)
    if magic.value != _LEGACY_MAGIC:
        raise FileError(f"{where} is not a file that torch has written.")
    protocol = read_pickle(content, where, magic.end)
    system = read_pickle(content, where, protocol.end)
    found = read_pickle(content, where, system.end)
    keys = read_pickle(content, where, found.end)
    if protocol.value != _LEGACY_PROTOCOL or not isinstance(keys.value, list):
        raise FileError(f"{where} is damaged.")
    if not isinstance(system.value, dict) or system.value.get("little_endian") is not True:
        raise FileError(f"{where} was written by a machine of another byte order.")
    kinds = {parsed[1]: parsed[0] for parsed in map(reference_to, found.references) if parsed}
    places = _places(file, where, keys.end, keys.value, kinds)

    def storage(key: str, first: int, size: int) -> bytearray:
        begin, end = places[key]
        file.seek(begin + first)
        return bytearray(file.read(max(0, min(size, end - begin - first))))

    try:
        return Builder(storage, where, most_bytes).build(found.value)
    except (KeyError, ValueError, RuntimeError) as error:
        raise FileError(f"{where} is damaged.") from error


def _places(
    file: BinaryIO, where: str, place: int, keys: list[Any], kinds: Mapping[str, torch.dtype]
) -> dict[str, tuple[int, int]]:
    """Where each storage begins and ends."""
    places: dict[str, tuple[int, int]] = {}
    length = file.seek(0, 2)
    for key in keys:
        if not isinstance(key, str) or key not in kinds:
            raise FileError(f"{where} is damaged.")
        file.seek(place)
        end = place + 8 + int.from_bytes(file.read(8), "little") * kinds[key].itemsize
        if end > length:
            raise FileError(f"{where} is cut off.")
        places[key] = place + 8, end
        place = end
    return places
