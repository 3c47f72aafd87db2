"""In a real WebUI: a pair that was renamed by hand, among two thousand files, and what the hook costs there."""

from __future__ import annotations

import statistics

import pytest

from testbed.embedded import WIDTH

from ..prompts.test_hook_in_webui import OFF, negative_of
from ..prompts.test_renamed_pairs import LONG, MANY, pair_of, renamed_pair

pytestmark = pytest.mark.webui
PICTURES = 12


@pytest.fixture(scope="module")
def crowded(webui):
    """Two thousand files, among them other.pt and foo.pt, which were cat.pt and cat-neg.pt; gone afterwards."""
    before = set(webui.embeddings.iterdir())
    renamed_pair(webui.embeddings, WIDTH)
    contents = [path.read_bytes() for path in save(webui.embeddings)]
    for number in range(MANY - 2):
        for half, content in zip(("", "-neg"), contents, strict=True):
            (webui.embeddings / f"name{number:04d}{half}.pt").write_bytes(content)
    webui.post("/sdapi/v1/refresh-embeddings", {})
    yield webui
    for path in set(webui.embeddings.iterdir()) - before:
        path.unlink()
    webui.post("/sdapi/v1/refresh-embeddings", {})


def save(folder):
    from dreamartist_ext.files.storage import save_pair

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


@pytest.mark.parametrize(
    "prompt", [f"{{}} {LONG}", f"{{}} {LONG} [a cow:a tree:0.5]", "{} photos of other", f"{{}} {LONG} (other:1.2)"]
)
def test_what_the_hook_adds_to_a_picture(crowded, prompt):
    """The script's call as the WebUI makes it, one for each picture: of prompts that are new, and of one again."""
    new, again = (
        _seconds(crowded, [prompt.format(n) for n in numbers]) for numbers in (range(PICTURES), [0] * PICTURES)
    )
    for kind, seconds in (("new", new), ("again", again)):
        middle, least, most = (1e3 * of(seconds) for of in (statistics.median, min, max))
        print(f"{prompt[-24:]!r}, {kind}: {middle:.2f} ms, least {least:.2f}, most {most:.2f}")
    assert min(again) < 1e-3
    assert "other" in prompt or min(new) < 1e-3


def _seconds(webui, prompts):
    webui.probe("time_hook")
    for prompt in prompts:
        webui.picture(prompt, "blurry", steps=1)
    return webui.probe("hook_seconds")
