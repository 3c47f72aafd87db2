"""What was drawn is not drawn again, and nothing else is taken for it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from PIL import Image

from dreamartist_ext.evaluation.pictures import Album, Batch

BATCH = Batch(("a x", "b", "a x"), ("x-neg", "", ""), (1, 2, 3), 5.0, 20, {"x": {"clip": torch.ones(2, 4)}})
CHANGES = [
    {"prompts": ("a x", "b", "c")},
    {"negative_prompts": ("x-neg", "", "z")},
    {"seeds": (1, 2, 4)},
    {"guidance": 5.5},
    {"steps": 21},
    {"embeddings": {"x": {"clip": torch.ones(2, 4) * 1.0001}}},
    {"embeddings": {"y": {"clip": torch.ones(2, 4)}}},
    {"start": Image.new("RGB", (8, 8))},
    {"start": Image.new("RGB", (8, 8)), "strength": 0.5},
]


class Artist:
    def __init__(self) -> None:
        self.drawn: list[Batch] = []

    def __call__(self, batch: Batch) -> list[Image.Image]:
        self.drawn.append(batch)
        return [Image.new("RGB", (8, 6), (seed, 7, 0)) for seed in batch.seeds]


def test_a_batch_is_drawn_once(tmp_path):
    artist = Artist()
    first = Album(tmp_path, "model", artist)(BATCH)
    assert Album(tmp_path, "model", artist).missing(BATCH) == 0
    again = Album(tmp_path, "model", artist)(BATCH)
    assert len(artist.drawn) == 1
    assert [p.tobytes() for p in first] == [p.tobytes() for p in again]
    assert first[2].getpixel((0, 0)) == (3, 7, 0)


def test_every_part_of_what_went_in_counts():
    keys = {BATCH.key("model"), BATCH.key("another")} | {replace(BATCH, **change).key("model") for change in CHANGES}
    assert len(keys) == 2 + len(CHANGES)


def test_many_are_drawn_in_equal_parts_and_come_back_in_order(tmp_path):
    artist = Artist()
    many = Batch(("p",) * 19, ("",) * 19, tuple(range(19)), 5.0, 20)
    pictures = Album(tmp_path, "model", artist)(many)
    assert [len(batch.seeds) for batch in artist.drawn] == [8, 8, 3]
    assert [p.getpixel((0, 0))[0] for p in pictures] == list(range(19))


@pytest.mark.parametrize("damage", [b"", b"not a picture", None])
def test_a_damaged_file_is_drawn_again(tmp_path, damage):
    artist = Artist()
    album = Album(tmp_path, "model", artist)
    whole = album(BATCH)
    (path,) = tmp_path.rglob("*.png")
    path.write_bytes(path.read_bytes()[:60] if damage is None else damage)
    assert [p.tobytes() for p in album(BATCH)] == [p.tobytes() for p in whole]
    assert len(artist.drawn) == 2


def test_the_oldest_are_forgotten(tmp_path):
    album = Album(tmp_path, "model", Artist())
    batches = [replace(BATCH, steps=steps) for steps in range(1, 5)]
    for age, batch in enumerate(batches):
        before = set(tmp_path.rglob("*.png"))
        album(batch)
        (path,) = set(tmp_path.rglob("*.png")) - before
        os.utime(path, (age, age))
    album.forget_oldest(2)
    assert [album.missing(batch) for batch in batches] == [3, 3, 0, 0]
