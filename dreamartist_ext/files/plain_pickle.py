"""A reader of pickles that can only build plain data: no import, no call, no attribute, whatever the file says.

The usual readers are not safe enough. `torch.load(weights_only=True)` has been broken before: CVE-2025-32434, in torch
below 2.6, and the WebUI pins such a torch. Python's own Unpickler takes as much memory as a file of ten bytes asks for.
This reader knows only the opcodes that torch writes for dictionaries of tensors. A global name in the file becomes a
`Name`, and a call of it becomes a `Called`: plain data for the caller to look at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..engine.errors import FileError

MOST_OPCODES = 100_000
MOST_LINE = 10_000  # bytes
_MOST_KEY = 2**31
_REBUILDERS = "tensor tensor_v2 tensor_v3 parameter parameter_with_state".split()
_FLOATS = "float16 float32 float64 bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
_DTYPES = f"{_FLOATS} int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split()
_KNOWN_NAMES = frozenset(
    [("collections", "OrderedDict"), ("torch", "Size"), ("torch.nn.modules.container", "ParameterDict")]
    + [("__builtin__", "set"), ("builtins", "set"), ("__builtin__", "bytes"), ("builtins", "bytes")]
    + [("torch._utils", f"_rebuild_{name}") for name in _REBUILDERS]
    + [("torch._utils", f"_rebuild_device_tensor_from_{name}") for name in ("numpy", "cpu_tensor")]
    + [("torch.nn.parameter", "Parameter"), ("torch", "device"), *(("torch", dtype) for dtype in _DTYPES)]
    + [("torch.storage", "UntypedStorage")]
    + [("torch", f"{kind}Storage") for kind in "Float Half BFloat16 Double Long Int Short Char Byte Bool".split()]
    # how numpy's numbers and arrays are written, of which MPS and DirectML make their tensors
    + [(f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")]
    + [("numpy", "dtype"), ("numpy", "ndarray"), ("_codecs", "encode")]
    # keys in what PyTorch Lightning saves
    + [("pytorch_lightning.callbacks", "model_checkpoint")]
    + [("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")]
)


class PickleError(FileError):
    """It is damaged, or holds something other than plain data."""


@dataclass(frozen=True)
class Name:
    """What a pickle would have imported."""

    module: str
    name: str


@dataclass(eq=False)
class Called:
    """What a pickle would have called, with what, and the state it would have given to the result."""

    name: Name
    arguments: tuple[Any, ...]
    items: dict[Any, Any] = field(default_factory=dict)
    state: Any = None


@dataclass(frozen=True)
class Reference:
    """A persistent id: torch's way to name a storage."""

    content: Any


class _Mark:
    pass


_MARK = _Mark()


@dataclass(frozen=True)
class Pickle:
    """The one object that a pickle holds, where the pickle ends, and every reference in it."""

    value: Any
    end: int
    references: list[Reference]


def read_pickle(content: bytes | memoryview, where: str, start: int = 0) -> Pickle:
    """Read one pickle that begins at `start`; raises PickleError."""
    machine = _Machine(memoryview(content), start)
    try:
        return Pickle(machine.run(), machine.place, machine.references)
    except _UnknownError as error:
        raise PickleError(f"{where} holds something other than plain tensors: {error}.") from None
    except (IndexError, KeyError, TypeError, ValueError, struct.error, UnicodeDecodeError, RecursionError) as error:
        raise PickleError(f"{where} is damaged.") from error


class _UnknownError(Exception):
    """Says what was met."""


