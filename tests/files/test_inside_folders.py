"""Words in folders inside the embeddings folder: found, paired, renamed, replaced, thrown away and brought back."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.files.below import MOST_DEPTH, entries_below
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.card_files import cards_in, files_of_word
from dreamartist_ext.files.concepts.changes import rename
from dreamartist_ext.files.concepts.index import FactsCache, concepts_in
from dreamartist_ext.files.concepts.trash import bring_back, find_concept, list_concepts, list_trash, throw_away
from dreamartist_ext.files.earlier import trainings_of
from dreamartist_ext.files.importing import accept, look
from dreamartist_ext.files.pairing import Pairing, words_of
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import embedding_files, find_embedding, load_pair, save_pair
from dreamartist_ext.hosts.diffusers.generation import with_learned_words

from .test_storage import pair


@pytest.fixture
def folder(tmp_path):
    save_pair(pair(), tmp_path / "embeddings" / "cats" / "tame")
    return tmp_path / "embeddings"


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_drives_root_has_its_trainings_inside():
    assert trainings_of(Path("/")) == Path("/dreamartist-training")
    assert trainings_of(Path("/a/embeddings")) == Path("/a/embeddings-training")


def test_it_is_found_and_paired(folder):
    assert find_embedding(folder, "MyCat") == folder / "cats" / "tame" / "mycat.pt"
    assert load_pair(folder, "mycat").negative is not None
    (folder / "cats" / "tame" / "mycat-neg.pt").rename(folder / "other.pt")
    assert Pairing(words_of(embedding_files(folder))).negative_of("mycat") == "other"
    assert load_pair(folder, "mycat").negative is not None


class Letters:
    """A host whose tokens are letters."""

    widths = {"clip": 768}  # noqa: RUF012
    name = "letters"

    @staticmethod
    def token_ids(text):
        return [ord(letter) for letter in text.lower()]


def test_generate_knows_it_and_brings_its_negative(folder):
    words = with_learned_words(Letters(), folder, "a photo of mycat", "blurry")
    assert (words.negative_prompt, words.added) == ("blurry, mycat-neg", ("mycat-neg",))


def test_it_is_listed_and_its_name_is_taken(folder):
    assert [concept.name for concept in concepts_in(folder)] == ["mycat"]
    (about,) = list_concepts(folder, FactsCache())
    assert about["has_negative"]
    with pytest.raises(SettingError, match="taken by"):
        RunFiles(folder, "mycat").check_free()


def test_a_card_inside_is_a_word(folder):
    (folder / "cats" / "x.png").write_bytes(card_bytes(replace(pair(), name="carded"), Image.new("RGB", (9, 9))))
    assert cards_in(folder) == {folder / "cats" / "x.png": "carded"}
    assert files_of_word(folder, "carded") == [folder / "cats" / "x.png"]


def test_it_is_renamed_where_it_lies(folder):
    rename(folder, find_concept(folder, "mycat"), "tom")
    assert names(folder) == ["cats/tame/tom-neg.pt", "cats/tame/tom.pt"]


def test_it_comes_back_from_the_trash_to_where_it_lay(folder):
    throw_away(RunFiles(folder, "mycat"))
    assert names(folder) == []
    assert [thrown.name for thrown in list_trash(folder)] == ["mycat"]
    bring_back(RunFiles(folder, "mycat"))
    assert names(folder) == ["cats/tame/mycat-neg.pt", "cats/tame/mycat.pt"]
    assert list_trash(folder) == []


def test_it_is_replaced_where_it_lies(folder, tmp_path):
    new = EmbeddingPair("mycat", {"clip": torch.zeros(1, 768)}, {"clip": torch.ones(1, 768)})
    RunFiles(folder, "mycat").put_in_use(new)
    assert names(folder) == ["cats/tame/mycat-neg.pt", "cats/tame/mycat.pt"]
    assert torch.equal(load_pair(folder, "mycat").positive["clip"], torch.zeros(1, 768))
    ((offer,), _) = look(save_pair(pair(), tmp_path / "sent"))
    accept(offer, folder, overwrite=True)
    assert names(folder) == ["cats/tame/mycat-neg.pt", "cats/tame/mycat.pt"]
    assert torch.equal(load_pair(folder, "mycat").positive["clip"], pair().positive["clip"])


def test_of_two_files_of_a_word_the_one_inside_is_read_as_in_the_webui(folder):
    save_pair(EmbeddingPair("mycat", {"clip": torch.zeros(1, 768)}), folder)
    assert find_embedding(folder, "mycat") == folder / "cats" / "tame" / "mycat.pt"
    assert words_of(embedding_files(folder))["mycat"] == folder / "cats" / "tame" / "mycat.pt"
    assert concepts_in(folder)[0].positive.path == folder / "cats" / "tame" / "mycat.pt"


def test_a_folder_that_may_not_be_entered_is_left_out(folder, monkeypatch):
    (folder / "secret").mkdir()
    real = os.scandir
    refuse = PermissionError(13, "Permission denied")

    def scandir(path):
        if "secret" in str(path):
            raise refuse
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert find_embedding(folder, "mycat") is not None
    assert [concept.name for concept in concepts_in(folder)] == ["mycat"]


def test_links_in_a_circle_and_deep_folders_come_to_an_end(folder):
    (folder / "cats" / "round").symlink_to(folder)
    deep = folder.joinpath(*["d"] * (MOST_DEPTH + 3))
    deep.mkdir(parents=True)
    shutil.copy(folder / "cats" / "tame" / "mycat.pt", deep / "deep.pt")
    assert sorted(entry.name for entry in entries_below(folder, (".pt",))) == ["mycat-neg.pt", "mycat.pt"]


def test_what_was_interrupted_inside_is_finished(folder, monkeypatch):
    from dreamartist_ext.files import atomic
    from dreamartist_ext.files.moves import repair

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.setattr(atomic, "_put", killed)
    monkeypatch.setattr(atomic, "_undo", lambda *_: None)
    new = EmbeddingPair("mycat", {"clip": torch.zeros(1, 768)}, {"clip": torch.ones(1, 768)})
    with pytest.raises(Killed):
        RunFiles(folder, "mycat").put_in_use(new)
    monkeypatch.undo()
    repair(folder)
    assert torch.equal(load_pair(folder, "mycat").positive["clip"], torch.zeros(1, 768))
    assert names(folder) == ["cats/tame/mycat-neg.pt", "cats/tame/mycat.pt"]
