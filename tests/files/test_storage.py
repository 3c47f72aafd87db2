from __future__ import annotations

import errno
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.files import storage
from dreamartist_ext.files.atomic import write_atomically
from dreamartist_ext.files.storage import load_embedding, load_pair, load_snapshot, save_pair


def pair(vectors: int = 3, width: int = 768, negative: int = 6, seed: int = 0) -> EmbeddingPair:
    generator = torch.Generator().manual_seed(seed)
    return EmbeddingPair(
        "mycat",
        {"clip": torch.randn(vectors, width, generator=generator)},
        {"clip": torch.randn(negative, width, generator=generator)} if negative else None,
        step=120,
        provenance={"model": "tiny", "version": "1"},
    )


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@settings(max_examples=15, deadline=None)
@given(
    vectors=st.integers(1, 75),
    negative=st.integers(0, 75),
    width=st.sampled_from([4, 768, 1024]),
    seed=st.integers(0, 99),
)
def test_saving_and_loading_is_the_identity(tmp_path_factory, suffix, vectors, negative, width, seed):
    folder, saved = tmp_path_factory.mktemp("pair"), pair(vectors, width, negative, seed)
    save_pair(saved, folder, suffix)
    loaded = load_pair(folder, "mycat")
    assert (loaded.name, loaded.step, loaded.provenance["model"]) == ("mycat", 120, "tiny")
    assert torch.equal(loaded.positive["clip"], saved.positive["clip"])
    assert (loaded.negative is None) == (negative == 0)
    if negative:
        assert torch.equal(loaded.negative["clip"], saved.negative["clip"])


