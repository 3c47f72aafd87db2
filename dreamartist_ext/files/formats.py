"""Embedding files of every maker, read into one form: the WebUI's, the original DreamArtist's, kohya's, diffusers',
OneTrainer's, HCP-Diffusion's and ours. Nothing in a file is executed."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..engine.embedding import check_shapes, check_vectors
from ..engine.errors import FileError
from ..engine.family import SDXL_KEYS, family_of, widths_of
from ..engine.host import Vectors
from ..engine.names import MAX_VECTORS
from .bounded import read_at_most
from .png_text import PNG_SIGNATURE
from .torch_files import read_torch

EMBEDDING_SUFFIXES = (".pt", ".safetensors", ".bin")
MAX_EMBEDDING_BYTES = 64 * 2**20  # of numbers, and of a whole card
MAX_FILE_BYTES = 2**29  # SDXL's two vocabularies, as diffusers saves a view of them, have 405 MB
_MOST_HEADER_BYTES = 100_000_000  # of a .safetensors file: the library's own limit
_MOST_TEXT = 100_000  # characters of one entry of what a file says about itself
_MOST_ENTRIES = 1000
_MOST_ABOUT = 500_000  # bytes of all entries as JSON, so that a header with all of them can be read again
_NOT_ABOUT = ("name", "step")  # of the header of a .safetensors file: the embedding's own, beside what is said about it
_FLOATS = frozenset(
    getattr(torch, name)
    for name in "float16 bfloat16 float32 float64 float8_e4m3fn float8_e5m2".split()
    if hasattr(torch, name)
)
_PIVOTAL_KEYS = ("text_encoders_0", "text_encoders_1")  # of diffusers' pivotal tuning
_OUTPUT_SUFFIX = "_out"  # OneTrainer: vectors that are added to what a text encoder makes
_NO_WORDS = frozenset(["emb_params", "emp_params", *_PIVOTAL_KEYS, *SDXL_KEYS])  # keys that programs give to any tensor
_MOST_TENSORS = 16
_BEGINNING = 16  # bytes by which a file's format is told
LEFT_OUT = "left out"  # of what is said about an embedding: what its file holds and nobody here can use


@dataclass(frozen=True)
class Embedding:
    """One embedding file: fp32 vectors by text encoder, and what the file says about itself."""

    name: str
    vectors: Vectors
    step: int | None = None
    provenance: dict[str, str] = field(default_factory=dict)


def shown(name: str) -> str:
    """A file's name as it can stand in a sentence: printable, and not too long."""
    return "".join(c if c.isprintable() else "?" for c in name[:80]) + ("..." if len(name) > 80 else "")


