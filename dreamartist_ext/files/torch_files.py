"""What torch.save writes, read without torch.load: the zip archives of torch 1.6 and later, and the files before."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine.errors import FileError
from .plain_pickle import Called, Name, Reference, read_pickle

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# What torch.save writes, and nothing else: no TorchScript.
_KNOWN_MEMBER = re.compile(
    r"[^/]+/(data\.pkl|version|byteorder|data/\d+|\.data/serialization_id|\.format_version|\.storage_alignment)"
)
_MEMBERS_AT_MOST = 256
_MOST_DEPTH = 20
_MOST_VALUES = 100_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_Storages = Callable[[str], memoryview]  # the little-endian bytes of a storage, by its key


def read_torch(content: bytes, where: str, most_bytes: int) -> Any:
    """The dictionaries, lists, numbers, texts and tensors in a file of torch.save; raises FileError.

    Nothing in the file is executed, and nothing larger than `most_bytes` is unpacked.
    """
    if content.startswith(b"PK\3\4"):
        return _read_zip(content, where, most_bytes)
    if not content.startswith(b"\x80"):
        raise FileError(f"{where} is damaged.")
    return _read_legacy(content, where, most_bytes)


def _read_zip(content: bytes, where: str, most_bytes: int) -> Any:
    if content.count(b"PK\1\2") > _MEMBERS_AT_MOST:
        raise FileError(f"{where} has more members than any embedding.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            root = _root(archive, where, most_bytes)
            found = read_pickle(archive.read(f"{root}data.pkl"), where).value
            storages: dict[str, memoryview] = {}

            def storage(key: str) -> memoryview:
                if key not in storages:
                    storages[key] = memoryview(bytearray(archive.read(f"{root}data/{key}")))
                return storages[key]

            return _Builder(storage, where, most_bytes).build(found)
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, EOFError) as error:
        raise FileError(f"{where} is damaged.") from error
    except (ValueError, IndexError, OverflowError, struct.error, OSError) as error:
        raise FileError(f"{where} is damaged.") from error


def _root(archive: zipfile.ZipFile, where: str, most_bytes: int) -> str:
    """What the names of all members begin with, of an archive that holds nothing but tensors."""
    members = archive.infolist()
    if sum(member.file_size for member in members) > most_bytes:
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


def _read_legacy(content: bytes, where: str, most_bytes: int) -> Any:
    """Five pickles (a magic number, a protocol, the writer's system, the object, the keys of its storages), then for
    each storage its number of elements (int64) and its bytes."""
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
    kinds = {parsed[1]: parsed[0] for parsed in map(_reference, found.references) if parsed}
    storages: dict[Any, memoryview] = {}
    place, view = keys.end, memoryview(bytearray(content))
    for key in keys.value:
        if not isinstance(key, str) or key not in kinds:
            raise FileError(f"{where} is damaged.")
        end = place + 8 + int.from_bytes(view[place : place + 8], "little") * kinds[key].itemsize
        if end > len(view):
            raise FileError(f"{where} is cut off.")
        storages[key] = view[place + 8 : end]
        place = end
    try:
        return _Builder(storages.__getitem__, where, most_bytes).build(found.value)
    except (KeyError, ValueError, RuntimeError) as error:
        raise FileError(f"{where} is damaged.") from error


def _reference(reference: Reference) -> tuple[torch.dtype, str, int] | None:
    """(dtype, key, number of elements) of ("storage", kind, key, device, elements[, view])."""
    content = reference.content
    if not isinstance(content, tuple) or len(content) not in (5, 6) or content[0] != "storage":
        return None
    _, kind, key, _, elements = content[:5]
    if not isinstance(kind, Name) or kind.name not in _DTYPES or not isinstance(key, str):
        return None
    if not isinstance(elements, int) or elements < 0 or (len(content) == 6 and content[5] is not None):
        return None
    return _DTYPES[kind.name], key, elements


class _Builder:
    """Tensors in place of what would have been called; everything else as it is, to a depth that data has."""

    def __init__(self, storage: _Storages, where: str, most_bytes: int) -> None:
        self.storage, self.where = storage, where
        self.values_left, self.bytes_left = _MOST_VALUES, most_bytes

    def refuse(self) -> FileError:
        return FileError(f"{self.where} holds something other than plain tensors.")

    def build(self, value: Any, depth: int = 0) -> Any:
        self.values_left -= 1
        if depth > _MOST_DEPTH or self.values_left < 0:
            raise self.refuse()
        if isinstance(value, dict):
            return {key: self.build(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.build(item, depth + 1) for item in value]
        if isinstance(value, Called):
            return self.called(value, depth)
        if isinstance(value, Name):
            return f"{value.module}.{value.name}"
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise self.refuse()

    def called(self, value: Called, depth: int) -> Any:
        name, arguments = value.name.name, value.arguments
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2") and len(arguments) >= 4:
            return self.tensor(*arguments[:4])
        if name in ("_rebuild_parameter", "Parameter") and arguments and isinstance(arguments[0], Called):
            return self.build(arguments[0], depth + 1)
        if name == "ParameterDict":
            state = value.state if isinstance(value.state, dict) else {}
            return {**self.build(state.get("_parameters") or {}, depth + 1), **self.build(value.items, depth + 1)}
        if name == "OrderedDict":
            pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
            if not all(isinstance(p, (list, tuple)) and len(p) == 2 and isinstance(p[0], str) for p in pairs):
                raise self.refuse()
            return self.build({**{p[0]: p[1] for p in pairs}, **value.items}, depth + 1)
        if name in ("Size", "set") and arguments:
            return self.build(arguments[0], depth + 1)
        raise self.refuse()

    def tensor(self, reference: Any, offset: Any, shape: Any, stride: Any) -> Tensor:
        """A copy of its own, of contiguous tensors only: no embedding is anything else, and a stride of zero lets a
        tiny file claim terabytes."""
        parsed = _reference(reference) if isinstance(reference, Reference) else None
        if parsed is None or not _is_shape(shape) or not _is_shape(stride) or not isinstance(offset, int):
            raise self.refuse()
        dtype, key, elements = parsed
        count = math.prod(shape)
        if not 0 <= offset <= elements - count or len(shape) != len(stride):
            raise FileError(f"{self.where} is damaged: a tensor in it is larger than its numbers.")
        if count and not _is_contiguous(shape, stride):
            raise FileError(f"{self.where} holds a tensor that is not laid out row by row.")
        self.bytes_left -= count * dtype.itemsize
        if self.bytes_left < 0:
            raise FileError(f"{self.where} holds more numbers than any embedding.")
        content = self.storage(key)
        if len(content) < elements * dtype.itemsize:
            raise FileError(f"{self.where} is damaged: numbers are missing in it.")
        if not count:
            return torch.zeros(list(shape), dtype=dtype)
        return (
            torch.frombuffer(content, dtype=dtype, count=count, offset=offset * dtype.itemsize).reshape(shape).clone()
        )


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) <= 4 and all(type(n) is int and 0 <= n < 2**31 for n in shape)


def _is_contiguous(shape: Sequence[int], stride: Sequence[int]) -> bool:
    wanted = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != wanted:
            return False
        wanted *= size
    return True
