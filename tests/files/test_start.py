"""A training that begins from an embedding or a pair that is there, and one that goes on after its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import FileError, SettingError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.start import with_start
from dreamartist_ext.files.storage import load_pair, save_pair

from ..engine.fake_host import WIDTH, FakeHost
from ..engine.test_trainer import config, picture

VECTORS = torch.linspace(-1, 1, 4 * WIDTH).reshape(4, WIDTH)


@pytest.fixture
def folder(tmp_path):
    pair = EmbeddingPair("other", {"clip": VECTORS[:2]}, {"clip": VECTORS[1:]})
    save_pair(pair, tmp_path / "embeddings")
    return tmp_path / "embeddings"


def settings(**values):
    return replace(config(), **({"steps": 4, "name": "mycat"} | values))


def begun(folder, **values):
    """The pair before its first step."""
    training = Training(FakeHost(), settings(**values), [picture(0)])
    reports = run_to_files(training, RunFiles(folder, "mycat"))
    vectors = {}
    make_step = training._make_step

    def first(loss):
        vectors.update({word: half["clip"].detach().clone() for word, half in training.pair.named().items()})
        if training.average is not None:
            vectors["average"] = training.average.positive["clip"].clone()
        make_step(loss)

    training._make_step = first
    next(reports)
    reports.close()
    return vectors


def test_it_begins_from_both_halves_of_a_pair(folder):
    found = begun(folder, start_from="Other", vectors=2, negative_vectors=3, ema=0.9)
    assert torch.equal(found["mycat"].float(), VECTORS[:2])
    assert torch.equal(found["mycat-neg"].float(), VECTORS[1:])
    assert torch.equal(found["average"].float(), VECTORS[:2])


def test_a_single_embedding_is_the_positives_start_alone(folder):
    (folder / "other-neg.pt").unlink()
    found = begun(folder, start_from="other", vectors=2, negative_vectors=1)
    assert torch.equal(found["mycat"].float(), VECTORS[:2])
    assert len(found["mycat-neg"]) == 1


def test_a_card_and_a_file_in_a_folder_are_words_too(folder):
    pair = EmbeddingPair("carded", {"clip": VECTORS[:2]}, {"clip": VECTORS[1:]})
    (folder / "any.png").write_bytes(card_bytes(pair, Image.new("RGB", (9, 9))))
    assert torch.equal(begun(folder, start_from="carded", vectors=2, negative_vectors=3)["mycat"].float(), VECTORS[:2])


def test_the_settings_have_as_many_vectors_as_the_word(folder):
    assert with_start({"start_from": "other"}, folder) == {
        "start_from": "other",
        "vectors": 2,
        "negative_vectors": 3,
    }
    assert with_start({"start_from": "other", "vectors": 5}, folder)["vectors"] == 5
    assert with_start({"steps": 5}, folder) == {"steps": 5}


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"start_from": "nobody"}, FileError, "no embedding nobody"),
        ({"start_from": "../other"}, FileError, "no embedding ../other"),
        ({"start_from": "other", "vectors": 5}, SettingError, "vectors must be 2, the number of vectors of other"),
        ({"start_from": "wide", "vectors": 2}, SettingError, "start_from must be a word for"),
    ],
)
def test_what_cannot_be_begun_from_is_a_sentence_before_the_first_step(folder, values, kind, words):
    save_pair(EmbeddingPair("wide", {"clip": torch.ones(2, 768)}), folder)
    with pytest.raises(kind, match=words):
        begun(folder, **values)
    assert not list(folder.glob("mycat*"))


def test_it_goes_on_without_the_word_that_it_began_from(folder):
    values = {"start_from": "other", "vectors": 2, "negative_vectors": 3, "save_every": 2}
    begun(folder, **values)
    for path in folder.glob("other*"):
        path.unlink()
    files = RunFiles(folder, "mycat")
    training = Training(FakeHost(), settings(**values), [picture(0)])
    training.restore(files.last_snapshot())
    assert [report.step for report in run_to_files(training, files)] == [2, 3, 4]


@pytest.mark.parametrize("cosine", [False, True])
def test_a_training_that_is_over_takes_more_steps(folder, cosine):
    files = RunFiles(folder, "mycat")
    first = Training(FakeHost(), settings(cosine=cosine), [picture(0)])
    list(run_to_files(first, files))
    more = Training(FakeHost(), settings(cosine=cosine, steps=6), [picture(0)])
    more.restore(files.last_snapshot())
    assert [report.step for report in run_to_files(more, files)] == [5, 6]
    assert load_pair(folder, "mycat").step == 6


def test_a_training_under_way_keeps_its_cosine(folder):
    stopped = Training(FakeHost(), settings(cosine=True), [picture(0)])
    next(stopped.run())
    with pytest.raises(SettingError, match="started with steps 4"):
        Training(FakeHost(), settings(cosine=True, steps=6), [picture(0)]).restore(stopped.snapshot())
