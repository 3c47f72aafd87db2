"""Tensors and numbers in place of what a pickle would have called: torch's, and numpy's where torch makes use of them.

A tensor of MPS or DirectML is written as a numpy array (torch 1.12 to 2.6), and losses beside an embedding are often
numpy's numbers. Nothing is imported or called for them: what they were written with is looked at.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine.errors import FileError
from .plain_pickle import Called, Name, Reference

DTYPES = {
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
    "UntypedStorage": torch.uint8,  # of kinds of numbers newer than the other names, which the tensor says
}
_NEWER = {n: getattr(torch, n) for n in ("float8_e4m3fn", "float8_e5m2") if hasattr(torch, n)}
_NUMPY_TENSORS = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64}
_NUMPY_NUMBERS = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"}  # and whole numbers of any size
_NUMPY_KIND = re.compile(r"[fiub][1248]")
_TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2")
_PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter")
_MOVED = ("_rebuild_device_tensor_from_numpy", "_rebuild_device_tensor_from_cpu_tensor")
_MOST_DEPTH = 20
_MOST_DIMENSIONS = 8
_MOST_VALUES = 100_000

Storage = Callable[[str, int, int], bytearray]  # key, first byte and number of bytes of a storage -> its bytes


def reference_to(reference: Reference) -> tuple[torch.dtype, str, int] | None:
    """(dtype, key, number of elements) of ("storage", kind, key, device, elements[, view])."""
    content = reference.content
    if not isinstance(content, tuple) or len(content) not in (5, 6) or content[0] != "storage":
        return None
    _, kind, key, _, elements = content[:5]
    if not isinstance(kind, Name) or kind.name not in DTYPES or not isinstance(key, str):
        return None
    if not isinstance(elements, int) or elements < 0 or (len(content) == 6 and content[5] is not None):
        return None
    return DTYPES[kind.name], key, elements


class Builder:
    """Tensors in place of what would have been called; everything else as it is, to a depth that data has."""

    def __init__(self, storage: Storage, where: str, most_bytes: int) -> None:
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
        if isinstance(value, bytes):
            return None  # no embedding says anything in them
        raise self.refuse()

    def called(self, value: Called, depth: int) -> Any:
        name, arguments = value.name.name, value.arguments
        if name in _TENSORS and len(arguments) >= 4:
            if any(arguments[6:]):  # such as {"neg": True}: the numbers are not as they lie there
                raise self.refuse()
            return self.tensor(*arguments[:4])
        if name == "_rebuild_tensor_v3" and len(arguments) >= 7:
            if any(arguments[7:]):
                raise self.refuse()
            storage, offset, shape, stride = arguments[:4]
            return self.tensor(storage, offset, shape, stride, arguments[6])
        if name in _PARAMETERS and arguments and isinstance(arguments[0], Called):
            return self.build(arguments[0], depth + 1)
        if name in _MOVED and arguments and isinstance(arguments[0], Called):
            return self.moved(arguments[0], depth)
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
        if name == "scalar" and len(arguments) == 2:
            return self.number(*arguments) if self.is_number(arguments[0]) else None
        if name == "_reconstruct":
            return self.only_number(value)
        if name in ("encode", "bytes", "dtype", "device"):
            return None  # bytes or a kind of number beside the vectors
        raise self.refuse()

    def moved(self, value: Called, depth: int) -> Any:
        """A tensor of another device, as it is written: a numpy array, or the same tensor on the CPU."""
        return self.array(value) if value.name.name == "_reconstruct" else self.build(value, depth + 1)

    def tensor(self, reference: Any, offset: Any, shape: Any, stride: Any, kind: Any = None) -> Tensor:
        """A copy of its own, laid out row by row, of no more of the storage than the tensor shows; `kind` is that of
        the numbers where the storage has none.

        A stride of zero lets a tiny file claim terabytes, so that numbers are counted before they are copied.
        """
        parsed = reference_to(reference) if isinstance(reference, Reference) else None
        if parsed is None or not is_shape(shape) or not is_shape(stride) or not isinstance(offset, int):
            raise self.refuse()
        dtype, key, elements = parsed
        if kind is not None:
            dtype, elements = self.newer(kind), elements * dtype.itemsize // self.newer(kind).itemsize
        count = math.prod(shape)
        extent = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=False)) if count else 0
        if not 0 <= offset <= elements - extent or len(shape) != len(stride):
            raise FileError(f"{self.where} is damaged: a tensor in it is larger than its numbers.")
        self.count(max(count, extent) * dtype.itemsize)
        if not count:
            return torch.zeros(list(shape), dtype=dtype)
        content = self.storage(key, offset * dtype.itemsize, extent * dtype.itemsize)
        if len(content) < extent * dtype.itemsize:
            raise FileError(f"{self.where} is damaged: numbers are missing in it.")
        numbers = torch.frombuffer(content, dtype=dtype, count=extent)
        return numbers.as_strided(shape, stride).clone(memory_format=torch.contiguous_format)

    def newer(self, kind: Any) -> torch.dtype:
        """The kind of numbers of a tensor whose storage has none."""
        if not isinstance(kind, Name) or kind.module != "torch":
            raise self.refuse()
        if kind.name not in _NEWER:
            raise FileError(f"{self.where} holds numbers of a kind that no embedding has.")
        return _NEWER[kind.name]

    def count(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise FileError(f"{self.where} holds more numbers than any embedding.")

    def array(self, value: Called) -> Tensor:
        """The array whose state is (version, shape, dtype, whether columns come first, bytes)."""
        state = value.state
        if not isinstance(state, tuple) or len(state) != 5 or not is_shape(state[1]):
            raise self.refuse()
        _, shape, kind, columns_first, content = state
        code, order = self.kind(kind)
        content = self.bytes(content)
        if code not in _NUMPY_TENSORS or not isinstance(columns_first, bool):
            raise FileError(f"{self.where} holds numbers of a kind that no embedding has.")
        dtype = _NUMPY_TENSORS[code]
        self.count(math.prod(shape) * dtype.itemsize)
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise FileError(f"{self.where} is damaged: numbers are missing in it.")
        if order == ">":
            raise FileError(f"{self.where} was written by a machine of another byte order.")
        if not content:
            return torch.zeros(list(shape), dtype=dtype)
        flat = torch.frombuffer(bytearray(content), dtype=dtype)
        if columns_first:
            turned = flat.reshape(tuple(reversed(shape)))
            return turned.permute(*reversed(range(turned.dim()))).contiguous()
        return flat.reshape(shape)

    def kind(self, value: Any) -> tuple[str, str]:
        """Of numpy's dtype: its code, such as f4, and "<", ">" or "|" for the order of its bytes."""
        is_dtype = isinstance(value, Called) and value.name == Name("numpy", "dtype") and value.arguments
        code = value.arguments[0] if is_dtype else None
        if not isinstance(code, str) or not _NUMPY_KIND.fullmatch(code):
            raise self.refuse()
        state = value.state
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
        if order not in ("<", ">", "|", "="):
            raise self.refuse()
        return code, order

    def is_number(self, kind: Any) -> bool:
        """Whether numpy's dtype is one of numbers that an embedding may hold, and not of texts, dates or records."""
        is_dtype = isinstance(kind, Called) and kind.name == Name("numpy", "dtype") and kind.arguments
        return not is_dtype or bool(_NUMPY_KIND.fullmatch(str(kind.arguments[0])))

    def number(self, kind: Any, content: Any) -> Any:
        """One of numpy's numbers, as Python's."""
        code, order = self.kind(kind)
        raw = self.bytes(content)
        if len(raw) != int(code[1]):
            raise FileError(f"{self.where} is damaged: numbers are missing in it.")
        if code[0] in "iu":
            return int.from_bytes(raw, "big" if order == ">" else "little", signed=code[0] == "i")
        if code not in _NUMPY_NUMBERS:
            raise self.refuse()
        return struct.unpack((">" if order == ">" else "<") + _NUMPY_NUMBERS[code], raw)[0]

    def only_number(self, array: Called) -> Any:
        """The number of an array that stands beside the vectors and holds one, such as a step; None for any other."""
        state = array.state
        if not isinstance(state, tuple) or len(state) != 5 or not is_shape(state[1]) or math.prod(state[1]) != 1:
            return None
        try:
            return self.number(state[2], state[4])
        except FileError:
            return None

    def bytes(self, value: Any) -> bytes:
        """Bytes, which old protocols write as text in Latin-1."""
        if isinstance(value, bytes):
            return value
        if isinstance(value, Called) and value.name.name == "bytes" and not value.arguments:
            return b""
        is_text = isinstance(value, Called) and value.name == Name("_codecs", "encode") and len(value.arguments) == 2
        if not is_text or value.arguments[1] not in ("latin1", "latin-1") or not isinstance(value.arguments[0], str):
            raise self.refuse()
        try:
            return value.arguments[0].encode("latin-1")
        except UnicodeEncodeError as error:
            raise FileError(f"{self.where} is damaged: numbers are missing in it.") from error


def is_shape(shape: Any) -> bool:
    """Whether it can be the shape or the stride of a tensor."""
    return (
        isinstance(shape, tuple)
        and len(shape) <= _MOST_DIMENSIONS
        and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    )