def load_embedding(path: Path) -> Embedding:
    """Read one embedding without executing anything in it; raises FileError in one sentence."""
    where = shown(path.name)
    if path.suffix.lower() not in EMBEDDING_SUFFIXES:
        raise FileError(f"{where} is not an embedding; those end in {', '.join(EMBEDDING_SUFFIXES)}.")
    with _opened(path) as file:
        kind = kind_of(file.read(_BEGINNING))
        file.seek(0)
        is_safetensors = path.suffix.lower() == ".safetensors"
        if kind == "png" or (kind != "other" and is_safetensors != (kind == "safetensors")):
            true = {"png": ".png", "safetensors": ".safetensors", "torch": ".pt"}[kind]
            raise FileError(f"{where} is in truth a {true} file; give it that ending.")
        if is_safetensors:
            return _read_safetensors(path, file)
        return embedding_in(read_torch(file, where, MAX_EMBEDDING_BYTES), where, path.stem)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file that is not read as a whole; raises FileError."""
    where = shown(path.name)
    check_is_file(path)
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            if not 0 < length <= MAX_FILE_BYTES:
                raise FileError(f"{where} has {_size_in_words(length, MAX_FILE_BYTES)}, which no embedding has.")
            file.seek(0)
            yield file
    except OSError as error:
        raise FileError(f"{where} could not be read: {error.strerror or error}.") from error


def check_is_file(path: Path) -> None:
    """Raises FileError for what is not there, or is a folder, a pipe or a link that leads nowhere."""
    where = shown(path.name)
    try:
        if path.is_file():
            return
        is_there = path.exists()
    except (OSError, ValueError) as error:
        raise FileError(f"{where} could not be read: {getattr(error, 'strerror', None) or error}.") from error
    reason = "is not a file" if is_there else "could not be read: No such file or directory"
    raise FileError(f"{where} {reason}.")


def read_limited(path: Path) -> bytes:
    """The content of a file that may be a card; raises FileError."""
    where = shown(path.name)
    check_is_file(path)
    try:
        content = read_at_most(path, MAX_EMBEDDING_BYTES)
    except OSError as error:
        raise FileError(f"{where} could not be read: {error.strerror or error}.") from error
    if not content:
        size = _size_in_words(0 if content == b"" else MAX_EMBEDDING_BYTES + 1, MAX_EMBEDDING_BYTES)
        raise FileError(f"{where} has {size}, which no embedding has.")
    return content


def _size_in_words(length: int, most: int) -> str:
    return f"more than {most // 2**20} MiB" if length > most else "no bytes"


def kind_of(content: bytes) -> str:
    """ "png", "torch", "safetensors" or "other", by how the file begins."""
    if content.startswith(PNG_SIGNATURE):
        return "png"
    if content.startswith((b"PK\3\4", b"\x80")) and content[8:9] != b"{":
        return "torch"
    return "safetensors" if content[8:9] == b"{" else "other"


def embedding_in(content: Any, where: str, stem: str) -> Embedding:
    """The one embedding in what a file holds: dictionaries of tensors, in the shapes that programs write.

    `string_to_param` (CompVis, the WebUI, DreamArtist, HCP), `clip_l` and `clip_g` (SDXL), or a dictionary of one
    tensor by its word (diffusers) or by "emb_params" (kohya). Raises FileError.
    """
    if isinstance(content, Tensor):
        content = {stem: content}
    if not isinstance(content, dict):
        raise FileError(f"{where} is not a textual-inversion embedding.")
    parameters = content.get("string_to_param", content)
    tensors = {k: v for k, v in parameters.items() if _may_be_vectors(k, v)} if isinstance(parameters, dict) else {}
    name, step, about = content.get("name"), _whole(content.get("step")), content.get("dreamartist")
    vectors, left_out = _vectors_in(tensors, where)
    only = next(iter(tensors))
    if "clip" in vectors and parameters is content and only not in _NO_WORDS and not isinstance(name, str):
        name = str(only)
    said = {"model": content.get("sd_checkpoint_name"), **(about if isinstance(about, dict) else {})}
    return Embedding(
        name=clean_text(name if isinstance(name, str) and name else stem),
        vectors=floats(vectors, where),
        step=step if step is not None and 0 <= step < 10**9 else None,
        provenance=plain_text(said | ({LEFT_OUT: left_out} if left_out else {})),
    )


def _may_be_vectors(key: Any, value: Any) -> bool:
    """Of a file without a place of its own for vectors: any tensor but a step's."""
    return isinstance(value, Tensor) and not (key == "step" and value.numel() == 1)


def _whole(number: Any) -> int | None:
    """A whole number, also one that a program has left in a tensor or as a fraction."""
    if isinstance(number, Tensor) and number.numel() == 1:
        number = number.item()
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if type(number) is int else None


def _vectors_in(tensors: Mapping[Any, Tensor], where: str) -> tuple[Vectors, str]:
    """The vectors by text encoder, and what was left out, in words; raises FileError."""
    rows = {str(key): _rows(tensor) for key, tensor in tensors.items()}
    outputs = [key for key in rows if key.endswith(_OUTPUT_SUFFIX) and key.removesuffix(_OUTPUT_SUFFIX) in rows]
    inputs = {key: tensor for key, tensor in rows.items() if key not in outputs}
    left_out = f"output vectors ({', '.join(sorted(outputs))})" if outputs else ""
    if set(inputs) >= set(SDXL_KEYS):
        others = sorted(set(inputs) - set(SDXL_KEYS))
        more = f"vectors of other text encoders ({', '.join(others)})" if others else ""
        return {key: inputs[key] for key in SDXL_KEYS}, clean_text(", ".join(filter(None, (left_out, more))))
    if set(inputs) == set(_PIVOTAL_KEYS):
        pivotal = {ours: inputs[key] for ours, key in zip(SDXL_KEYS, _PIVOTAL_KEYS, strict=True)}
        if family_of(widths_of(pivotal)) == "SDXL":
            return pivotal, left_out
    if len(inputs) == 1:
        return {"clip": next(iter(inputs.values()))}, left_out
    found = f"{len(inputs)} tensors of unknown meaning" if inputs else "no tensor"
    raise FileError(f"{where} is not a textual-inversion embedding: it holds {found}.")


