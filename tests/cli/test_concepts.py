"""list, delete, restore, share: the concepts of a folder, for a person and for a program."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from click.testing import CliRunner
from PIL import Image

from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.embedding import pair_id
from dreamartist_ext.engine.errors import DreamArtistError, SettingError
from dreamartist_ext.files.card import read_card
from dreamartist_ext.files.concepts import thumbnails
from dreamartist_ext.files.concepts.index import facts_of
from dreamartist_ext.files.storage import load_pair, save_pair

from ..files.test_storage import pair
from .test_cli import files, run
from .test_endings import ended


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pair(pair(), tmp_path / "embeddings")
    return tmp_path


def test_list_says_family_vectors_step_and_date_and_what_is_damaged(here):
    (here / "embeddings" / "mydog.pt").write_bytes(b"use_negative, but damaged")
    said = run("list").splitlines()
    assert said[0].startswith("mydog: ")
    assert said[1].split() == ["name", "for", "vectors", "step", "date"]
    assert said[2].startswith("mycat  Stable Diffusion 1  3 + 6    120   20")
    rows = {row["name"]: row for row in json.loads(stdout_of("list", "--json"))}
    assert rows["mycat"]["vectors"] == 3
    assert rows["mycat"]["negative_vectors"] == 6
    assert rows["mycat"]["for"] == "Stable Diffusion 1"
    assert rows["mydog"]["problem"]


def stdout_of(*arguments: str) -> str:
    result = CliRunner().invoke(dreamartist, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.stdout


def test_list_of_an_empty_folder_says_what_to_do(here):
    said = run("list", "--embeddings", "nowhere")
    assert 'There is no concept in "nowhere"; "dreamartist train photo.png --name mycat" makes one.' in said
    assert json.loads(stdout_of("list", "--embeddings", "nowhere", "--json")) == []
    assert stdout_of("list", "--embeddings", "nowhere", "--quiet") == ""


def test_delete_moves_into_the_trash_and_restore_brings_it_back_with_its_picture(here):
    before = pair_id(load_pair(here / "embeddings", "mycat"))
    key = facts_of(here / "embeddings" / "mycat.pt").key
    picture = thumbnails.path_of(here / "embeddings", key)
    Image.new("RGB", (64, 64), "red").save(here / "red.png")
    thumbnails.keep(here / "embeddings", key, (here / "red.png").read_bytes())
    said = run("delete", "MYCAT", "--yes")
    assert said == 'mycat is in the trash now; "dreamartist restore mycat" brings it back.\n'
    assert files(here / "embeddings") == []
    assert not picture.exists()
    assert "mycat  deleted 20" in run("list", "--trash")
    assert json.loads(stdout_of("list", "--trash", "--json"))[0]["name"] == "mycat"
    assert run("restore", "mycat") == "mycat is back.\n"
    assert pair_id(load_pair(here / "embeddings", "mycat")) == before
    assert picture.exists()
    assert "is empty" in run("list", "--trash")
    with pytest.raises(DreamArtistError, match="the trash holds nothing of mycat"):
        run("restore", "mycat")


def test_what_delete_says_brings_it_back_from_another_folder(here):
    save_pair(pair(), here / "my pairs")
    said = run("delete", "mycat", "--yes", "--embeddings", "my pairs")
    assert "dreamartist restore mycat --embeddings 'my pairs'" in said
    run("restore", "mycat", "--embeddings", "my pairs")
    assert files(here / "my pairs") == ["mycat-neg.pt", "mycat.pt"]


def test_delete_asks_and_takes_no_for_an_answer(here, monkeypatch):
    with pytest.raises(SettingError, match="nobody is there to be asked whether to delete mycat; say it with --yes"):
        run("delete", "mycat")
    monkeypatch.setattr("dreamartist_ext.cli.delete._is_there_somebody", lambda: True)
    result = CliRunner().invoke(dreamartist, ["delete", "mycat"], input="n\n", standalone_mode=False)
    assert type(result.exception).__name__ == "Abort"
    assert files(here / "embeddings") == ["mycat-neg.pt", "mycat.pt"]
    result = CliRunner().invoke(dreamartist, ["delete", "mycat"], input="y\n", standalone_mode=False)
    assert (result.exception, files(here / "embeddings")) == (None, [])


def test_delete_of_several_is_of_all_or_none(here):
    with pytest.raises(DreamArtistError, match="there is no concept nobody"):
        run("delete", "mycat", "nobody", "--yes")
    assert files(here / "embeddings") == ["mycat-neg.pt", "mycat.pt"]
    (here / "embeddings" / "mycat.pt").write_bytes(b"damaged")
    assert json.loads(stdout_of("delete", "mycat", "--yes", "--json"))[0]["name"] == "mycat"
    assert files(here / "embeddings") == []


def test_share_writes_a_card_or_files_and_nothing_over_others(here):
    assert run("share", "mycat") == "Written to shared: mycat.png\n"
    assert pair_id(read_card(here / "shared" / "mycat.png")) == pair_id(pair())
    with pytest.raises(DreamArtistError, match=r'mycat\.png is in "shared" already; choose another folder'):
        run("share", "mycat")
    run("share", "mycat", "--overwrite")
    answer = json.loads(stdout_of("share", "mycat", "--files", "--out", "gift", "--json"))
    assert answer == {"folder": "gift", "files": ["mycat.safetensors", "mycat-neg.safetensors"]}
    assert pair_id(load_pair(here / "gift", "mycat")) == pair_id(pair())


def test_rename_and_inspect_answer_a_program(here):
    assert json.loads(stdout_of("rename", "mycat", "tom", "--json")) == {"old": "mycat", "new": "tom"}
    about = json.loads(stdout_of("inspect", "embeddings/tom.pt", "--json"))
    assert about["for"] == "SD 1"
    assert [(half["side"], half["vectors"]) for half in about["halves"]] == [("positive", 3), ("negative", 6)]
    assert about["step"] == 120


def test_a_mistake_leaves_a_programs_answer_empty(here, monkeypatch, capsys):
    status, error = ended(monkeypatch, capsys, "rename", "nobody", "tom", "--json")
    assert (status, error) == (2, "dreamartist: there is no concept nobody.\n")
    assert capsys.readouterr().out == ""
    assert sys.stdout is not None


HOSTILE = [b"caf\xe9", b"two\nlines", b"\x1b[2J\x1b[8m", "\u202egnp".encode(), b"-dash", b"--help", b"x" * 252]


@pytest.fixture(params=HOSTILE, ids=ascii)
def hostile(here, request):
    """A concept of a name that no keyboard has."""
    for half in ("", "-neg"):
        content = (here / "embeddings" / f"mycat{half}.pt").read_bytes()
        with suppress(OSError):  # the negative's is too long
            (here / "embeddings" / f"{os.fsdecode(request.param)}{half}.pt").write_bytes(content)
    save_pair(replace(pair(), name="mycat", provenance={"settings": '{"use_negative": true}'}), here / "embeddings")
    long = here / "embeddings" / f"{'x' * 252}.pt"
    if long.exists():
        long.write_bytes((here / "embeddings" / "mycat.pt").read_bytes())
    return os.fsdecode(request.param)


def test_every_name_is_listed_deleted_and_restored_and_none_moves_the_cursor(here, hostile):
    rows = json.loads(stdout_of("list", "--json"))
    assert len(rows) == 2, rows
    said = "".join(
        [
            stdout_of("list"),
            stdout_of("delete", "--yes", "--", hostile),
            stdout_of("list", "--trash"),
            stdout_of("restore", "--", hostile),
            stdout_of("rename", "--", hostile, "renamed"),
        ]
    )
    assert all(line.isprintable() for line in said.split("\n")), said
    assert "renamed" in stdout_of("list")


def test_what_delete_says_brings_it_back(here):
    for name in ("-dash", "a b", "o'neill"):
        for half in ("", "-neg"):
            content = (here / "embeddings" / f"mycat{half}.pt").read_bytes()
            (here / "embeddings" / f"{name}{half}.pt").write_bytes(content)
        said = stdout_of("delete", "--yes", "--", name)
        command = shlex.split(said[said.index("dreamartist ") : said.rindex('"')])
        stdout_of(*command[1:])
        assert (here / "embeddings" / f"{name}.pt").exists()
