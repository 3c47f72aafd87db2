"""Embedding files of every shape that programs write, made one after the other: what each is called, its ending, its
bytes, and the vectors that are in it."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from . import pixel_cards
from .hostile_files import png_chunk, torch_file
from .pixel_cards import pixel_card

WIDTH = 768


@dataclass(frozen=True)
class Made:
    """A file that is to be read. `theirs` is whether AUTOMATIC1111 v1.10.1 reads it too."""

    name: str
    ending: str
    content: bytes
    vectors: dict[str, Tensor]
    theirs: bool = True


def vectors(count: int = 2, width: int = WIDTH) -> Tensor:
    """Numbers that every kind of number here holds exactly."""
    return (torch.arange(count * width) % 64 - 32).reshape(count, width).float() / 64


class Moved:
    """A tensor of MPS or DirectML, as `Tensor.__reduce_ex__` of torch 1.12 and later writes it."""

    def __init__(self, data: Any, dtype: torch.dtype, device: str, rebuild: str = "from_numpy") -> None:
        self.data, self.dtype, self.device, self.rebuild = data, dtype, device, rebuild

    def __reduce__(self) -> tuple:
        function = getattr(torch._utils, f"_rebuild_device_tensor_{self.rebuild}")
        return function, (self.data, self.dtype, self.device, False)


def archive(content: object, protocol: int = 2) -> bytes:
    """As torch.save writes what holds no storage of torch's; numpy's module under its old name."""
    pickled = pickle.dumps(content, protocol)
    if protocol < 4:  # which says how long a name is
        pickled = pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for name, member in {"data.pkl": pickled, "version": b"3\n"}.items():
            new.writestr(f"archive/{name}", member)
    return buffer.getvalue()


def webui(tensor: object, **more: object) -> dict[str, object]:
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "inside", "step": 7, **more}


def _laid_out() -> Iterator[tuple[str, Tensor]]:
    wanted = vectors()
    yield "rows", wanted
    yield "columns", wanted.t().contiguous().t()
    yield "a view of more", torch.cat([vectors(9), wanted, vectors(3)])[9:11]
    yield "every second", torch.stack([wanted, vectors()], 1)[:, 0]
    yield "one row for all", vectors(1).expand(2, WIDTH)
    yield "a leading dimension", wanted[None]
    yield "two leading dimensions", wanted[None, None]
    yield "six leading dimensions", wanted[None, None, None, None, None, None]


def saved(content: object, legacy: bool = False) -> bytes:
    """As torch 2.1 writes it: without the members that newer torch adds and the WebUI refuses, and with numpy's modules
    under the names that they had before numpy 2."""
    new = torch_file(content, legacy)
    if legacy:
        return new
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(new)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as kept:
        for name in old.namelist():
            if name.split("/", 1)[1] in ("data.pkl", "version") or "/data/" in name:
                member = old.read(name)
                kept.writestr(name, member.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    return buffer.getvalue()


def torch_files() -> Iterator[Made]:
    """Every layout, kind of number and container of torch's own."""
    for name, tensor in _laid_out():
        wanted = tensor.reshape(-1, WIDTH).clone()
        for legacy in (False, True):
            how = f"{name}{', before 1.6' if legacy else ''}"
            yield Made(how, ".pt", saved(webui(tensor), legacy), {"clip": wanted}, tensor.dim() == 2)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        yield Made(str(dtype), ".pt", saved(webui(vectors().to(dtype))), {"clip": vectors()})
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):  # whose names torch 2.1 does not read
        few = (vectors() * 64).to(dtype)
        yield Made(str(dtype), ".pt", saved(webui(few)), {"clip": few.float()}, False)
        yield Made(f"{dtype}, before 1.6", ".pt", saved(webui(few[1:]), True), {"clip": few[1:].float()}, False)
    parameter = torch.nn.Parameter(vectors())
    yield Made("a parameter", ".pt", saved(webui(parameter)), {"clip": vectors()})
    held = torch.nn.ParameterDict({"*": parameter})
    yield Made("parameters", ".pt", saved({**webui(0), "string_to_param": held}), {"clip": vectors()})
    yield Made("one word", ".bin", saved({"<cat>": vectors()}), {"clip": vectors()})
    yield Made("one vector", ".bin", saved({"<cat>": vectors(1)[0]}), {"clip": vectors(1)})
    numbers = {"loss": np.float64(0.1), "steps": np.int64(5), "rate": np.float32(0.5), "is_done": np.bool_(True)}
    many = {f"step {i}": np.arange(i) for i in range(1, 4)}
    yield Made("numpy's arrays", ".pt", saved(webui(vectors(), **many)), {"clip": vectors()})
    others = {"model": np.str_("sd"), "when": np.datetime64("2023-01-01"), "c": np.complex64(1j), "l": np.longdouble(1)}
    yield Made("numpy's other kinds", ".pt", saved(webui(vectors(), **others)), {"clip": vectors()})
    yield Made("numpy's numbers", ".pt", saved(webui(vectors(), **numbers)), {"clip": vectors()})


def moved_files() -> Iterator[Made]:
    """What was saved from a device that torch writes as numpy arrays."""
    for device in ("cpu", "mps:0", "privateuseone:0"):
        for kind in ("<f4", "<f2", "<f8"):
            for order in "CF":
                array = np.array(vectors().numpy(), dtype=kind, order=order)
                tensor = Moved(array, torch.float32, device)
                name = f"{device} {kind} {order}"
                yield Made(name, ".pt", archive(webui(tensor)), {"clip": vectors()}, device == "cpu")
    tensor = Moved(vectors().numpy(), torch.float32, "mps:0")
    for protocol in (2, 3, 4):
        yield Made(f"protocol {protocol}", ".pt", archive(webui(tensor), protocol), {"clip": vectors()}, False)
    yield Made("ordered", ".pt", archive(OrderedDict(webui(tensor))), {"clip": vectors()}, False)
    on_cpu = Moved(vectors().numpy(), torch.float32, "cpu")
    yield Made("from a device to the CPU", ".pt", archive(webui(on_cpu)), {"clip": vectors()})


