"""Where a fuzzer begins: one sound input of every form, and some that were hostile before."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from testbed.embedding_families import everything, webui
from testbed.hostile_files import hostile_files, own_ending, whole_files

from .targets import FORMS, archive, as_it_is, card_of, repaired, with_header

LARGEST = 2**16  # bytes; a fuzzer learns nothing from more


def inputs(marker: Path) -> Iterator[bytes]:
    """Inputs as `targets.read` takes them."""
    contents = [*(made.content for made in everything()), *whole_files(), *hostile_files(marker)]
    for content in contents:
        if not 0 < len(content) <= LARGEST:
            continue
        ending = own_ending(content)
        yield _form(ending, repaired if ending == ".png" else as_it_is) + content
        yield from _inner(content)
    numbers = {"TORCHTENSOR": [[0.5] * 8] * 2}
    yield _form(".png", card_of) + json.dumps(webui(numbers)).encode()
    yield _form(".png", card_of) + json.dumps({"clip_l": numbers, "clip_g": numbers}).encode()
    about = {"format": "dreamartist-card-1", "name": "cat", "step": 5, "about": {"pair": "0" * 16}}
    yield _form(".png", card_of) + json.dumps(webui(numbers)).encode() + b"\0" + json.dumps(about).encode()
    yield (
        _form(".json", as_it_is) + json.dumps({"steps": 500, "learning_rate": "0.01:9, 1e-3", "about": "x"}).encode()
    )
    yield _form(".txt", as_it_is) + "a photo of [name]\n[name]　写真, [filewords]\n".encode()


def _inner(content: bytes) -> Iterator[bytes]:
    """The pickle of an archive, and the header of a safetensors file."""
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as old:
                name = next(name for name in old.namelist() if name.endswith("data.pkl"))
                yield _form(".pt", archive) + old.read(name)[:LARGEST]
        except (StopIteration, zipfile.BadZipFile):
            return
    elif content[8:9] == b"{":
        yield _form(".safetensors", with_header) + content[8 : 8 + int.from_bytes(content[:8], "little")]


def _form(ending: str, form: Callable[[bytes], bytes]) -> bytes:
    """The first byte that stands for a form."""
    return bytes([FORMS.index((ending, form))])


def write(folder: Path) -> int:
    """Every input as a file; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, content in enumerate(inputs(folder / "executed"), start=1):
        (folder / f"{count:04d}").write_bytes(content)
    return count
