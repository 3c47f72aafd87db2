"""Safe reading and atomic writing of embeddings (.pt, .safetensors) and training snapshots."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_of
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from ..engine.embedding import EmbeddingPair, check_vectors, pair_id
from ..engine.errors import FileError
from ..engine.host import Vectors
from ..engine.names import negative_name, positive_name
from ..engine.snapshot import Snapshot
from ..engine.stopping import Check
from .atomic import write_atomically, write_together
from .below import entries_below, is_file
from .bounded import check_ordinary
from .formats import EMBEDDING_SUFFIXES, Embedding, load_embedding, plain_text, shown
from .formats import MAX_EMBEDDING_BYTES as MAX_EMBEDDING_BYTES
from .pairing import Pairing, preference, words_of

SNAPSHOT_FORMAT = "dreamartist-snapshot-1"
_SINGLE_KEY = "emb_params"  # the name that kohya and others use for the one tensor of a .safetensors embedding
# Newer torch adds members to its zip files which the allow-list unpicklers of some WebUI builds refuse.
_KEPT_MEMBERS = ("data.pkl", "version")


def pt_bytes(name: str, vectors: Vectors, step: int, provenance: Mapping[str, str]) -> bytes:
    """The WebUI's own textual-inversion format, for models with one text encoder."""
    if len(vectors) != 1:
        raise FileError("a .pt embedding holds one text encoder's vectors; SDXL embeddings are .safetensors.")
    content = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": _plain(next(iter(vectors.values())))},
        "name": name,
        "step": step,
        "sd_checkpoint": provenance.get("model_hash"),
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
    return _same_bytes_every_time(safetensors_bytes(tensors, {**provenance, "name": name, "step": str(step)}))


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
    stem = stem or pair.name
    contents = pair_contents(pair, suffix, stem)
    write_together(folder, stem, contents, [name for name in replacing if name not in contents])
    return [folder / name for name in contents]


def pair_contents(pair: EmbeddingPair, suffix: str = "", stem: str = "") -> dict[str, bytes]:
    """What `save_pair` writes, by the files' names; raises FileError for vectors that are not sound."""
    stem, suffix = stem or pair.name, suffix or (".pt" if len(pair.positive) == 1 else ".safetensors")
    halves = {stem: (pair.name, "positive", pair.positive)}
    if pair.negative is not None:
        halves[negative_name(stem)] = (negative_name(pair.name), "negative", pair.negative)
    for word, _, vectors in halves.values():
        check_vectors(vectors, f"the embedding {word}")
    about = {**pair.provenance, "pair": pair_id(pair)}
    return {
        f"{file}{suffix}": _WRITERS[suffix](word, vectors, pair.step, {**about, "half": half})
        for file, (word, half, vectors) in halves.items()
    }


def save_half(half: Embedding, folder: Path, word: str, suffix: str = ".pt", replacing: Sequence[str] = ()) -> Path:
    """Write one embedding as WORD.SUFFIX, with all that it says about itself; raises FileError. `replacing` as in
    `save_pair`."""
    name = f"{word}{suffix}"
    content = half_content(half, word, suffix)
    write_together(folder, positive_name(word), {name: content}, [other for other in replacing if other != name])
    return folder / name


def half_content(half: Embedding, word: str, suffix: str) -> bytes:
    """What `save_half` writes."""
    check_vectors(half.vectors, f"the embedding {word}")
    return _WRITERS[suffix](word, half.vectors, half.step or 0, half.provenance)


def find_embedding(folder: Path, name: str) -> Path | None:
    """The file of this name in an embeddings folder, if there is one; case makes no difference, as in a prompt."""
    found = [path for path in embedding_files(folder) if path.stem.lower() == name.lower()]
    return min(found, key=lambda path: (path.stem != name, *preference(path)), default=None)


def embedding_files(folder: Path, inside: bool = True) -> list[Path]:
    """Every embedding file in a folder, which need not exist, and in those inside it, which the WebUI reads as well.

    Raises FileError if it cannot be listed.
    """
    try:
        if not folder.is_dir():
            return []
        if inside:
            found = [Path(entry.path) for entry in entries_below(folder, EMBEDDING_SUFFIXES) if is_file(entry)]
        else:
            with os.scandir(folder) as entries:
                named = [entry for entry in entries if entry.name.lower().endswith(EMBEDDING_SUFFIXES)]
                found = [Path(entry.path) for entry in named if is_file(entry)]
        return sorted(found)
    except OSError as error:
        raise FileError(f"the folder {shown(folder.name)} could not be read: {error.strerror or error}.") from error


def load_pair(folder: Path, name: str) -> EmbeddingPair:
    """Read NAME and, if it is there, its negative half, whatever that is called; raises FileError."""
    path = find_embedding(folder, name)
    if path is None:
        raise FileError(f"there is no embedding {name} in {folder}.")
    positive = load_embedding(path)
    words = words_of(embedding_files(folder))
    word = Pairing({**words, path.stem: path}).negative_of(path.stem)
    negative = None if word is None else load_embedding(words[word]).vectors
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
        "about": json.dumps(dict(snapshot.about)),
    }
    tensors = {name: tensor.contiguous() for name, tensor in snapshot.tensors.items()}
    digest = _digest(_header(safetensors_bytes(tensors, header)), tensors)
    write_atomically(path, _same_bytes_every_time(safetensors_bytes(tensors, {**header, "digest": digest})))


def load_snapshot(path: Path) -> Snapshot:
    """Raises FileError for a missing, damaged or foreign file."""
    try:
        check_ordinary(path)
        content = path.read_bytes()
        said = _header(content)
        header = dict(said.get("__metadata__", {}))
        if header.get("format") != SNAPSHOT_FORMAT:
            raise FileError(f"{path.name} is not a training snapshot of this version.")
        tensors = safetensors_of(content)
        digest = said["__metadata__"].pop("digest", None)  # there is none in those of earlier versions
        if (digest and digest != _digest(said, tensors)) or not isinstance(json.loads(header["config"]), dict):
            raise FileError(f"the snapshot {path.name} is damaged.")
        checks = tuple(Check(**check) for check in json.loads(header.get("checks", "[]")))
        about = plain_text(json.loads(header.get("about", "{}")))
        known = header["config"], int(header["step"]), header["fingerprint"], header["model"]
        return Snapshot(tensors, *known, checks, about)
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
