"""Learned words in the tokenizers of SD.Next: only those of the files that are there, and those of LoRAs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tokenizers import AddedToken

from dreamartist_ext.hosts.sdnext.embeddings import reload_embeddings
from dreamartist_ext.hosts.sdnext.workplace import SDNextWorkplace
from tests.family_models import components

from .fake_sdnext import pipeline_of, running


class Database:
    """Its `load_textual_inversion_embeddings` in small: a token is added for each vector, and none ever taken out."""

    def __init__(self, pipeline, files):
        self.pipeline, self.files = pipeline, files
        self.ids_lookup, self.word_embeddings, self.skipped_embeddings = {}, {}, {}

    def load_textual_inversion_embeddings(self, force_reload):
        assert force_reload
        self.word_embeddings.clear()
        for name, rows in self.files.items():
            self.put(name, rows, f"/embeddings/{name}.pt")

    def put(self, name, rows, filename):
        tokenizer, encoder = self.pipeline.tokenizer, self.pipeline.text_encoder
        tokens = [name, *(f"{name}_{n}" for n in range(1, len(rows)))]
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
        if len(encoder.get_input_embeddings().weight) != len(tokenizer):
            encoder.resize_token_embeddings(len(tokenizer))
        for token, row in zip(tokens, rows, strict=True):
            encoder.get_input_embeddings().weight.data[tokenizer.convert_tokens_to_ids(token)] = row
        self.word_embeddings[name] = SimpleNamespace(name=name, tokens=tokens, filename=filename)


@pytest.fixture
def sdnext(monkeypatch, tmp_path):
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    pipeline.embedding_db = Database(pipeline, {})
    with running(monkeypatch, pipeline) as found:
        parser = SimpleNamespace(cache={"a prompt": 1}, token_dict={"a": 1})
        sys.modules["modules"].prompt_parser_diffusers = parser
        monkeypatch.setitem(sys.modules, "modules.prompt_parser_diffusers", parser)
        found.pipeline, found.parser = pipeline, parser
        yield found


def rows(count, number):
    return torch.full((count, 32), float(number))


def added(sdnext):
    tokenizer = sdnext.pipeline.tokenizer
    places = {token: place for token, place in tokenizer.get_vocab().items() if place >= tokenizer.vocab_size}
    table = sdnext.pipeline.text_encoder.get_input_embeddings().weight.detach()
    return {token: float(table[place].mean()) for token, place in places.items()}


def test_prompts_know_the_files_that_are_there_and_no_others(sdnext):
    files = sdnext.pipeline.embedding_db.files
    files |= {"cat1": rows(3, 1), "dog2": rows(1, 2)}
    reload_embeddings()
    assert added(sdnext) == {"cat1": 1, "cat1_1": 1, "cat1_2": 1, "dog2": 2}
    files["cat1"] = rows(2, 3)
    del files["dog2"]
    reload_embeddings()
    assert added(sdnext) == {"cat1": 3, "cat1_1": 3}
    assert list(sdnext.pipeline.embedding_db.word_embeddings) == ["cat1"]
    assert "dog2" not in sdnext.pipeline.tokenizer.tokenize("a dog2")
    assert sdnext.pipeline.tokenizer.tokenize("a cat1")[-1] == "cat1"


def test_a_word_that_a_lora_brought_along_keeps_its_vectors(sdnext):
    database = sdnext.pipeline.embedding_db
    database.files["cat1"] = rows(2, 1)
    reload_embeddings()
    database.put("bundled", rows(2, 7), None)
    del database.files["cat1"]
    reload_embeddings()
    assert added(sdnext) == {"bundled": 7, "bundled_1": 7}


def test_what_was_encoded_before_is_forgotten(sdnext):
    reload_embeddings()
    assert sdnext.parser.cache == {}
    assert sdnext.parser.token_dict is None


def test_without_a_model_nothing_is_read(sdnext):
    sdnext.data.sd_model = None
    reload_embeddings()
    assert sdnext.parser.cache, "not even the cache"


def test_the_vocabulary_stays_as_it_was(sdnext):
    tokenizer = sdnext.pipeline.tokenizer
    before = tokenizer("a cat, ((big)) <|endoftext|>").input_ids
    sdnext.pipeline.embedding_db.files["zzz"] = rows(2, 1)
    reload_embeddings()
    del sdnext.pipeline.embedding_db.files["zzz"]
    reload_embeddings()
    assert tokenizer("a cat, ((big)) <|endoftext|>").input_ids == before
    assert added(sdnext) == {}


def test_a_word_that_is_a_piece_of_others_leaves_them_whole(sdnext):
    """A file of any name may be there. SD.Next adds no row for one like this, but its tokenizer cuts words at it."""
    tokenizer = sdnext.pipeline.tokenizer
    before = tokenizer("a coat").input_ids
    sdnext.pipeline.embedding_db.files["o"] = rows(2, 1)
    reload_embeddings()
    assert tokenizer("a coat").input_ids != before
    del sdnext.pipeline.embedding_db.files["o"]
    reload_embeddings()
    assert tokenizer("a coat").input_ids == before
    assert added(sdnext) == {}


def test_a_word_whose_next_token_is_another_word_would_swallow_it(sdnext, monkeypatch):
    """SD.Next goes on for as long as it finds `name_1`, `name_2`, ..., whatever the files hold."""
    place = SDNextWorkplace()
    monkeypatch.setattr(SDNextWorkplace, "embeddings", Path("/embeddings"))
    sdnext.pipeline.embedding_db.files |= {"cat1": rows(2, 1), "fox_1": rows(1, 1), "year_2024": rows(1, 1)}
    reload_embeddings()
    assert 'for a part of the embedding "cat1"' in place.clash("cat1_2"), "the first that it does not have"
    assert place.clash("cat1_3") == ""
    assert 'take the embedding "fox_1" for a part of "fox"' in place.clash("fox")
    assert place.clash("fox_1") == place.clash("year") == ""


def test_a_token_of_the_model_is_no_name(sdnext):
    assert "its model has a token" in SDNextWorkplace().clash("o")
    sdnext.data.sd_model = None
    assert SDNextWorkplace().clash("o") == "", "nobody knows yet"


def test_names_by_their_tokens(sdnext, monkeypatch, tmp_path):
    place = SDNextWorkplace()
    sdnext.pipeline.embedding_db.files |= {"cat1": rows(2, 1)}
    reload_embeddings()
    monkeypatch.setattr(SDNextWorkplace, "embeddings", tmp_path)
    assert 'for a part of the embedding "cat1"' in place.clash("cat1_1")
    assert "there is an embedding" in place.clash("cat1"), "of another folder"
    assert place.clash("Cat1") == place.clash("cat1_3") == place.clash("cat") == ""
    monkeypatch.setattr(SDNextWorkplace, "embeddings", Path("/embeddings"))
    assert place.clash("cat1") == "", "our own, which may be replaced"
    assert place.is_one_token("cat")
    assert not place.is_one_token("cat1")
    assert not place.is_one_token("zyxwv")


def test_a_file_that_goes_while_the_folder_is_listed_fails_no_training(sdnext, monkeypatch):
    database = sdnext.pipeline.embedding_db
    database.files |= {"cat1": rows(2, 1)}
    whole, tried = Database.load_textual_inversion_embeddings, []

    def listed(self, force_reload):
        tried.append(self)
        if len(tried) == 1:
            raise FileNotFoundError("/embeddings/gone.pt")
        whole(self, force_reload)

    monkeypatch.setattr(Database, "load_textual_inversion_embeddings", listed)
    reload_embeddings()
    assert len(tried) == 2
    assert added(sdnext) == {"cat1": 1, "cat1_1": 1}
