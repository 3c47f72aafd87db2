"""Safe reading and atomic writing of embeddings (.pt, .safetensors) and training snapshots."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as safetensors_of
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from .atomic import write_atomically, write_together
from .embedding import EmbeddingPair, check_vectors, negative_name, pair_id
from .errors import FileError
from .host import Vectors
from .snapshot import Check, Snapshot

EMBEDDING_SUFFIXES = (".pt", ".safetensors")
MAX_EMBEDDING_BYTES = 64 * 2**20
SNAPSHOT_FORMAT = "dreamartist-snapshot-1"
_SINGLE_KEY = "emb_params"  # the name that kohya and others use for the one tensor of a .safetensors embedding
# Newer torch adds members to its zip files which the allow-list unpicklers of some WebUI builds refuse.
_KEPT_MEMBERS = ("data.pkl", "version")
# What torch.save writes, and nothing else: no TorchScript, no older kinds of file, where `weights_only` had holes.
_KNOWN_MEMBER = re.compile(
    r"[^/]+/(data\.pkl|version|byteorder|data/\d+|\.data/serialization_id|\.format_version|\.storage_alignment)"
)


@dataclass(frozen=True)
class Embedding:
    """One embedding file: fp32 vectors by text encoder, and what the file says about itself."""

    name: str
    vectors: Vectors
    step: int | None = None
    provenance: dict[str, str] = field(default_factory=dict)


def pt_bytes(name: str, vectors: Vectors, step: int, provenance: Mapping[str, str]) -> bytes:
    """The WebUI's own textual-inversion format, for models with one text encoder."""
    if len(vectors) != 1:
        raise FileError("a .pt embedding holds one text encoder's vectors; SDXL embeddings are .safetensors.")
    content = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": _plain(next(iter(vectors.values())))},
        "name": name,
        "step": step,
        "sd_checkpoint": None,
        "sd_checkpoint_name": provenance.get("model"),
        "dreamartist": dict(provenance),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return _only_known_members(buffer)


def _only_known_members(source: io.BytesIO) -> bytes:
    """The same archive with the members that every reader knows, and no date in it."""
    target = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for member in old.namelist():
            inner = member.partition("/")[2]
            if inner in _KEPT_MEMBERS or (inner.startswith("data/") and inner[5:].isdigit()):
                new.writestr(zipfile.ZipInfo(f"embedding/{inner}", (1980, 1, 1, 0, 0, 0)), old.read(member))
    return target.getvalue()


def _plain(vectors: Tensor) -> Tensor:
    return vectors.detach().float().cpu().contiguous().clone()


def embedding_safetensors_bytes(name: str, vectors: Vectors, step: int, provenance: Mapping[str, str]) -> bytes:
    """One tensor, or clip_l and clip_g for SDXL; everything else is text in the header."""
    tensors = {key if len(vectors) > 1 else _SINGLE_KEY: _plain(v) for key, v in vectors.items()}
    return _same_bytes_every_time(safetensors_bytes(tensors, {"name": name, "step": str(step), **provenance}))


