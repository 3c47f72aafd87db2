"""Files as strangers could send them: whole ones of every format, gadgets, bombs, and seeded damage to all of these."""

from __future__ import annotations

import base64
import io
import json
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.storage import pair_contents

ENDINGS = (".pt", ".safetensors", ".bin", ".png", ".jpg", ".webp", ".PT", ".ckpt", "")
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


class Call:
    """Unpickling this would call something."""

    def __init__(self, function: str, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple:
        module, _, name = self.function.rpartition(".")
        return getattr(__import__(module, fromlist=[name]), name), self.arguments


def gadgets(marker: Path) -> list[object]:
    """What would leave `marker` behind if any of it were executed."""
    code = f"open({str(marker)!r}, 'w').close()"
    return [
        Call("os.system", f"touch {marker}"),
        Call("os.mkdir", str(marker)),
        Call("builtins.eval", code),
        Call("builtins.exec", code),
        Call("builtins.open", str(marker), "w"),
        Call("builtins.getattr", {}, "clear"),
        Call("subprocess.Popen", ["touch", str(marker)]),
        Call("subprocess.check_output", ["touch", str(marker)]),
        Call("importlib.import_module", "antigravity"),
        Call("torch.load", str(marker)),
        Call("torch.hub.load", str(marker), "x"),
        Call("torch._utils._rebuild_tensor_v2", Call("os.mkdir", str(marker)), 0, (1,), (1,), False, {}),
        Call("torch._utils._rebuild_parameter", Call("os.mkdir", str(marker)), False, {}),
        Call("collections.OrderedDict", [Call("os.mkdir", str(marker))]),
        Call("operator.methodcaller", "system", f"touch {marker}"),
        Call("pickle.loads", pickle.dumps(Call("os.mkdir", str(marker)))),
        Call("shutil.rmtree", str(marker)),
        Call("pathlib.Path", "/"),
    ]


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pickled_text(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def hand_made(about: bytes) -> bytes:
    """A sound .pt file whose "dreamartist" dictionary consists of these pickled keys and values."""
    storage = b"(" + pickled_text("storage") + b"ctorch\nFloatStorage\n" + pickled_text("0") + pickled_text("cpu")
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x08tQK\0(K\1K\x08t(K\x08K\1t\x89NtR"
    parameters = pickled_text("string_to_param") + b"}" + pickled_text("*") + tensor + b"s"
    pickled = b"\x80\2}(" + parameters + pickled_text("dreamartist") + b"}(" + about + b"uu."
    members = {"a/data.pkl": pickled, "a/version": b"3\n", "a/data/0": b"\0" * 32}
    return zipped(members, zipfile.ZIP_DEFLATED)


def torch_file(content: object, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def safetensors_file(header: object, content: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_file(*texts: tuple[bytes, bytes]) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    chunks = b"".join(png_chunk(b"tEXt", key + b"\0" + text) for key, text in texts)
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + pixels + png_chunk(b"IEND", b"")


def in_png(content: object, key: bytes = b"sd-ti-embedding") -> bytes:
    return png_file((key, base64.b64encode(json.dumps(content).encode())))


@lru_cache
def whole_files() -> list[bytes]:
    """One of each format that is read."""
    generator = torch.Generator().manual_seed(0)
    vectors = [{"clip": torch.randn(n, 16, generator=generator)} for n in (2, 3)]
    pair = EmbeddingPair("mycat", vectors[0], vectors[1], 7, {"model": "tiny", "settings": '{"use_negative": true}'})
    tensor = vectors[0]["clip"]
    webui = {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "x", "step": 5}
    numbers = {"TORCHTENSOR": tensor.tolist()}
    return [
        *pair_contents(pair).values(),
        *pair_contents(pair, ".safetensors").values(),
        card_bytes(pair, Image.new("RGB", (8, 8))),
        torch_file(webui),
        torch_file(webui, legacy=True),
        torch_file({"<cat>": tensor[0]}),
        torch_file({**webui, "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(tensor)})}),
        in_png({**webui, "string_to_param": {"*": numbers}}),
        in_png({"clip_l": numbers, "clip_g": numbers}),
    ]


@lru_cache
def hostile_files(marker: Path) -> list[bytes]:
    """Gadgets in every place that is unpickled anywhere, bombs, and headers that claim what is not there."""
    found = []
    for gadget in gadgets(marker):
        for protocol in (0, 2, 4):
            plain = pickle.dumps(gadget, protocol)
            nested = pickle.dumps({"string_to_param": {"*": gadget}}, protocol)
            found += [plain, nested, *(zipped({"a/data.pkl": each, "a/version": b"3\n"}) for each in (plain, nested))]
    inner = zipped({"a/data.pkl": pickle.dumps(gadgets(marker)[0], 2), "a/version": b"3\n"})
    zeros = b"\0" * (65 * 2**20)
    found += [
        zipped({"a/data.pkl": inner, "a/version": b"3\n"}),
        zipped({"a/data.pkl": zeros, "a/version": b"3\n"}, zipfile.ZIP_DEFLATED),
        zipped({f"a/data/{n}": b"" for n in range(2000)} | {"a/data.pkl": b"N."}),
        zipped({"../../x": b"evil", "a/data.pkl": b"N."}),
        zipped({"a/code/x.py": b"evil", "a/constants.pkl": b"N.", "a/data.pkl": b"N."}),
        torch_file({"string_to_param": {"*": torch.zeros(1).expand(75, 10**12)}}),
        torch_file({"string_to_param": {"*": torch.zeros(10_000, 16)}}),
        torch_file({"string_to_param": {"*": torch.full((2, 16), float("nan"))}}),
        torch_file({"string_to_param": {"*": torch.zeros(2, 16, dtype=torch.int64)}}),
        torch_file({"string_to_param": {"*": torch.zeros(2, 16).to_sparse()}}),
        b"\x80\x02" + b"(" * 200_000 + b".",
        b"\x80\x02]" + b"q\0h\0a" * 50_000 + b".",
        b"\x80\x02" + b"]q\0" + b"h\0h\0\x86q\0" * 30_000 + b".",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x02\x8a\xff" + b"\xff" * 255 + b".",
        safetensors_file({"x": {"dtype": "F32", "shape": [75, 10**12], "data_offsets": [0, 300 * 10**12]}}),
        safetensors_file({"x": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}}, b"\0" * 8),
        safetensors_file({"x": {"dtype": "I64", "shape": [1, 4], "data_offsets": [0, 32]}}, b"\0" * 32),
        safetensors_file(b"{}" + b" " * 64, length=2**63),
        safetensors_file(b'{"a":' * 50_000),
        safetensors_file({"__metadata__": {"x": 5}}),
        in_png({"string_to_param": {"*": {"TORCHTENSOR": [[1e999] * 8]}}}),
        in_png({"string_to_param": {"*": {"TORCHTENSOR": [[[[[[0]]], [[[0]]]]]]}}}),
        png_file((b"sd-ti-embedding", b"A" * 100_000)),
        png_file((b"sd-ti-embedding", base64.b64encode(b"[" * 100_000))),
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)),
        png_file() + png_chunk(b"zTXt", b"sd-ti-embedding\0\0" + zlib.compress(zeros[: 2**22])),
        b"",
        b"\0",
    ]
    return found


def damaged(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """A file after one to four accidents; half of them near its beginning or its end, where its structure is."""
    data = bytearray(content[: 2**18])
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(data) + 1)
        if chance.random() < 0.5:
            place = min(place, 400) if chance.random() < 0.5 else max(place, len(data) - 400)
        kind = chance.choices(range(9), (1, 6, 4, 2, 2, 3, 2, 4, 6))[0]
        if kind == 0:
            del data[place:]
        elif kind == 1 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            size = chance.choice((1, 2, 4, 8))
            number = chance.choice(EXTREMES) % 2 ** (8 * size)
            data[place : place + size] = number.to_bytes(size, chance.choice(("little", "big")))
        elif kind == 3:
            data[place:place] = chance.randbytes(chance.randint(1, 40))
        elif kind == 4:
            del data[place : place + chance.randint(1, 200)]
        elif kind == 5:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            data[place:place] = other[start : start + chance.randint(1, 2000)]
        elif kind == 6:
            data[place:place] = data[place : place + chance.randint(1, 300)] * chance.randint(1, 20)
        elif kind == 7:
            data = bytearray(_digits_changed(bytes(data), chance))
        else:
            data = bytearray(_chunks_repaired(bytes(data)))
    return bytes(data)


def _digits_changed(data: bytes, chance: random.Random) -> bytes:
    """A number in text (shapes, offsets, steps) becomes another of any size, here and there."""
    digits = [i for i, byte in enumerate(data[:4000]) if 48 <= byte <= 57]
    if not digits:
        return data
    place = chance.choice(digits)
    return data[:place] + str(chance.choice(EXTREMES)).encode() + data[place + 1 :]


def _chunks_repaired(data: bytes) -> bytes:
    """Right check sums for a PNG's chunks, so that the damage is not found by them."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    fixed, place = bytearray(data), 8
    while place + 12 <= len(fixed):
        end = place + 8 + int.from_bytes(fixed[place : place + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def mutants(count: int, seed: int, marker: Path) -> Iterator[tuple[str, bytes]]:
    """(ending, content): damage to hostile and whole files, under the ending that it has, or another."""
    chance = random.Random(seed)
    whole, hostile = whole_files(), hostile_files(marker)
    for _ in range(count):
        source = chance.choice(hostile if chance.random() < 0.4 else whole)
        ending = chance.choice(ENDINGS) if chance.random() < 0.1 else own_ending(source)
        yield ending, damaged(source, whole + hostile, chance)


def own_ending(content: bytes) -> str:
    if content.startswith(b"\x89PNG"):
        return ".png"
    return ".safetensors" if content[8:9] == b"{" else ".pt"