class _Machine:
    """Protocols 0 to 4 as far as torch and Python write them for plain data."""

    def __init__(self, content: memoryview, place: int) -> None:
        self.content, self.place = content, place
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.references: list[Reference] = []

    def run(self) -> Any:
        for _ in range(MOST_OPCODES):
            opcode = bytes(self.take(1))
            if opcode == b".":
                return self.stack.pop()
            if opcode not in _OPCODES:
                raise _UnknownError(f"the pickle opcode {opcode!r}")
            _OPCODES[opcode](self)
        raise _UnknownError(f"more than {MOST_OPCODES} pickle opcodes")

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self.content) - self.place:
            raise ValueError("cut off")
        self.place += count
        return self.content[self.place - count : self.place]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        line, newline, _ = bytes(self.content[self.place : self.place + MOST_LINE]).partition(b"\n")
        if not newline:
            raise ValueError("cut off")
        self.take(len(line) + 1)
        return line.decode()

    def text(self, length: int) -> str:
        return bytes(self.take(length)).decode("utf-8", "surrogatepass")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def push_name(self, module: str, name: str) -> None:
        if (module, name) not in _KNOWN_NAMES:
            shown = "".join(c if c.isprintable() else "?" for c in f"{module}.{name}"[:80])
            raise _UnknownError(f"it asks for {shown}")
        self.push(Name(module, name))

    def call(self, arguments: Any, name: Any) -> None:
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise _UnknownError("a call of something without a name")
        self.push(Called(name, arguments))

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Called):
            raise _UnknownError("a state for something plain")
        self.stack[-1].state = state

    def set_items(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Called) else target
        if not isinstance(items, dict) or len(flat) % 2:
            raise ValueError("no dictionary")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            items[_key(key)] = value

    def refer(self) -> None:
        content = self.stack[-1]
        if isinstance(content, tuple) and len(content) == 4 and content[0] == "module" and isinstance(content[1], Name):
            self.stack[-1] = content[1]  # before torch 1.6 a class came with its source, which nobody needs
            return
        self.references.append(Reference(self.stack.pop()))
        self.push(self.references[-1])

    def append_all(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("no list")
        self.stack[-1].extend(items)

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def push_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("too few for a tuple")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push(items)


def _key(key: Any) -> Any:
    """Only keys that hash at once, each to something else: a tuple in a tuple, sixty times over, would hash for years,
    and large numbers can all be chosen to hash alike."""
    if isinstance(key, Name):
        return f"{key.module}.{key.name}"
    if not (isinstance(key, (str, type(None))) or (isinstance(key, int) and abs(key) < _MOST_KEY)):
        raise _UnknownError("a dictionary by something other than text or small numbers")
    return key


def _integer(text: str) -> int | bool:
    """Protocol 0 writes booleans as 00 and 01."""
    if text in ("00", "01"):
        return text == "01"
    if len(text) > 20:
        raise ValueError("too long for a number")
    return int(text)


def _long(machine: _Machine, form: str = "<B") -> int:
    length = machine.number(form)
    if not 0 <= length <= 16:
        raise ValueError("too long for a number")
    return int.from_bytes(machine.take(length), "little", signed=True)


def _quoted(text: str) -> str:
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"" or "\\" in text:
        raise _UnknownError("an escaped text")
    return text[1:-1]


def _named_by_stack(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise TypeError("no name")
    machine.push_name(module, name)


_Step = Callable[[_Machine], Any]
_OPCODES: dict[bytes, _Step] = {
    b"\x80": lambda m: m.take(1),  # PROTO
    b"\x95": lambda m: m.take(8),  # FRAME
    b"(": lambda m: m.push(_MARK),
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m.pop_to_mark(),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_integer(m.line())),
    b"L": lambda m: m.push(_integer(m.line().rstrip("L"))),
    b"F": lambda m: m.push(float(m.line())),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"G": lambda m: m.push(m.number(">d")),
    b"\x8a": lambda m: m.push(_long(m)),
    b"\x8b": lambda m: m.push(_long(m, "<i")),
    b"S": lambda m: m.push(_quoted(m.line())),
    b"V": lambda m: m.push(m.line()),
    b"U": lambda m: m.push(m.text(m.number("<B"))),
    b"T": lambda m: m.push(m.text(m.number("<i"))),
    b"X": lambda m: m.push(m.text(m.number("<I"))),
    b"\x8c": lambda m: m.push(m.text(m.number("<B"))),
    b"\x8d": lambda m: m.push(m.text(m.number("<Q"))),
    b"C": lambda m: m.push(bytes(m.take(m.number("<B")))),
    b"B": lambda m: m.push(bytes(m.take(m.number("<I")))),
    b"\x8e": lambda m: m.push(bytes(m.take(m.number("<Q")))),
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"d": lambda m: _dictionary(m),
    b"l": lambda m: m.push(m.pop_to_mark()),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.push_tuple(1),
    b"\x86": lambda m: m.push_tuple(2),
    b"\x87": lambda m: m.push_tuple(3),
    b"a": lambda m: m.append_all([m.stack.pop()]),
    b"e": lambda m: m.append_all(m.pop_to_mark()),
    b"s": lambda m: _set_one(m),
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    b"p": lambda m: m.remember(int(m.line()[:10])),
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"g": lambda m: m.push(m.memo[int(m.line()[:10])]),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"c": lambda m: m.push_name(m.line(), m.line()),
    b"\x93": _named_by_stack,
    b"R": lambda m: m.call(m.stack.pop(), m.stack.pop()),
    b"\x81": lambda m: m.call(m.stack.pop(), m.stack.pop()),  # NEWOBJ
    b"b": lambda m: m.build(),
    b"Q": lambda m: m.refer(),
}


def _dictionary(machine: _Machine) -> None:
    flat = machine.pop_to_mark()
    machine.push({})
    machine.set_items(flat)


def _set_one(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_items([key, value])