def safetensors_files() -> Iterator[Made]:
    """By the keys that programs give to their tensors."""
    one, two = vectors(), vectors(2, 1280)
    xl = {"clip_l": one, "clip_g": two}
    plain = {"clip": one}
    yield Made("kohya", ".safetensors", save({"emb_params": one}), plain)
    yield Made("one trainer", ".safetensors", save({"emp_params": one}), plain)
    yield Made(
        "one trainer, out", ".safetensors", save({"emp_params": one, "emp_params_out": one.clone()}), plain, False
    )
    yield Made("a word", ".safetensors", save({"<cat>": one}), plain)
    yield Made("half", ".safetensors", save({"emb_params": one.half()}), plain)
    yield Made("leading", ".safetensors", save({"emb_params": one[None]}), plain, False)
    yield Made("one vector", ".safetensors", save({"x": vectors(1)[0]}), {"clip": vectors(1)})
    yield Made("sdxl", ".safetensors", save(xl), xl)
    yield Made("sdxl, out", ".safetensors", save({**xl, "clip_l_out": one.clone(), "clip_g_out": two.clone()}), xl)
    pivotal = {"text_encoders_0": one, "text_encoders_1": two}
    yield Made("pivotal", ".safetensors", save(pivotal), xl, False)
    tags = {"ss_tag_frequency": json.dumps({f"tag {i}": i for i in range(150_000)})}
    yield Made("many tags", ".safetensors", save({"emb_params": one}, tags), plain)


def in_text(tensor: Tensor, name: str = "inside") -> bytes:
    return base64.b64encode(json.dumps(_in_json(tensor, name)).encode())


def cards() -> Iterator[Made]:
    """One text, in every way in which a PNG file can hold it."""
    text = in_text(vectors())
    key = b"sd-ti-embedding\0"
    packed = zlib.compress(text)
    ways = {
        "tEXt": (b"tEXt", key + text),
        "zTXt": (b"zTXt", key + b"\0" + packed),
        "iTXt": (b"iTXt", key + b"\0\0\0\0" + text),
        "iTXt, packed": (b"iTXt", key + b"\1\0en\0sd\0" + packed),
        "in lines": (b"tEXt", key + b"\n".join(text[i : i + 76] for i in range(0, len(text), 76))),
    }
    old = png_chunk(b"tEXt", key + in_text(vectors() * 0, "before"))
    for name, (kind, content) in ways.items():
        chunk = png_chunk(kind, content)
        for place, chunks in {"": (chunk, b""), ", behind": (b"", chunk), ", twice": (old, chunk)}.items():
            yield Made(name + place, ".png", png(*chunks), {"clip": vectors()})
    coded = {"utf-8-sig": "with a mark", "utf-16": "in UTF-16"}
    for code, name in coded.items():
        written = base64.b64encode(base64.b64decode(text).decode().encode(code))
        yield Made(name, ".png", png(png_chunk(b"tEXt", key + written)), {"clip": vectors()})
    flat = base64.b64encode(json.dumps({"a word": {"TORCHTENSOR": vectors().tolist()}}).encode())
    yield Made("a word in it", ".png", png(png_chunk(b"tEXt", key + flat)), {"clip": vectors()})
    no_sum = png_chunk(b"tEXt", key + text)[:-4] + b"\0\0\0\0"
    yield Made("behind, without its sum", ".png", png(b"", no_sum), {"clip": vectors()})
    yield Made("another ending", ".webp", png(png_chunk(b"tEXt", key + text)), {"clip": vectors()})


def pictures() -> Iterator[Made]:
    """The vectors in the pixels alone: lossless, of any format that is opened by what is in it."""
    card = pixel_card(_in_json(vectors()))
    ways = {
        "pixels": (card, "PNG", {}),
        "pixels, packed well": (card, "PNG", {"optimize": True}),
        "pixels with an alpha": (card.convert("RGBA"), "PNG", {}),
        "pixels in a frame": (pixel_card(_in_json(vectors()), pad=7), "PNG", {}),
        "pixels around nothing": (pixel_card(_in_json(vectors()), np.zeros((96, 1, 3), np.uint8)), "PNG", {}),
        "pixels of a bitmap": (card, "BMP", {}),
        "pixels of a TIFF": (card, "TIFF", {}),
    }
    for name, (picture, form, how) in ways.items():
        yield Made(name, ".png", pixel_cards.saved(picture, form, **how), {"clip": vectors()})
    webp = pixel_cards.saved(card, "WEBP", lossless=True, exact=True)
    yield Made("pixels", ".webp", webp, {"clip": vectors()})
    yield Made("WebP's pixels", ".png", webp, {"clip": vectors()})
    xl = {"clip_l": vectors(), "clip_g": vectors(2, 1280)}
    content = {key: {"TORCHTENSOR": half.tolist()} for key, half in xl.items()}
    yield Made("sdxl's pixels", ".png", pixel_cards.saved(pixel_card(content)), xl)


def _in_json(tensor: Tensor, name: str = "inside") -> dict[str, object]:
    return webui({"TORCHTENSOR": tensor.tolist()}) | {"name": name}


def png(before: bytes = b"", behind: bytes = b"") -> bytes:
    """One black pixel, with chunks before and behind it."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + head + before + pixels + behind + png_chunk(b"IEND", b"")


def everything() -> list[Made]:
    return [*torch_files(), *moved_files(), *safetensors_files(), *cards(), *pictures()]
