"""What tools/fuzz began with, and what an hour of it found worth keeping, once more and in a fixed order."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tools.fuzz.corpus import inputs, write
from tools.fuzz.targets import FORMS, read

from .test_fuzz import Watch

KEPT = Path(__file__).parent / "cases" / "fuzz-corpus.zip"  # one input a member, as `tools.fuzz` keeps them


def kept():
    with zipfile.ZipFile(KEPT) as archive:
        return [archive.read(name) for name in sorted(archive.namelist())]


@pytest.mark.parametrize("source", ["beginnings", "kept"])
def test_every_input_is_read_or_refused_in_one_sentence(tmp_path, source):
    beginnings = list(inputs(tmp_path / "executed"))
    contents = beginnings if source == "beginnings" else kept()
    Image.init()
    for content in beginnings:  # what is imported on first use is imported before
        read(content, tmp_path)
    watch = Watch()
    found = Counter()
    for content in contents:
        watch.is_on = True
        try:
            found[FORMS[content[0] % len(FORMS)][0], read(content, tmp_path)] += 1
        finally:
            watch.is_on = False
    forbidden = [event for event, about in watch.seen if event != "open" or str(tmp_path) not in about]
    assert (forbidden, (tmp_path / "executed").exists()) == ([], False)
    for ending in (".pt", ".safetensors", ".png"):
        assert found[ending, "refused"] > 3, found
        assert found[ending, "read"] > 5 or source == "kept", found


def test_the_beginnings_are_written_for_a_fuzzer(tmp_path):
    count = write(tmp_path / "corpus")
    assert count == len(list((tmp_path / "corpus").iterdir())) > 300
