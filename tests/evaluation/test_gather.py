"""Pairs, pictures and prompts, found or refused in one sentence."""

from __future__ import annotations

import json

import pytest

from dreamartist_ext.engine.errors import DreamArtistError, FileError, SettingError
from dreamartist_ext.evaluation.gather import References, concept_of, files_of, names_in, other_pictures
from dreamartist_ext.evaluation.plan import Plan, groups_of
from dreamartist_ext.evaluation.prompt_lists import EMBEDDED, GENERAL, Edit, PromptLists, filled, load_lists
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import save_pair

from .studio import a_concept, a_pair, a_picture


@pytest.fixture(params=["*", "1 2 3"])
def start_of_mydog(request):
    return request.param


@pytest.fixture
def embeddings(tmp_path, start_of_mydog):
    folder = tmp_path / "embeddings"
    for number, (name, start) in enumerate((("mycat", "cat"), ("mydog", start_of_mydog))):
        settings = json.dumps({"initialization_text": start})
        save_pair(a_pair(name, number, settings=settings), folder)
    return folder


def test_a_folder_is_all_of_its_pairs_and_a_name_is_one(embeddings):
    assert names_in(embeddings) == ["mycat", "mydog"]
    assert [files.name for files in files_of([str(embeddings)], embeddings / "none")] == ["mycat", "mydog"]
    (files,) = files_of(["mydog"], embeddings)
    assert files.out == embeddings


def test_a_lone_negative_is_a_word_too(embeddings):
    (embeddings / "mydog.pt").unlink()
    assert names_in(embeddings) == ["mycat", "mydog-neg"]


def test_the_same_name_twice_is_refused(embeddings):
    with pytest.raises(SettingError, match="MyCat was given twice"):
        files_of([str(embeddings), "MyCat"], embeddings)


def test_a_missing_reference_is_one_sentence_that_says_what_to_give(embeddings):
    with pytest.raises(FileError) as refused:
        References.parse([]).find(RunFiles(embeddings, "mycat"), is_only=True)
    assert str(refused.value) == (
        "there is no picture of mycat to compare with; give the one that it was learned from."
    )
    assert refused.value.remedy == "picture of it"
    with pytest.raises(FileError, match=r"there is no picture .*nothing.png"):
        References.parse(["mycat=nothing.png"])


def test_references_by_name_in_a_folder_alone_and_beside_the_training(embeddings, tmp_path):
    files = RunFiles(embeddings, "mycat")
    kept = files.folder / "pictures" / "001-photo.png"
    kept.parent.mkdir(parents=True)
    a_picture("red").save(kept)
    a_picture("red").save(kept.with_stem("001-photo_att"))
    assert References.parse([]).find(files, True) == kept
    single = tmp_path / "photo.png"
    a_picture("blue").save(single)
    assert References.parse([str(single)]).find(files, True) == single
    assert References.parse([str(single)]).find(files, False) == kept
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("MyCat", "owl"):
        a_picture("green").save(folder / f"{name}.png")
    assert References.parse([str(folder)]).find(files, False) == folder / "MyCat.png"
    assert References.parse([str(folder), f"mycat={single}"]).find(files, False) == single
    concept = concept_of(files, a_picture("blue"), 64)
    assert list(other_pictures(References.parse([str(folder)]), [concept], 64)) == ["owl"]


def test_the_plain_word_is_what_the_training_started_from(embeddings):
    def word_of(name, *given):
        return concept_of(RunFiles(embeddings, name), a_picture("red"), 64, *given).plain_word

    assert [word_of("mycat"), word_of("mydog"), word_of("mydog", "dog")] == ["cat", "thing", "dog"]


@pytest.mark.parametrize("folder", [EMBEDDED, GENERAL])
def test_the_shipped_lists_can_be_drawn(folder):
    lists = load_lists(folder)
    assert all(len(list_) >= 3 for list_ in (lists.subjects, lists.styles, lists.editing, lists.composition))
    assert Edit(None, lists.editing[-1].prompt) in lists.editing


def test_lists_are_read_as_people_write_them(tmp_path):
    (tmp_path / "subjects.txt").write_bytes(b"\xef\xbb\xbf# mine\r\n\r\n  a [name] \r\n")
    assert load_lists(tmp_path) == PromptLists(subjects=("a [name]",))
    (tmp_path / "subjects.txt").write_bytes("a [name],\u2028red\ra\x0c[name]".encode())
    assert load_lists(tmp_path) == PromptLists(subjects=("a [name], red", "a [name]"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("subjects", "a cat", "subjects.txt, line 1: .name. must be in it 1 times"),
        ("subjects", "\nmy[name]s", "subjects.txt, line 2: .name. must stand apart"),
        ("styles", "[name] and [name]", "styles.txt, line 1"),
        ("composition", "a [name]", "must be in it 2 or 3 times"),
        ("editing", "a [name]", "START => PROMPT"),
        ("editing", "[name] => a [name]", "START => PROMPT"),
        ("subjects", "a [name]\x07", "do not print"),
        ("subjects", "# nothing", "there is no list of prompts"),
        ("subjects", "a [name]\n" * 201, "200 is the most"),
    ],
)
def test_a_bad_line_is_named(tmp_path, name, text, said):
    (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(DreamArtistError, match=said):
        load_lists(tmp_path)


def test_names_are_filled_in_as_they_are():
    assert filled("[name], [name] and [name]", "a", "b", "c") == "a, b and c"
    assert filled("a [name] by [name]", r"\1") == r"a \1 by \1"
    assert filled("[name] and [name]", "[name]", "b") == "[name] and b"


def test_groups_are_neighbours_and_none_comes_twice():
    concepts = [a_concept(name, "red") for name in ("ab", "cd", "ef")]
    twos = [tuple(c.name for c in group) for group in groups_of(concepts, 2)]
    assert twos == [("ab", "cd"), ("cd", "ef"), ("ef", "ab")]
    assert len(groups_of(concepts, 3)) == len(groups_of(concepts[:2], 2)) == 1
    assert groups_of(concepts[:1], 2) == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"seeds": ()}, "seeds must be 1 to 64, got 0"),
        ({"guidances": ()}, "the guidance must be"),
        ({"guidances": (-1.0,)}, "the guidance must be"),
        ({"steps": 0}, "steps must be 1 to 500, got 0"),
        ({"strengths": (0.0,)}, "strengths must be above 0"),
    ],
)
def test_a_plan_that_cannot_be_drawn_is_refused(setting, said):
    with pytest.raises(SettingError, match=said):
        Plan(PromptLists(subjects=("a [name]",)), **setting)
