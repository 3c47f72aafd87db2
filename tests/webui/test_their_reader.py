"""What AUTOMATIC1111 reads, we read, with the same numbers and the same word; its own loader says what that is."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from dreamartist_ext.files.card_files import card_word
from dreamartist_ext.files.importing import look
from testbed.embedding_families import everything, in_text, png, saved, vectors, webui
from testbed.hostile_files import png_chunk

from . import their_reader
from .their_reader import digests

pytestmark = pytest.mark.webui
WEBUI = Path(os.environ.get("WEBUI_DIR", Path.home() / "stable-diffusion-webui"))
CASES = Path(__file__).parents[1] / "files" / "cases"
# What it loads and cannot draw with, or what would make every picture black: refused here, on purpose.
REFUSED_HERE = {
    "not finite": saved(webui(torch.full((2, 768), float("nan")))),
    "whole numbers": saved(webui(torch.ones(2, 768, dtype=torch.int64))),
    "76 vectors": saved(webui(vectors(76))),
    "a fraction as a key": saved({0.5: vectors()}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not (WEBUI / "venv" / "bin" / "python").exists():
        pytest.skip(f"there is no WebUI in {WEBUI}")
    folder = tmp_path_factory.mktemp("family")
    for number, made in enumerate(everything()):
        (folder / f"{number:03d}{made.ending}").write_bytes(made.content)
    for path in CASES.iterdir():
        if path.suffix != ".txt":
            (folder / path.name).write_bytes(path.read_bytes())
    for name, content in REFUSED_HERE.items():
        (folder / f"refused {name}.pt").write_bytes(content)
    vocabulary = torch.cat([torch.zeros(49_408, 768), vectors(1)])
    (folder / "learned_embeds.bin").write_bytes(saved({"<cat>": vocabulary[-1]}))
    text = png_chunk(b"tEXt", b"sd-ti-embedding\0" + in_text(vectors()))
    (folder / "x.preview.png").write_bytes(png(text))
    return folder


@pytest.fixture(scope="module")
def theirs(folder, tmp_path_factory):
    found = tmp_path_factory.mktemp("found") / "found.json"
    command = [str(WEBUI / "venv" / "bin" / "python"), their_reader.__file__, str(WEBUI), str(folder), str(found)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(found.read_text())


def ours(path):
    offers, refusals = look([path])
    return (offers[0], "") if offers else (None, refusals[0].sentence)


def test_what_it_reads_is_read_here_with_the_same_numbers(folder, theirs):
    count = 0
    for name, found in theirs.items():
        if "problem" in found or name.startswith("refused") or name == "x.preview.png":
            continue
        offer, sentence = ours(folder / name)
        assert offer is not None, (name, sentence)
        mine, its = digests(offer.positive.vectors), found["vectors"]
        assert mine == {key: its[key] for key in mine}, name
        word = card_word(folder / name) or Path(name).stem
        assert word == found["word"], name
        count += 1
    print(f"{count} of {len(theirs)} files read by both")
    for name, found in theirs.items():
        if "problem" in found and not name.endswith(".pt"):  # those are of devices that are not here
            print(name, "is not read there:", " ".join(found["problem"].split())[:100])
    assert count > 60


def test_what_it_should_read_by_our_own_table_it_reads(theirs):
    for number, made in enumerate(everything()):
        found = theirs[f"{number:03d}{made.ending}"]
        if made.theirs:
            assert "problem" not in found, (made.name, found)


def test_what_is_refused_here_is_refused_on_purpose(folder, theirs):
    read_there = [name for name, found in theirs.items() if "problem" not in found]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused = [name for name in read_there if ours(folder / name)[0] is None]
    assert sorted(refused) == sorted(f"refused {name}.pt" for name in REFUSED_HERE)


def test_a_pictures_preview_is_no_word_for_either(folder, theirs):
    assert "problem" in theirs["x.preview.png"]
    assert card_word(folder / "x.preview.png") == ""
