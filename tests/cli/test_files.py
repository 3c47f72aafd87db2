"""inspect, convert and rename as a user meets them: exit statuses, sentences, files."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from PIL import Image

from dreamartist_ext.__main__ import main
from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.engine.errors import DreamArtistError
from dreamartist_ext.files import atomic
from dreamartist_ext.files.card import card_bytes, read_card
from dreamartist_ext.files.storage import load_embedding, load_pair, save_pair

from ..files.test_storage import Gadget, pair, torch_bytes, zipped_pickle
from .test_cli import files, run


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exit_status(monkeypatch, capsys, *arguments) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["dreamartist", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0), capsys.readouterr().err
    return 0, capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".png"])
def test_inspect_tells_both_halves_of_a_pair_from_any_of_its_files(here, suffix):
    if suffix == ".png":
        (here / "mycat.png").write_bytes(card_bytes(pair(), Image.new("RGB", (9, 9), "red")))
    else:
        save_pair(pair(), here, suffix)
    out = run("inspect", f"mycat{suffix}")
    for fact in (
        "for      SD 1",
        "positive 3 x 768",
        "negative 6 x 768",
        "step     120",
        "model    tiny",
        pair_id(pair()),
    ):
        assert fact in out
    if suffix != ".png":
        (here / f"mycat-neg{suffix}").rename(here / f"other{suffix}")
        assert "negative 6 x 768" in run("inspect", f"mycat{suffix}"), "known by its pair's id"
        assert "positive 3 x 768" in run("inspect", f"other{suffix}")


REFUSED = {
    "empty.pt": b"",
    "nan.pt": torch_bytes({"string_to_param": {"*": torch.full((2, 768), float("nan"))}}),
    "gadget.pt": zipped_pickle({"string_to_param": Gadget()}),
    "lie.pt": b"\x40\0\0\0\0\0\0\0{" + b" " * 63,
    "lie.safetensors": torch_bytes({"string_to_param": {"*": torch.ones(2, 768)}}),
    "none.pt": torch_bytes({"string_to_param": {"*": torch.zeros(0, 768)}}),
    "many.pt": torch_bytes({"string_to_param": {"*": torch.zeros(10_000, 768)}}),
    "photo.jpg": b"\xff\xd8\xff",
    "words.txt": b"hello",
}


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_what_is_refused_is_one_sentence_and_exit_status_2(here, monkeypatch, capsys, name, command):
    (here / name).write_bytes(REFUSED[name])
    more = ("out.pt",) if command == "convert" else ()
    status, sentence = exit_status(monkeypatch, capsys, command, name, *more)
    assert (status, sentence.count("\n"), name in sentence) == (2, 1, True)
    assert files(here) == [name]


def test_a_missing_file_is_said(here, monkeypatch, capsys):
    assert exit_status(monkeypatch, capsys, "inspect", "nowhere.pt") == (
        2,
        "dreamartist: nowhere.pt could not be read: No such file or directory.\n",
    )


def test_halves_that_are_not_what_they_say_they_are_a_lie(here, monkeypatch, capsys):
    save_pair(pair(), here)
    content = torch.load(here / "mycat.pt", weights_only=True)
    content["string_to_param"]["*"][0, 0] += 1
    torch.save(content, here / "mycat.pt")
    status, sentence = exit_status(monkeypatch, capsys, "inspect", "mycat.pt")
    assert (status, "are not the vectors that they say they are" in sentence) == (2, True)


def test_a_pair_goes_around_all_formats_and_comes_back(here):
    save_pair(pair(), here / "a")
    run("convert", "a/mycat.pt", "b/mycat.safetensors")
    run("convert", "b/mycat.safetensors", "c/mycat.png")
    run("convert", "c/mycat.png", "d/mycat.pt")
    assert [path.name for path in sorted((here / "b").iterdir())] == ["mycat-neg.safetensors", "mycat.safetensors"]
    assert pair_id(read_card(here / "c" / "mycat.png")) == pair_id(pair())
    for name in ("mycat.pt", "mycat-neg.pt"):
        assert (here / "a" / name).read_bytes() == (here / "d" / name).read_bytes()


def test_convert_keeps_what_is_there_unless_told(here):
    save_pair(pair(), here)
    save_pair(pair(seed=5), here / "out")
    before = (here / "out" / "mycat.pt").read_bytes()
    with pytest.raises(DreamArtistError, match=r"mycat\.pt is there already; choose another name, or --overwrite it"):
        run("convert", "mycat.pt", "out/mycat.pt")
    assert (here / "out" / "mycat.pt").read_bytes() == before
    run("convert", "mycat.pt", "out/mycat.pt", "--overwrite")
    assert pair_id(load_pair(here / "out", "mycat")) == pair_id(pair())
    for bad, sentence in (("x.exe", "OUT must end in"), ("a b.pt", "name must be"), ("x-neg.pt", "must not end with")):
        with pytest.raises(DreamArtistError, match=sentence):
            run("convert", "mycat.pt", bad)


@pytest.mark.parametrize("suffix", [".safetensors", ".png"])
def test_convert_says_that_the_other_half_is_damaged(here, suffix):
    _, negative = save_pair(pair(), here)
    negative.write_bytes(b"\x80damaged")
    with pytest.raises(DreamArtistError, match=r"the other half cannot be used: mycat-neg\.pt"):
        run("convert", "mycat.pt", f"out/mycat{suffix}")
    assert not (here / "out").exists()


def test_what_convert_overwrites_is_kept_like_what_an_import_overwrites(here):
    save_pair(pair(), here)
    before = [path.read_bytes() for path in save_pair(pair(seed=5), here / "out")]
    with pytest.raises(DreamArtistError, match=r"mycat\.pt is there already"):
        run("convert", "mycat.pt", "out/mycat.safetensors")
    run("convert", "mycat.pt", "out/mycat.safetensors", "--overwrite")
    assert files(here / "out") == ["mycat-neg.safetensors", "mycat.safetensors"]
    (kept,) = (here / "out-training" / "_trash").iterdir()
    assert [(kept / name).read_bytes() for name in ("mycat.pt", "mycat-neg.pt")] == before


def test_a_single_file_gets_no_foreign_negative_beside_it(here):
    save_pair(pair(negative=0), here, stem="single")
    (positive, _) = save_pair(pair(seed=5), here / "out")
    positive.unlink()
    with pytest.raises(DreamArtistError, match=r"mycat-neg\.pt is there already"):
        run("convert", "single.pt", "out/mycat.pt")
    run("convert", "single.pt", "out/mycat.pt", "--overwrite")
    assert files(here / "out") == ["mycat.pt"]


def test_what_is_converted_in_its_own_folder_stays_there(here):
    (here / "a").mkdir()
    save_pair(pair(), here / "a")
    run("convert", "a/mycat.pt", "a/mycat.safetensors")
    assert files(here / "a") == ["mycat-neg.pt", "mycat-neg.safetensors", "mycat.pt", "mycat.safetensors"]


def test_a_lone_positive_stays_the_half_of_its_pair_and_finds_its_negative(here):
    _, negative = save_pair(pair(), here)
    (here / "out").mkdir()
    negative.rename(here / "out" / "mycat-neg.pt")
    run("convert", "mycat.pt", "out/mycat.pt")
    assert pair_id(load_pair(here / "out", "mycat")) == load_embedding(here / "out" / "mycat.pt").provenance["pair"]


def interrupted(folder):
    """A folder in which a process died after the first of the two files of a pair over an earlier one."""
    save_pair(pair(seed=5), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamartist_ext.files.atomic._undo", lambda change, before: None)
        put, calls = atomic._put, []

        def die(*arguments):
            calls.append(arguments)
            if len(calls) == 2:
                raise KeyboardInterrupt
            put(*arguments)

        patch.setattr("dreamartist_ext.files.atomic._put", die)
        with pytest.raises(KeyboardInterrupt):
            save_pair(pair(), folder)


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "e/mycat.pt"),
        ("convert", "e/mycat.pt", "out/mycat.safetensors"),
        ("convert", "x.pt", "e/other.pt"),
        ("rename", "--embeddings", "e", "mycat", "tom"),
    ],
)
def test_each_command_finishes_first_what_a_killed_one_had_begun(here, command):
    interrupted(here / "e")
    save_pair(pair(negative=0), here, stem="x")
    run(*command)
    name = "tom" if command[0] == "rename" else "mycat"
    assert pair_id(load_pair(here / "e", name)) == pair_id(pair())
    assert not list((here / "e").glob(".*"))


def test_the_half_of_the_name_is_found_among_any_number_of_files(here, monkeypatch):
    monkeypatch.setattr("dreamartist_ext.files.reading._MOST_SEARCHED", 1)
    save_pair(pair(), here)
    save_pair(pair(negative=0, seed=5), here, stem="another")
    assert "negative 6 x 768" in run("inspect", "mycat.pt")


def test_a_card_shows_the_picture_that_is_given(here):
    save_pair(pair(), here)
    Image.new("RGB", (64, 64), (250, 10, 10)).save(here / "red.png")
    run("convert", "mycat.pt", "card.png", "--picture", "red.png")
    run("convert", "mycat.pt", "plain.png")
    assert Image.open(here / "card.png").getpixel((384, 384)) == (250, 10, 10)
    assert read_card(here / "card.png").name == "card"


def test_a_lone_half_is_converted_alone(here):
    positive, negative = save_pair(pair(), here)
    positive.unlink()
    run("convert", negative, "out/mycat.safetensors")
    half = load_embedding(here / "out" / "mycat-neg.safetensors")
    assert (half.provenance["half"], half.provenance["pair"]) == ("negative", pair_id(pair()))
    with pytest.raises(DreamArtistError, match="a card needs the positive one"):
        run("convert", negative, "out/mycat.png")


def test_sdxl_becomes_no_pt(here):
    both = {"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}
    save_pair(EmbeddingPair("xl", both, both), here)
    run("convert", "xl.safetensors", "xl.png")
    assert pair_id(read_card(here / "xl.png")) == pair_id(load_pair(here, "xl"))
    with pytest.raises(DreamArtistError, match=r"SDXL embeddings are \.safetensors"):
        run("convert", "xl.png", "xl.pt")


def test_rename_takes_both_files_and_their_training(here):
    save_pair(pair(), here / "embeddings")
    (here / "embeddings-training" / "mycat").mkdir(parents=True)
    (here / "embeddings-training" / "mycat" / "mycat-000100.pt").write_bytes(b"kept")
    assert run("rename", "mycat", "tom").splitlines()[0] == "mycat is called tom now."
    assert [path.name for path in sorted((here / "embeddings").iterdir())] == ["tom-neg.pt", "tom.pt"]
    assert (here / "embeddings-training" / "tom" / "tom-000100.pt").read_bytes() == b"kept"
    save_pair(pair(), here / "embeddings")
    for arguments, sentence in (
        (("mycat", "tom"), "the name tom is taken"),
        (("mycat", "../tom"), "name must be letters"),
        (("nothing", "x"), "there is no concept nothing"),
    ):
        with pytest.raises(DreamArtistError, match=sentence):
            run("rename", *arguments)


def test_a_strangers_text_reaches_the_terminal_without_control_characters(here):
    about = {"model": "\x1b[31mred\u202e", "settings": json.dumps({})}
    (path, _) = save_pair(
        EmbeddingPair("x", {"clip": torch.ones(1, 768)}, {"clip": torch.ones(1, 768)}, 1, about), here
    )
    out = run("inspect", path)
    assert ("\x1b" in out, "\u202e" in out, "?[31mred?" in out) == (False, False, True)


@pytest.mark.parametrize("typed", ["hound", "cat"])
def test_rename_takes_the_half_of_another_name_along(here, typed):
    positive, negative = save_pair(pair(), here / "embeddings")
    positive.rename(here / "embeddings" / "hound.pt")
    negative.rename(here / "embeddings" / "cat-neg.pt")
    run("rename", typed, "tom")
    assert files(here / "embeddings") == ["tom-neg.pt", "tom.pt"]
    assert pair_id(load_pair(here / "embeddings", "tom")) == pair_id(pair())


def test_rename_leaves_a_half_of_another_training_where_it_is(here):
    save_pair(pair(), here / "embeddings")
    (here / "embeddings" / "mycat-neg.pt").rename(here / "embeddings" / "lost.pt")
    save_pair(pair(seed=5), here / "other")
    (here / "other" / "mycat-neg.pt").rename(here / "embeddings" / "mycat-neg.pt")
    run("rename", "mycat", "tom")
    assert files(here / "embeddings") == ["mycat-neg.pt", "tom-neg.pt", "tom.pt"]
    assert pair_id(load_pair(here / "embeddings", "tom")) == pair_id(pair())


@pytest.mark.parametrize("copied", ["mycat", "mycat-neg"])
def test_rename_of_a_copy_leaves_the_pair_that_it_was_copied_from_whole(here, copied):
    save_pair(pair(), here / "embeddings")
    copy = copied.replace("mycat", "spare")
    shutil.copy(here / "embeddings" / f"{copied}.pt", here / "embeddings" / f"{copy}.pt")
    run("rename", "spare", "tom")
    assert files(here / "embeddings") == sorted(["mycat-neg.pt", "mycat.pt", f"{copy.replace('spare', 'tom')}.pt"])


def test_rename_refuses_two_spellings_of_one_word(here):
    save_pair(pair(), here / "embeddings")
    shutil.copy(here / "embeddings" / "mycat.pt", here / "embeddings" / "MyCat.pt")
    if len(files(here / "embeddings")) < 3:
        pytest.skip("the file system knows no two spellings")
    with pytest.raises(DreamArtistError, match="is in the way"):
        run("rename", "mycat", "tom")
    assert files(here / "embeddings") == ["MyCat.pt", "mycat-neg.pt", "mycat.pt"]


def test_rename_gives_the_other_half_its_name_back(here):
    save_pair(pair(), here / "embeddings")[1].rename(here / "embeddings" / "foo.pt")
    run("rename", "mycat", "mycat")
    assert files(here / "embeddings") == ["mycat-neg.pt", "mycat.pt"]
    with pytest.raises(DreamArtistError, match="mycat is its name already"):
        run("rename", "mycat", "mycat")
