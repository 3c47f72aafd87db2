"""Embedding files of every maker, read into one form: the WebUI's, the original DreamArtist's, kohya's, diffusers',
HCP-Diffusion's and ours. Nothing in a file is executed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..engine.embedding import check_vectors
from ..engine.errors import FileError
from ..engine.family import SDXL_KEYS
from ..engine.host import Vectors
from ..engine.names import MAX_VECTORS
from .png_text import PNG_SIGNATURE
from .torch_files import read_torch

EMBEDDING_SUFFIXES = (".pt", ".safetensors", ".bin")
MAX_EMBEDDING_BYTES = 64 * 2**20
_MOST_HEADER_BYTES = 2**20  # of a .safetensors file
_MOST_TEXT = 100_000  # characters of one entry of what a file says about itself
_MOST_ENTRIES = 1000
_MOST_ABOUT = 500_000  # bytes of all entries as JSON, so that a header with all of them can be read again
_NOT_ABOUT = ("name", "step")  # of the header of a .safetensors file: the embedding's own, beside what is said about it
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


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
    content = read_limited(path)
    kind = kind_of(content)
    is_safetensors = path.suffix.lower() == ".safetensors"
    if kind == "png" or (kind != "other" and is_safetensors != (kind == "safetensors")):
        true = {"png": ".png", "safetensors": ".safetensors", "torch": ".pt"}[kind]
        raise FileError(f"{where} is in truth a {true} file; give it that ending.")
    if is_safetensors:
        return _read_safetensors(path, content)
    return embedding_in(read_torch(content, where, MAX_EMBEDDING_BYTES), where, path.stem)


def read_limited(path: Path) -> bytes:
    """The content of a file that may be an embedding; raises FileError."""
    where = shown(path.name)
    try:
        if not path.is_file():
            if path.exists():
                raise FileError(f"{where} is not a file.")
            raise FileNotFoundError(2, "No such file or directory")  # also for what a link of links leads to
        with path.open("rb") as file:
            content = file.read(MAX_EMBEDDING_BYTES + 1)
    except OSError as error:
        raise FileError(f"{where} could not be read: {error.strerror or error}.") from error
    if not 0 < len(content) <= MAX_EMBEDDING_BYTES:
        size = f"more than {MAX_EMBEDDING_BYTES}" if content else "no"
        raise FileError(f"{where} has {size} bytes, which no embedding has.")
    return content


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
    tensors = {k: v for k, v in parameters.items() if isinstance(v, Tensor)} if isinstance(parameters, dict) else {}
    name, step, about = content.get("name"), content.get("step"), content.get("dreamartist")
    if set(tensors) >= set(SDXL_KEYS):
        vectors = {key: tensors[key] for key in SDXL_KEYS}
    elif len(tensors) == 1:
        ((key, tensor),) = tensors.items()
        vectors = {"clip": tensor[None] if tensor.dim() == 1 and len(tensor) > MAX_VECTORS else tensor}
        if parameters is content and key != "emb_params" and not isinstance(name, str):
            name = str(key)
    else:
        found = f"{len(tensors)} tensors of unknown meaning" if tensors else "no tensor"
        raise FileError(f"{where} is not a textual-inversion embedding: it holds {found}.")
    model = {"model": content.get("sd_checkpoint_name")}
    return Embedding(
        name=clean_text(name if isinstance(name, str) and name else stem),
        vectors=floats(vectors, where),
        step=step if type(step) is int and 0 <= step < 10**9 else None,
        provenance=plain_text({**model, **about} if isinstance(about, dict) else model),
    )


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


def _read_safetensors(path: Path, content: bytes) -> Embedding:
    where = shown(path.name)
    if int.from_bytes(content[:8], "little") > _MOST_HEADER_BYTES:
        raise FileError(f"{where} is damaged, or is not a .safetensors file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            names = list(file.keys())
            if len(names) > len(SDXL_KEYS):
                raise FileError(f"{where} is not a textual-inversion embedding: it holds {len(names)} tensors.")
            tensors = {key: file.get_tensor(key) for key in names}
    except (SafetensorError, ValueError, RuntimeError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise FileError(f"{where} is damaged, or is not a .safetensors file.") from error
    except OSError as error:
        raise FileError(f"{where} could not be read: {error.strerror or error}.") from error
    name, step = metadata.pop("name", ""), metadata.pop("step", "")
    about = {"step": int(step) if re.fullmatch("[0-9]{1,9}", step) else None, "dreamartist": metadata}
    return embedding_in({**({"name": name} if name else {}), **about, **tensors}, where, path.stem)


def embedding_in_json(text: str, where: str, stem: str) -> Embedding:
    """An embedding as the WebUI writes it into pictures: JSON with {"TORCHTENSOR": nested lists} for a tensor."""
    try:
        content = json.loads(text, object_hook=_tensor_hook)
    except (ValueError, RecursionError, TypeError, RuntimeError, OverflowError) as error:
        raise FileError(f"{where} is damaged: what it holds is not JSON of an embedding.") from error
    return embedding_in(content, where, stem)


def _tensor_hook(content: dict[str, Any]) -> Any:
    if "TORCHTENSOR" not in content:
        return content
    return torch.tensor(content["TORCHTENSOR"], dtype=torch.float64)


def floats(vectors: Vectors, where: str) -> Vectors:
    """fp32 copies of vectors that are sound; raises FileError for others."""
    if any(v.dtype not in _FLOATS for v in vectors.values()):
        raise FileError(f"{where} holds numbers of a kind that no embedding has.")
    check_vectors(vectors, where)  # before any arithmetic: a tiny file can claim a tensor of terabytes
    return check_vectors({key: v.detach().float() for key, v in vectors.items()}, where)  # too large for fp32 is inf
