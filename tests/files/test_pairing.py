"""Two files stay one pair, whatever they are called; by their names alone where they do not say what they are."""

from __future__ import annotations

import os

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.files import pairing
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.pairing import Pairing, said_by, words_of
from dreamartist_ext.files.storage import embedding_files, load_pair, pt_bytes, save_pair


def pair_of(name, seed=0, negative=True):
    generator = torch.Generator().manual_seed(seed)
    halves = [{"clip": torch.randn(2, 8, generator=generator)} for _ in range(2)]
    return EmbeddingPair(name, halves[0], halves[1] if negative else None, 5)


def pairing_in(folder):
    return Pairing(words_of(embedding_files(folder)))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("positive", ["cat", "other"])
@pytest.mark.parametrize("negative", ["cat-neg", "foo", "x-neg"])
def test_renamed_files_find_each_other(tmp_path, positive, negative, suffix):
    cat = pair_of("cat")
    save_pair(pair_of("dog", 1), tmp_path)
    for old, new in zip(save_pair(cat, tmp_path, suffix), (positive, negative), strict=True):
        old.rename(old.with_stem(new))
    found = pairing_in(tmp_path)
    assert found.negative_of(positive) == negative
    assert found.positive_of(negative) == positive
    assert found.negative_of("dog") == "dog-neg"
    assert found.negative_of(negative) is None
    assert pair_id(load_pair(tmp_path, positive)) == pair_id(cat)


def test_what_the_files_say_goes_before_a_name_that_contradicts_it(tmp_path):
    save_pair(pair_of("cat", 1), tmp_path)
    save_pair(pair_of("dog", 2), tmp_path)
    (tmp_path / "cat-neg.pt").rename(tmp_path / "lost.pt")
    (tmp_path / "dog-neg.pt").rename(tmp_path / "cat-neg.pt")
    found = pairing_in(tmp_path)
    assert (found.negative_of("cat"), found.negative_of("dog")) == ("lost", "cat-neg")


def test_halves_of_two_trainings_stay_a_pair_by_their_names(tmp_path):
    save_pair(pair_of("cat", 1), tmp_path)
    save_pair(pair_of("dog", 2), tmp_path)
    (tmp_path / "dog-neg.pt").replace(tmp_path / "cat-neg.pt")
    assert pairing_in(tmp_path).negative_of("cat") == "cat-neg"
    assert pairing_in(tmp_path).negative_of("dog") == "cat-neg"


def test_files_that_do_not_say_go_by_their_names(tmp_path):
    for name in ("cat", "Cat-NEG", "dog", "foo"):
        (tmp_path / f"{name}.PT").write_bytes(pt_bytes(name, pair_of(name).positive, 1, {}))
    (tmp_path / "bad.pt").write_bytes(b"no")
    found = pairing_in(tmp_path)
    assert [found.negative_of(name) for name in ("cat", "dog", "foo", "bad")] == ["Cat-NEG", None, None, None]
    assert Pairing({"a": None, "a-neg": None}).negative_of("a") == "a-neg"


def test_a_single_embedding_has_no_other_half(tmp_path):
    save_pair(pair_of("cat", negative=False), tmp_path)
    save_pair(pair_of("dog", 1), tmp_path)
    assert pairing_in(tmp_path).negative_of("cat") is None


def test_a_card_finds_the_negative_that_lies_beside_it(tmp_path):
    cat = pair_of("cat")
    (tmp_path / "posted.png").write_bytes(card_bytes(cat, Image.new("RGB", (8, 8))))
    save_pair(cat, tmp_path)[1].rename(tmp_path / "foo.pt")
    found = Pairing({"cat": tmp_path / "posted.png", "foo": tmp_path / "foo.pt"})
    assert found.negative_of("cat") == "foo"


def test_a_file_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
    save_pair(pair_of("cat"), tmp_path)[0].rename(tmp_path / "other.pt")
    read = []
    real = pairing.load_embedding
    monkeypatch.setattr(pairing, "load_embedding", lambda path: read.append(path.name) or real(path))
    for _ in range(3):
        assert pairing_in(tmp_path).negative_of("other") == "cat-neg"
    assert sorted(read) == ["cat-neg.pt", "other.pt"]
    save_pair(pair_of("cat", 3), tmp_path, stem="other")
    os.utime(tmp_path / "other.pt", (1, 1))
    assert said_by(tmp_path / "other.pt").pair == pair_id(pair_of("cat", 3))
    assert read.count("other.pt") == 2