def _same_bytes_every_time(content: bytes) -> bytes:
    """The library writes its header in an order that changes from run to run; this sorts it."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # as the library aligns it
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


_WRITERS: dict[str, Callable[[str, Vectors, int, Mapping[str, str]], bytes]] = {
    ".pt": pt_bytes,
    ".safetensors": embedding_safetensors_bytes,
}


def save_pair(
    pair: EmbeddingPair, folder: Path, suffix: str = "", stem: str = "", replacing: Sequence[str] = ()
) -> list[Path]:
    """Write the halves that there are as STEM.SUFFIX and STEM-neg.SUFFIX.

    STEM is the pair's name by default; SUFFIX .pt, or .safetensors for the two text encoders of SDXL.
    Both say in their provenance which "half" they are, and of which "pair". `replacing` names files of the folder that
    go in the same moment. After a kill at any time, and `atomic.finish_interrupted`, the folder holds the old pair or
    the new one, never a half of each.
    """
    stem, suffix = stem or pair.name, suffix or (".pt" if len(pair.positive) == 1 else ".safetensors")
    halves = {stem: (pair.name, "positive", pair.positive)}
    if pair.negative is not None:
        halves[negative_name(stem)] = (negative_name(pair.name), "negative", pair.negative)
    for word, _, vectors in halves.values():
        check_vectors(vectors, f"the embedding {word}")
    about = {**pair.provenance, "pair": pair_id(pair)}
    contents = {
        f"{file}{suffix}": _WRITERS[suffix](word, vectors, pair.step, {**about, "half": half})
        for file, (word, half, vectors) in halves.items()
    }
    write_together(folder, stem, contents, [name for name in replacing if name not in contents])
    return [folder / name for name in contents]


def load_embedding(path: Path) -> Embedding:
    """Read one embedding without executing anything in it; raises FileError in one sentence."""
    if path.suffix not in EMBEDDING_SUFFIXES:
        raise FileError(f"{path.name} is not an embedding; those end in {' or '.join(EMBEDDING_SUFFIXES)}.")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise FileError(f"{path.name} is not a file.")
        if not 0 < size <= MAX_EMBEDDING_BYTES:
            raise FileError(f"{path.name} has {size} bytes, which no embedding has.")
        return _read_pt(path) if path.suffix == ".pt" else _read_safetensors(path)
    except OSError as error:
        raise FileError(f"{path.name} could not be read: {error.strerror or error}.") from error


def _read_pt(path: Path) -> Embedding:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_EMBEDDING_BYTES:
                raise FileError(f"{path.name} unpacks to more than any embedding holds.")
            if not all(_KNOWN_MEMBER.fullmatch(name) for name in archive.namelist()):
                raise FileError(f"{path.name} holds something other than plain tensors.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path.name} is damaged, or holds something other than plain tensors.") from error
    except (zipfile.BadZipFile, IndexError, AssertionError, OverflowError, MemoryError, struct.error) as error:
        raise FileError(f"{path.name} is damaged.") from error
    parameters = content.get("string_to_param") if isinstance(content, dict) else None
    tensors = [v for v in parameters.values() if isinstance(v, Tensor)] if isinstance(parameters, dict) else []
    if len(tensors) != 1:
        raise FileError(f"{path.name} is not a textual-inversion embedding.")
    step, about = content.get("step"), content.get("dreamartist")
    return Embedding(
        name=content["name"] if isinstance(content.get("name"), str) else path.stem,
        vectors=_floats({"clip": tensors[0]}, path.name),
        step=step if isinstance(step, int) else None,
        provenance={str(k): str(v) for k, v in about.items()} if isinstance(about, dict) else {},
    )


def _read_safetensors(path: Path) -> Embedding:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise FileError(f"{path.name} is damaged, or is not a .safetensors file.") from error
    if set(tensors) == {"clip_l", "clip_g"}:
        vectors = tensors
    elif len(tensors) == 1:
        vectors = {"clip": next(iter(tensors.values()))}
    else:
        raise FileError(f"{path.name} is not a textual-inversion embedding.")
    name, step = metadata.pop("name", path.stem), metadata.pop("step", "")
    steps = int(step) if re.fullmatch("[0-9]{1,9}", step) else None
    return Embedding(name, _floats(vectors, path.name), steps, metadata)


def _floats(vectors: Vectors, where: str) -> Vectors:
    """fp32 copies of vectors that are sound; raises FileError for others."""
    check_vectors(vectors, where)  # before any arithmetic: a tiny file can claim a tensor of terabytes
    return {key: v.detach().float() for key, v in vectors.items()}


def find_embedding(folder: Path, name: str) -> Path | None:
    """The file of this name in an embeddings folder, if there is one; case makes no difference, as in a prompt."""
    found = [path for path in embedding_files(folder) if path.stem.lower() == name.lower()]
    return min(found, key=lambda path: (path.stem != name, EMBEDDING_SUFFIXES.index(path.suffix)), default=None)


def embedding_files(folder: Path) -> list[Path]:
    """Every embedding file in a folder, which need not exist; raises FileError if it cannot be listed."""
    try:
        if not folder.is_dir():
            return []
        return [path for path in sorted(folder.iterdir()) if path.suffix in EMBEDDING_SUFFIXES and path.is_file()]
    except OSError as error:
        raise FileError(f"the folder {folder.name[:80]} could not be read: {error.strerror or error}.") from error


def load_pair(folder: Path, name: str) -> EmbeddingPair:
    """Read NAME and, if it is there, NAME-neg; raises FileError."""
    path = find_embedding(folder, name)
    if path is None:
        raise FileError(f"there is no embedding {name} in {folder}.")
    positive = load_embedding(path)
    negative_path = find_embedding(folder, negative_name(name))
    negative = None if negative_path is None else load_embedding(negative_path).vectors
    return EmbeddingPair(name, positive.vectors, negative, positive.step or 0, dict(positive.provenance))


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """One safetensors file: tensors, and the rest as text in its header, with a digest of all of it."""
    header = {
        "format": SNAPSHOT_FORMAT,
        "config": snapshot.config,
        "step": str(snapshot.step),
        "fingerprint": snapshot.fingerprint,
        "model": snapshot.model,
        "checks": json.dumps([asdict(check) for check in snapshot.checks]),
    }
    tensors = {name: tensor.contiguous() for name, tensor in snapshot.tensors.items()}
    digest = _digest(_header(safetensors_bytes(tensors, header)), tensors)
    write_atomically(path, _same_bytes_every_time(safetensors_bytes(tensors, {**header, "digest": digest})))


def load_snapshot(path: Path) -> Snapshot:
    """Raises FileError for a missing, damaged or foreign file."""
    try:
        content = path.read_bytes()
        about = _header(content)
        header = dict(about.get("__metadata__", {}))
        if header.get("format") != SNAPSHOT_FORMAT:
            raise FileError(f"{path.name} is not a training snapshot of this version.")
        tensors = safetensors_of(content)
        digest = about["__metadata__"].pop("digest", None)  # there is none in those of earlier versions
        if (digest and digest != _digest(about, tensors)) or not isinstance(json.loads(header["config"]), dict):
            raise FileError(f"the snapshot {path.name} is damaged.")
        checks = tuple(Check(**check) for check in json.loads(header.get("checks", "[]")))
        return Snapshot(tensors, header["config"], int(header["step"]), header["fingerprint"], header["model"], checks)
    except FileNotFoundError as error:
        raise FileError(f"there is no snapshot {path} to go on from.") from error
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(f"the snapshot {path.name} is damaged.") from error
    except (RuntimeError, MemoryError, OSError) as error:
        raise FileError(f"the snapshot {path.name} could not be read: {error}.") from error


def _header(content: bytes) -> dict[str, Any]:
    """What a safetensors file says of itself; raises ValueError for other bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise TypeError("no header")
    return header


def _digest(header: Mapping[str, Any], tensors: Vectors) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