def _rows(tensor: Tensor) -> Tensor:
    """One vector as one row; without dimensions of 1 before the rows."""
    if tensor.dim() == 1 and len(tensor) > MAX_VECTORS:
        return tensor[None]
    while tensor.dim() > 2 and tensor.shape[0] == 1:
        tensor = tensor[0]
    return tensor


def plain_text(about: Mapping[Any, Any]) -> dict[str, str]:
    """What a file says about itself, as far as it is text by text, and up to a length that no program writes.

    What makes it a half of a pair is kept before anything else.
    """
    found: dict[str, str] = {}
    left = _MOST_ABOUT
    identity = {key: about[key] for key in ("pair", "half") if key in about}
    for key, value in {**identity, **about}.items():
        if isinstance(key, str) and isinstance(value, str) and key not in _NOT_ABOUT and len(key) <= _MOST_TEXT:
            entry = {clean_text(key): clean_text(value)}
            left -= len(json.dumps(entry))
            if left < 0 or len(found) == _MOST_ENTRIES:
                break
            found |= entry
    return found


def clean_text(text: str) -> str:
    """A stranger's text that can be written as UTF-8, cut to a length that no program writes."""
    return text[:_MOST_TEXT].encode("utf-8", "replace").decode()


def _read_safetensors(path: Path, file: BinaryIO) -> Embedding:
    where = shown(path.name)
    length, size = int.from_bytes(file.read(8), "little"), file.seek(0, 2)
    if not 2 <= length <= min(_MOST_HEADER_BYTES, size - 8):
        raise FileError(f"{where} is damaged, or is not a .safetensors file.")
    if size - 8 - length > MAX_EMBEDDING_BYTES:
        raise FileError(f"{where} holds more numbers than any embedding.")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
            names = list(opened.keys())
            if len(names) > _MOST_TENSORS:
                raise FileError(f"{where} is not a textual-inversion embedding: it holds {len(names)} tensors.")
            tensors = {key: opened.get_tensor(key) for key in names}
    except (SafetensorError, ValueError, RuntimeError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise FileError(f"{where} is damaged, or is not a .safetensors file.") from error
    except OSError as error:
        raise FileError(f"{where} could not be read: {error.strerror or error}.") from error
    name, step = metadata.pop("name", ""), metadata.pop("step", "")
    about = {"step": int(step) if re.fullmatch("[0-9]{1,9}", step) else None, "dreamartist": metadata}
    return embedding_in({**({"name": name} if name else {}), **about, **tensors}, where, path.stem)


def embedding_in_json(text: bytes, where: str, stem: str) -> Embedding:
    """An embedding as the WebUI writes it into pictures: JSON with {"TORCHTENSOR": nested lists} for a tensor. Its
    word is the name in it, or else the file's."""
    try:
        content = json.loads(decoded_json(text), object_hook=_tensor_hook)
    except (ValueError, RecursionError, TypeError, RuntimeError, OverflowError) as error:
        raise FileError(f"{where} is damaged: what it holds is not JSON of an embedding.") from error
    if isinstance(content, dict) and not isinstance(content.get("name"), str):
        content = {**content, "name": stem}
    return embedding_in(content, where, stem)


def decoded_json(content: bytes) -> str:
    """JSON as text: UTF-8, also with a mark, or UTF-16 with one; raises ValueError. Python's own reader would import a
    module for some of the encodings that it tells by the bytes."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.removeprefix(codecs.BOM_UTF8).decode()


def _tensor_hook(content: dict[str, Any]) -> Any:
    if "TORCHTENSOR" not in content:
        return content
    return torch.tensor(content["TORCHTENSOR"], dtype=torch.float64)


def floats(vectors: Vectors, where: str) -> Vectors:
    """fp32 copies of vectors that are sound; raises FileError for others."""
    if any(v.dtype not in _FLOATS for v in vectors.values()):
        raise FileError(f"{where} holds numbers of a kind that no embedding has.")
    check_shapes(vectors, where)  # before it is made larger than it is
    return check_vectors({key: v.detach().float() for key, v in vectors.items()}, where)  # too large for fp32 is inf
