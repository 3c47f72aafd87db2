"""Run by test_torch_of_the_webui.py in the Python of a WebUI: writes files, or says what it reads in them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.files.card import card_bytes, read_card
from dreamartist_ext.files.formats import load_embedding
from dreamartist_ext.files.storage import load_pair, save_pair

WIDTHS = {"sd": {"clip": 768}, "xl": {"clip_l": 768, "clip_g": 1280}}
FILES = (("sd", ".pt"), ("sd", ".safetensors"), ("xl", ".safetensors"))


def vectors(widths: dict[str, int], rows: int, first: int) -> dict[str, torch.Tensor]:
    """The same ones everywhere, of numbers that have no short decimals."""
    found = {}
    for key, width in widths.items():
        numbers = torch.arange(first, first + rows * width, dtype=torch.float64) / 7e3
        found[key] = numbers.float().reshape(rows, width)
    return found


def pair_of(family: str) -> EmbeddingPair:
    widths = WIDTHS[family]
    return EmbeddingPair("cat", vectors(widths, 3, -5000), vectors(widths, 6, 99), 7, {"model": "m"})


def theirs() -> dict[str, object]:
    """As other programs hand them to torch.save."""
    tensor = vectors({"clip": 768}, 3, -5000)["clip"]
    return {
        "webui": {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "cat", "step": 7},
        "parameters": {"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(tensor)}), "name": "cat"},
        "kohya": {"emb_params": tensor},
        "half": {"emb_params": tensor.half()},
    }


def write(folder: Path) -> None:
    for family, suffix in FILES:
        save_pair(pair_of(family), folder / f"{family}{suffix}", suffix)
        (folder / f"{family}.png").write_bytes(card_bytes(pair_of(family), Image.new("RGB", (8, 8))))
    for name, content in theirs().items():
        for kind, is_zip in (("zip", True), ("legacy", False)):
            torch.save(content, folder / f"{name}-{kind}.pt", _use_new_zipfile_serialization=is_zip)


def problems(folder: Path) -> list[str]:
    """What is not to the bit what `write` has put there."""
    found = [
        f"{family}{suffix}"
        for family, suffix in FILES
        for pair in (load_pair(folder / f"{family}{suffix}", "cat"), read_card(folder / f"{family}.png"))
        if (pair_id(pair), pair.step) != (pair_id(pair_of(family)), 7)
    ]
    for half, kept in zip((pair_of("sd").positive, pair_of("sd").negative), ("cat.pt", "cat-neg.pt"), strict=True):
        content = torch.load(folder / "sd.pt" / kept, map_location="cpu", weights_only=True)
        if half is None or not torch.equal(content["string_to_param"]["*"], half["clip"]):
            found.append(f"{kept} by torch itself")
    for name in theirs():
        for kind in ("zip", "legacy"):
            wanted = vectors({"clip": 768}, 3, -5000)["clip"]
            wanted = wanted.half().float() if name == "half" else wanted
            if not torch.equal(load_embedding(folder / f"{name}-{kind}.pt").vectors["clip"], wanted):
                found.append(f"{name}-{kind}")
    return found


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2])
    print(json.dumps({"torch": torch.__version__, "problems": write(place) if task == "write" else problems(place)}))
