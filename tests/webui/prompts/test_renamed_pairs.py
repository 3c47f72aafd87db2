"""A pair that was renamed by hand stays one: in prompts, on the command line, in My concepts."""

from __future__ import annotations

import time

import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair
from dreamartist_ext.webui.prompts import loaded_words

from .test_generation_script import Picture, install  # noqa: F401 (a fixture)

MANY = 1000  # pairs
LONG = "masterpiece, (best quality:1.2), a cow and a tree on a green hill, " * 6


def pair_of(name, seed=0, width=8):
    generator = torch.Generator().manual_seed(seed)
    halves = [{"clip": torch.randn(2, width, generator=generator)} for _ in range(2)]
    return EmbeddingPair(name, halves[0], halves[1], 5)


class Loaded(int):
    """What the fake WebUI knows of an embedding: how many vectors it has, and where it was read from."""

    filename: str


def loaded(folder):
    """A WebUI's database, by name."""
    found = {path.stem: Loaded(2) for path in sorted(folder.iterdir())}
    for name, embedding in found.items():
        embedding.filename = str(folder / f"{name}.pt")
    return found


def renamed_pair(folder, width=8):
    positive, negative = save_pair(pair_of("cat", width=width), folder)
    positive.rename(folder / "other.pt")
    negative.rename(folder / "foo.pt")


def test_a_prompt_brings_the_half_that_has_another_name(install, tmp_path):  # noqa: F811
    renamed_pair(tmp_path)
    result = install(vectors=loaded(tmp_path)).run(Picture("a (other:1.2)", "x"))
    assert result.negatives == ["x, (foo:1.2)"]
    assert result.infotexts[0].endswith("\nDreamArtist: other -> foo")


def test_it_is_not_added_to_a_prompt_that_has_it(install, tmp_path):  # noqa: F811
    renamed_pair(tmp_path)
    webui = install(vectors=loaded(tmp_path))
    assert webui.run(Picture("other", "(foo:0.5)")).negatives == ["(foo:0.5)"]
    assert webui.run(Picture("foo", "x")).negatives == ["x"]


def test_a_folder_that_was_read_again_is_seen(install, tmp_path):  # noqa: F811
    save_pair(pair_of("cat"), tmp_path)[1].unlink()
    save_pair(pair_of("dog", 1), tmp_path)[0].rename(tmp_path / "hound.pt")
    assert install(vectors=loaded(tmp_path)).run(Picture("cat", "x")).negatives == ["x"]
    save_pair(pair_of("cat"), tmp_path, stem="dog")
    (tmp_path / "dog.pt").unlink()
    assert install(vectors=loaded(tmp_path)).run(Picture("cat", "x")).negatives == ["x, dog-neg"]


def test_where_no_word_is_typed_two_thousand_files_cost_less_than_a_millisecond(install, tmp_path):  # noqa: F811
    contents = [path.read_bytes() for path in save_pair(pair_of("template", 9), tmp_path)]
    for number in range(MANY - 2):
        for half, content in zip(("", "-neg"), contents, strict=True):
            (tmp_path / f"name{number:04d}{half}.pt").write_bytes(content)
    renamed_pair(tmp_path)
    webui = install(vectors=loaded(tmp_path))
    loaded_words._built.clear()
    for prompt in (LONG, f"{LONG} [a cow:a tree:0.5]"):
        seconds = [_seconds(webui, prompt) for _ in range(20)]
        print(f"{2 * MANY} files: {1e3 * min(seconds):.2f} ms, the first time {1e3 * seconds[0]:.1f} ms")
        assert min(seconds) < 1e-3


def _seconds(webui, prompt):
    """Of the script alone, for one batch."""
    p = Picture(prompt, "x")
    webui.setup_prompts(p)
    p.prompts, p.negative_prompts, p.iteration = p.all_prompts, p.all_negative_prompts, 0
    began = time.perf_counter()
    webui.call("process_batch", p, batch_number=0)
    return time.perf_counter() - began
