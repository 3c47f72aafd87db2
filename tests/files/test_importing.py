"""What is dropped on the page: offered first, written by our own writer, refused in one sentence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.names import check_name
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.importing import accept, look, safe_name
from dreamartist_ext.files.storage import load_embedding, load_pair, save_pair

from .test_storage import pair


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "embeddings"


@pytest.fixture
def sent(tmp_path):
    (tmp_path / "sent").mkdir()
    return tmp_path / "sent"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_two_files_of_a_pair_become_one_concept_under_any_names(sent, folder, suffix):
    paths = [path.rename(sent / f"{i}{suffix}") for i, path in enumerate(save_pair(pair(), sent, suffix))]
    (offer,), refusals = look(paths[::-1])
    assert (offer.name, offer.words, offer.family, refusals) == ("0", ("0", "0-neg"), "SD 1", [])
    accept(offer, folder, "newname")
    loaded = load_pair(folder, "newname")
    assert pair_id(loaded) == pair_id(pair())
    assert (loaded.step, loaded.provenance["model"]) == (120, "tiny")


def test_a_card_becomes_two_files(sent, folder):
    (sent / "posted.png").write_bytes(card_bytes(pair(), Image.new("RGB", (9, 9), "red")))
    (offer,), _ = look([sent / "posted.png"])
    assert [path.name for path in accept(offer, folder)] == ["mycat.pt", "mycat-neg.pt"]
    assert pair_id(load_pair(folder, "mycat")) == pair_id(pair())


def test_sdxl_is_written_as_safetensors(sent, folder):
    both = {"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}
    paths = save_pair(EmbeddingPair("xl", both, both), sent, ".safetensors")
    (offer,), _ = look(paths)
    assert offer.family == "SDXL"
    assert {path.suffix for path in accept(offer, folder)} == {".safetensors"}


def test_nothing_is_replaced_unless_asked(sent, folder):
    before = [path.read_bytes() for path in save_pair(pair(seed=9), folder)]
    paths = save_pair(pair(), sent)
    (offer,), _ = look(paths)
    assert [path.name for path in offer.taken(folder)] == ["mycat.pt", "mycat-neg.pt"]
    with pytest.raises(SettingError, match=r"the name mycat is taken by mycat\.pt; choose another, or overwrite it"):
        accept(offer, folder)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == before[::-1]
    accept(offer, folder, "other")
    accept(offer, folder, overwrite=True)
    assert pair_id(load_pair(folder, "mycat")) == pair_id(load_pair(folder, "other")) == pair_id(pair())


def test_only_vectors_and_texts_reach_the_folder(sent, folder):
    (path, _) = save_pair(pair(negative=0), sent) * 2
    content = torch.load(path, weights_only=True)
    content["evil"] = torch.zeros(1000)
    content["dreamartist"]["note"] = "x" * 10**6
    torch.save(content, path)
    (offer,), _ = look([path])
    (written,) = accept(offer, folder)
    assert "evil" not in torch.load(written, weights_only=True)
    assert written.stat().st_size < 200_000


def test_half_a_pair_waits_for_the_other_half(sent, folder):
    paths = save_pair(pair(), sent)
    for path in paths[::-1]:
        (offer,), _ = look([path])
        accept(offer, folder)
    about = [load_embedding(folder / f"{word}.pt").provenance for word in ("mycat", "mycat-neg")]
    assert about[0]["pair"] == about[1]["pair"] == pair_id(load_pair(folder, "mycat"))


def test_halves_of_two_trainings_are_two_offers(sent, folder):
    save_pair(pair(seed=1), sent)
    (sent / "mycat.pt").unlink()
    save_pair(pair(seed=2, negative=6), sent / "other")
    paths = [sent / "other" / "mycat.pt", sent / "mycat-neg.pt"]
    offers, _ = look(paths)
    assert [offer.words for offer in offers] == [("mycat",), ("mycat-neg",)]


def test_halves_for_different_models_are_refused(sent):
    one = save_pair(EmbeddingPair("a", {"clip": torch.ones(1, 768)}), sent)
    two = save_pair(EmbeddingPair("a-neg", {"clip": torch.ones(1, 1024)}), sent)
    for path in (*one, *two):
        content = torch.load(path, weights_only=True)
        del content["dreamartist"]
        torch.save(content, path)
    offers, refusals = look([*one, *two])
    assert offers == []
    assert {r.sentence for r in refusals} == {"a.pt and a-neg.pt are not for the same kind of model."}


def test_refused_files_leave_nothing_and_do_not_stop_the_others(sent, folder):
    good = save_pair(pair(), sent)
    bad = [sent / name for name in ("x.pt", "y.png", "z.exe", "<b>\n.safetensors", "gone.bin")]
    for path in bad[:-1]:
        path.write_bytes(b"evil")
    offers, refusals = look([*bad, *good])
    assert len(offers) == 1
    assert len(refusals) == len(bad)
    assert all("\n" not in r.sentence + r.source and r.sentence.endswith(".") for r in refusals)
    assert not folder.exists()


@given(st.text(max_size=300))
def test_any_text_gives_a_name_that_a_concept_can_have(text):
    assert check_name(safe_name(text)) == safe_name(safe_name(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mycat", "mycat"),
        ("../../etc/passwd", "etc-passwd"),
        ("CON", "imported-CON"),
        ("AND", "and"),
        ("salt-AND-pepper", "salt-and-pepper"),
        ("con.pt", "con-pt"),
        ("bad_v1.3", "bad_v1-3"),
        ("m\u0443cat", "m-cat"),  # a Cyrillic letter that looks like y
        ("\u202egnp.tac", "gnp-tac"),  # right-to-left override
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("\uff4dycat", "mycat"),
        ("", "imported"),
        ("-neg", "neg"),
        ("caf\u00e9s", "cafes"),
        ("cat-neg-neg", "cat"),
        ("\u00e7a", "imported-ca"),
        ("c\u0327a", "imported-ca"),
        ("\u00f1and\u00fa", "nandu"),
        ("\u732b", "imported"),
        ("t", "t"),
        ("\u00c6r\u00f8", "AEro"),
    ],
)
def test_names_of_files_become_names_of_words(text, name):
    assert safe_name(text) == name


def test_a_name_that_is_asked_for_is_checked(sent, folder):
    (offer,), _ = look(save_pair(pair(), sent))
    for name in ("../x", "a b", "x-neg", "nul", "x" * 65):
        with pytest.raises(SettingError):
            accept(offer, folder, name)
    assert not folder.exists()


def test_a_half_finds_its_other_half_in_the_folder_but_not_a_strangers(sent, folder):
    paths = save_pair(pair(), sent)
    offers = [look([path])[0][0] for path in paths]
    accept(offers[1], folder)
    accept(offers[0], folder)
    assert pair_id(load_pair(folder, "mycat")) == pair_id(pair())
    (other,) = look(save_pair(pair(seed=4), sent / "other")[:1])[0]
    with pytest.raises(SettingError, match="the name mycat is taken"):
        accept(other, folder, "mycat")
    accept(other, folder, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["mycat.pt"]
