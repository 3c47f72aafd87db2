"""Ten thousand files of strangers through the door that imports use: none runs, none crashes, one sentence each."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections import Counter

import pytest
import torch
from PIL import Image

from dreamartist_ext.files.importing import Refusal, accept, look
from testbed.hostile_files import ENDINGS, hostile_files, mutants, own_ending, whole_files

MOST_SECONDS = 3.0  # of CPU for one file
MOST_MEMORY = 600 * 2**20  # bytes; the largest file that is read has 64 MiB
FAST, ALL = 240, 10_000
_FORBIDDEN = frozenset(
    "os.system os.exec os.posix_spawn os.spawn os.fork subprocess.Popen pickle.find_class os.mkdir os.remove os.rename "
    "shutil.rmtree socket.connect ctypes.dlopen exec compile import".split()
)


class Watch:
    """Everything that the interpreter says it does, while it is on; an audit hook cannot be removed."""

    def __init__(self) -> None:
        self.is_on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if self.is_on and (event in _FORBIDDEN or (event == "open" and str(arguments[1] or "r")[0] in "wax")):
            self.seen.append((event, str(arguments)[:200]))


@pytest.fixture(scope="module")
def marker(tmp_path_factory):
    """What would be there if a gadget were executed."""
    return tmp_path_factory.mktemp("marker") / "executed"


@pytest.fixture(scope="module")
def watch(tmp_path_factory):
    """What is imported on first use is imported before."""
    Image.init()
    folder = tmp_path_factory.mktemp("whole")
    for content in whole_files():
        for ending in ENDINGS:
            (folder / f"whole{ending}").write_bytes(content)
            look([folder / f"whole{ending}"])
    return Watch()


def check(path, watch):
    """What became of one file, and the seconds of CPU that it took."""
    began = time.process_time()
    watch.is_on = True
    try:
        offers, refusals = look([path])
    finally:
        watch.is_on = False
    seconds = time.process_time() - began
    assert len(offers) + len(refusals) == 1
    for refusal in refusals:
        assert isinstance(refusal, Refusal)
        assert refusal.sentence.isprintable()
        assert refusal.sentence.endswith(".")
        assert 10 < len(refusal.sentence) < 400
    for offer in offers:
        for half in filter(None, (offer.positive, offer.negative)):
            assert all(torch.isfinite(v).all() and 1 <= len(v) <= 75 for v in half.vectors.values())
    return offers, refusals[0].sentence if refusals else "", seconds


def fuzz(folder, watch, marker, count, seed):
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times, taken, sentences = [], 0, Counter()
    for number, (ending, content) in enumerate(mutants(count, seed, marker)):
        path = folder / f"x{ending}"
        path.write_bytes(content)
        offers, sentence, seconds = check(path, watch)
        sentences[re.sub(r"x\.?\w*|\d+", "", sentence)] += 1
        times.append(seconds)
        taken += len(offers)
        if offers and number % 50 == 0:
            accept(offers[0], folder / "embeddings", f"x{number}")
        assert not marker.exists(), (number, ending)
        assert watch.seen == [], (number, ending)
        path.unlink()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory)
    print(
        f"{count} files, {taken} sound, {count - taken} refused; CPU of a file: {1000 * sum(times) / count:.2f} ms, "
        f"longest {1000 * max(times):.0f} ms; memory grew by {grown / 2**20:.0f} MiB; {len(sentences)} sentences"
    )
    assert max(times) < MOST_SECONDS
    assert grown < MOST_MEMORY
    assert 0 < taken < count


def test_the_watch_sees_what_it_should(watch, tmp_path):
    watch.is_on = True
    (tmp_path / "x").mkdir()
    (tmp_path / "y").write_text("")
    watch.is_on = False
    assert [event for event, _ in watch.seen] == ["os.mkdir", "open"]
    watch.seen.clear()


def test_hostile_files_are_refused_every_one(watch, marker, tmp_path):
    for number, content in enumerate(hostile_files(marker)):
        for ending in {own_ending(content), ENDINGS[number % len(ENDINGS)]}:
            path = tmp_path / f"x{ending}"
            path.write_bytes(content)
            offers, _, _ = check(path, watch)
            assert not offers, (number, ending)
    assert (watch.seen, marker.exists()) == ([], False)


def test_some_mutants(watch, marker, tmp_path):
    fuzz(tmp_path, watch, marker, FAST, seed=1)


@pytest.mark.slow
def test_ten_thousand_mutants(watch, marker, tmp_path):
    fuzz(tmp_path, watch, marker, ALL, seed=2)