def test_sdxl_vectors_keep_their_two_encoders(tmp_path):
    vectors = {"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}
    save_pair(EmbeddingPair("xl", vectors), tmp_path, ".safetensors")
    loaded = load_embedding(tmp_path / "xl.safetensors")
    assert all(torch.equal(loaded.vectors[key], vectors[key]) for key in vectors)
    with pytest.raises(FileError, match=r"SDXL embeddings are \.safetensors"):
        save_pair(EmbeddingPair("xl", vectors), tmp_path, ".pt")


def test_a_pt_file_is_the_webuis_format_with_members_that_old_allow_lists_know(tmp_path):
    (path, _) = save_pair(pair(), tmp_path)
    content = torch.load(path, weights_only=True)
    assert list(content["string_to_param"]) == ["*"]
    assert content["string_to_param"]["*"].dtype == torch.float32
    assert not content["string_to_param"]["*"].requires_grad
    inner = [name.split("/", 1)[1] for name in zipfile.ZipFile(path).namelist()]
    assert sorted(inner) == ["data.pkl", "data/0", "version"]


def test_the_same_vectors_give_the_same_bytes(tmp_path):
    for suffix in (".pt", ".safetensors"):
        first = [p.read_bytes() for p in save_pair(pair(), tmp_path / "a", suffix)]
        assert first == [p.read_bytes() for p in save_pair(pair(), tmp_path / "b", suffix)]


def test_the_halves_of_a_pair_know_each_other_under_any_name(tmp_path):
    for suffix in (".pt", ".safetensors"):
        about = [load_embedding(path).provenance for path in save_pair(pair(), tmp_path, suffix)]
        assert [half["half"] for half in about] == ["positive", "negative"]
        assert about[0]["pair"] == about[1]["pair"] == pair_id(pair())
    loaded = load_pair(tmp_path, "mycat")
    loaded.name = "another"
    assert pair_id(loaded) == pair_id(pair())


def test_a_pair_is_another_when_any_number_of_either_half_is(tmp_path):
    other = pair()
    other.negative["clip"][5, 767] += 1e-6
    swapped = pair(vectors=6)
    swapped.positive, swapped.negative = swapped.negative, swapped.positive
    plain = pair(negative=0)
    ids = {pair_id(p) for p in (pair(), pair(seed=1), other, pair(vectors=6), swapped, plain)}
    assert len(ids) == 6


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_leaves_the_old_pair_and_nothing_else(tmp_path, monkeypatch):
    paths = save_pair(pair(seed=1), tmp_path)
    before = [p.read_bytes() for p in paths]
    synced = []

    def no_room_for_the_second(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            no_room()

    monkeypatch.setattr(os, "fsync", no_room_for_the_second)
    with pytest.raises(FileError, match=r"could not be written to .*: No space left on device"):
        save_pair(pair(seed=2), tmp_path)
    assert [p.read_bytes() for p in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(FileError, match="could not be written"):
        write_atomically(tmp_path / "out" / "x.pt", b"")


def test_vectors_that_are_not_finite_are_not_saved(tmp_path):
    broken = pair()
    broken.negative["clip"][0, 0] = float("nan")
    with pytest.raises(FileError, match="mycat-neg holds numbers that are not finite"):
        save_pair(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Gadget:
    def __reduce__(self):
        return os.mkdir, ("/tmp/dreamartist-was-here",)


def zipped_pickle(content: object) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def torch_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an embedding",
        pickle.dumps(Gadget()),
        zipped_pickle(Gadget()),
        zipped_pickle({"string_to_param": Gadget()}),
        torch_bytes({"string_to_param": {}}),
        torch_bytes({"string_to_param": {"*": torch.zeros(0, 768)}}),
        torch_bytes({"string_to_param": {"*": torch.zeros(76, 768)}}),
        torch_bytes({"string_to_param": {"*": torch.full((2, 768), float("inf"))}}),
        torch_bytes({"string_to_param": {"*": torch.zeros(2, 768, dtype=torch.long)}}),
        torch_bytes({"string_to_param": {"*": torch.zeros(5)}}),
        torch_bytes([torch.zeros(2)]),
        torch_bytes({"string_to_param": {"*": torch.zeros(2, 768)}})[:-200],
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_strangers_file_is_refused_in_one_sentence_and_nothing_runs(tmp_path, content, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match="x") as refused:
        load_embedding(path)
    assert "\n" not in str(refused.value)
    assert not Path("/tmp/dreamartist-was-here").exists()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_never_crashes(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    suffix = data.draw(st.sampled_from([".pt", ".safetensors"]))
    (path, *_) = save_pair(pair(width=8, negative=0), folder, suffix)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        load_embedding(path)
    except FileError as refused:
        assert path.name in str(refused)


@pytest.mark.parametrize(
    "vectors",
    [
        torch.zeros(1).expand(75, 10**12),
        torch.zeros(2, 768).to_sparse(),
        torch.zeros(2, 3, 768),
        torch.zeros(2, 768, dtype=torch.complex64),
    ],
    ids=["claims terabytes", "sparse", "three dimensions", "complex"],
)
def test_tensors_that_are_no_vectors_are_refused_before_any_arithmetic(tmp_path, vectors):
    (tmp_path / "x.pt").write_bytes(torch_bytes({"string_to_param": {"*": vectors}}))
    with pytest.raises(FileError, match=r"x\.pt"):
        load_embedding(tmp_path / "x.pt")


def test_a_zip_with_anything_but_tensors_in_it_is_refused(tmp_path):
    (path, _) = save_pair(pair(), tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("embedding/constants.pkl", b"")
    with pytest.raises(FileError, match="something other than plain tensors"):
        load_embedding(path)


def test_case_makes_no_difference_to_a_name_and_the_exact_one_comes_first(tmp_path):
    save_pair(pair(negative=0, seed=1), tmp_path, stem="MyCat")
    assert storage.find_embedding(tmp_path, "mycat").name == "MyCat.pt"
    save_pair(pair(negative=0, seed=1), tmp_path, stem="mycat")
    assert storage.find_embedding(tmp_path, "mycat").name == "mycat.pt"


def test_a_pair_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "mycat-neg.pt").mkdir()
    with pytest.raises(FileError, match="Is a directory"):
        save_pair(pair(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mycat-neg.pt"]


def test_other_endings_missing_files_and_folders_are_refused(tmp_path):
    (tmp_path / "d.pt").mkdir()
    for name, sentence in (("x.exe", "is not an embedding"), ("x.pt", "could not be read"), ("d.pt", "is not a file")):
        with pytest.raises(FileError, match=sentence):
            load_embedding(tmp_path / name)
    with pytest.raises(FileError, match="there is no embedding mycat in"):
        load_pair(tmp_path, "mycat")


def test_a_snapshot_that_is_missing_damaged_or_foreign_is_refused(tmp_path):
    with pytest.raises(FileError, match="there is no snapshot"):
        load_snapshot(tmp_path / "s.safetensors")
    (tmp_path / "s.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(FileError, match="is damaged"):
        load_snapshot(tmp_path / "s.safetensors")
    (path, *_) = save_pair(pair(), tmp_path, ".safetensors")
    with pytest.raises(FileError, match="is not a training snapshot"):
        load_snapshot(path)
