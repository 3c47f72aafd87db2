"""In a real WebUI: a pair that was renamed by hand, among two thousand files, and what the hook costs there."""

from __future__ import annotations

import statistics

import pytest

from .test_hook_in_webui import OFF, negative_of
from .test_renamed_pairs import LONG, MANY, pair_of, renamed_pair

pytestmark = pytest.mark.webui
WIDTH = 192  # of the embedded model's token vectors
PICTURES = 12


@pytest.fixture(scope="module")
def crowded(webui):
    """Two thousand files, among them other.pt and foo.pt, which were cat.pt and cat-neg.pt."""
    renamed_pair(webui.embeddings, WIDTH)
    contents = [path.read_bytes() for path in save(webui.embeddings)]
    for number in range(MANY - 2):
        for half, content in zip(("", "-neg"), contents, strict=True):
            (webui.embeddings / f"name{number:04d}{half}.pt").write_bytes(content)
    webui.post("/sdapi/v1/refresh-embeddings", {})
    return webui


def save(folder):
    from dreamartist_ext.engine.storage import save_pair

    return save_pair(pair_of("template", 9, WIDTH), folder)


def test_a_prompt_brings_the_half_that_has_another_name(crowded):
    hooked, infotext = crowded.picture("a (other:1.2)", "x")
    assert negative_of(infotext) == "x, (foo:1.2)"
    assert "DreamArtist: other -> foo" in infotext
    assert crowded.picture("a (other:1.2)", "x, (foo:1.2)", **OFF)[0] == hooked
    assert crowded.picture("a (other:1.2)", "x", **OFF)[0] != hooked


def test_files_renamed_while_the_webui_runs(crowded):
    (crowded.embeddings / "foo.pt").rename(crowded.embeddings / "bar.pt")
    assert negative_of(crowded.picture("other", "x", steps=1)[1]) == "x, bar"
    (crowded.embeddings / "bar.pt").rename(crowded.embeddings / "foo.pt")
    assert negative_of(crowded.picture("other", "x", steps=1)[1]) == "x, foo"


def test_what_the_hook_adds_to_a_picture(crowded):
    """The script's call as the WebUI makes it, one for each picture."""
    for prompt in (LONG, f"{LONG} [a cow:a tree:0.5]", "a photo of other", f"{LONG} (other:1.2)"):
        crowded.probe("time_hook")
        for number in range(PICTURES):
            crowded.picture(f"{prompt}, {number}", "blurry", steps=1)
        seconds = crowded.probe("hook_seconds")
        assert len(seconds) == PICTURES
        middle = statistics.median(seconds)
        print(f"{prompt[-24:]!r}: {1e3 * middle:.2f} ms, least {1e3 * min(seconds):.2f}, most {1e3 * max(seconds):.2f}")
        assert min(seconds) < 1e-3
