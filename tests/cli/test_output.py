"""What a command says: to a person, to a program, to a pipe of any encoding, and where there is no terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from dreamartist_ext.cli import progress
from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import StoppedError
from dreamartist_ext.files import ordinary_words
from dreamartist_ext.files.storage import save_pair

from .test_cli import here, model, run, train  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]
STRANGE = "caf\u00e9 \u65e5\u672c \U0001f431 \u20ac"

# Every command that shows a user's or a stranger's text, in one process for each encoding.
SAYING = {
    "inspect": ["inspect", "embeddings/mycat.pt"],
    "list": ["list", "--embeddings", STRANGE],
    "list of nothing": ["list", "--embeddings", f"{STRANGE}2"],
    "share": ["share", "mycat", "--out", f"{STRANGE}3"],
    "convert": ["convert", "embeddings/mycat.pt", f"{STRANGE}4/mycat.safetensors"],
    "delete": ["delete", "mycat", "--yes", "--embeddings", STRANGE],
    "trash": ["list", "--trash", "--embeddings", STRANGE],
    "restore": ["restore", "mycat", "--embeddings", STRANGE],
    "rename": ["rename", STRANGE, "tom"],
    "train": ["train", f"{STRANGE}.png", "--name", "mycat"],
    "generate": ["generate", STRANGE, "--out", f"{STRANGE}.png", "--model", STRANGE],
    "evaluate": ["evaluate", STRANGE, "--reference", STRANGE],
    "train-many": ["train-many", f"{STRANGE}5"],
    "demo": ["demo", "--picture", STRANGE],
    "doctor": ["doctor", "--model", STRANGE],
    "usage": ["train", "x.png", f"--{STRANGE}"],
    "no such command": [STRANGE],
    "help": ["train", "--help"],
    "json": ["inspect", "embeddings/mycat.pt", "--json"],
}
# All of it for each encoding, in a folder of its own, with streams that raise for what does not fit them, as a
# terminal's and a pipe's do until the command line says otherwise.
SCRIPT = """
import io, json, os, sys
from pathlib import Path
from dreamartist_ext.__main__ import main
for encoding, cases in json.loads(sys.argv[1]).items():
    os.chdir(encoding)
    sys.stdout, sys.stderr = (io.TextIOWrapper(open(name, "wb"), encoding, "strict") for name in ("out", "err"))
    for arguments in cases:
        sys.argv = ["dreamartist", *arguments]
        try:
            main()
        except SystemExit as ended:
            print("ended", ended.code or 0, flush=True)
    sys.stderr.flush()
    os.chdir("..")
"""
ENCODINGS = ("cp1252", "latin-1", "gbk", "cp932", "ascii", "utf-8")
LIGHT = {"usage", "no such command", "help"}  # need no torch


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(folder), **more}


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> Path:
    """A folder for each encoding, with all that the commands said there."""
    top = tmp_path_factory.mktemp("said")
    about = {"model": STRANGE, "settings": json.dumps({"caption": STRANGE}, ensure_ascii=False)}
    halves = {"clip": torch.ones(1, 768)}, {"clip": torch.zeros(1, 768)}
    for encoding in ENCODINGS:
        for folder in ("embeddings", STRANGE):
            save_pair(EmbeddingPair("mycat", *halves, 1, about), top / encoding / folder)
    cases = {encoding: list(SAYING.values()) for encoding in ENCODINGS}
    command = [sys.executable, "-c", SCRIPT, json.dumps(cases)]
    result = subprocess.run(command, env=environment(top), cwd=top, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return top


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_text_is_too_strange_for_any_terminal(said, encoding):
    here = said / encoding  # noqa: F811
    out, error = ((here / name).read_bytes().decode(encoding) for name in ("out", "err"))
    assert "Traceback" not in error
    assert "unexpected" not in error
    statuses = dict(zip(SAYING, map(int, re.findall(r"^ended (\d+)\r?$", out, re.MULTILINE)), strict=True))
    well = ("inspect", "list", "list of nothing", "share", "convert", "delete", "trash", "restore", "help", "json")
    assert {name: status for name, status in statuses.items() if name in well} == dict.fromkeys(well, 0)
    assert {status for name, status in statuses.items() if name not in well} <= {1, 2}
    assert "caf" in out
    assert (here / f"{STRANGE}4" / "mycat.safetensors").exists(), "the work is not lost"
    answer = out[out.rindex("\n{") + 1 :].rpartition("ended")[0]
    assert json.loads(answer)["provenance"]["model"] == STRANGE


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_python_is_told_of_a_pipe_is_heard(tmp_path, encoding):
    for name in LIGHT:
        command = [sys.executable, "-m", "dreamartist_ext", *SAYING[name]]
        variables = environment(tmp_path, PYTHONIOENCODING=encoding)
        result = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, timeout=120)
        error = result.stderr.decode(encoding)
        assert result.returncode == (0 if name == "help" else 2), error
        assert "Traceback" not in error
        result.stdout.decode(encoding)


def test_train_tells_a_program_what_became_of_it(here, model):  # noqa: F811
    said = CliRunner().invoke(
        dreamartist,
        f"train photo.png --name mycat --model {model} --precision fp32 --steps 2 --save-every 1 --json".split(),
        standalone_mode=False,
    )
    assert said.exception is None
    answer = json.loads(said.stdout)
    assert (answer["name"], answer["finished"], answer["step"], answer["kept_step"]) == ("mycat", True, 2, 2)
    assert answer["files"] == ["embeddings/mycat.pt", "embeddings/mycat-neg.pt"]
    assert [check["step"] for check in answer["checks"]][-1] == 2


def test_quiet_says_nothing_and_json_nothing_else(here, model):  # noqa: F811
    assert train(model, "--steps", 2, "--quiet") == ""
    assert run("rename", "mycat", "tom", "--quiet") == ""
    assert run("generate", "a tom", "--model", model, "--steps", 1, "--out", "a.png", "-q") == ""
    result = CliRunner().invoke(
        dreamartist, ["generate", "a tom", "--model", str(model), "--steps", "1", "--json"], standalone_mode=False
    )
    assert json.loads(result.stdout) == {"files": ["picture.png"], "added": ["tom-neg"]}


def test_an_ordinary_word_as_a_name_is_said_and_taken(here, model):  # noqa: F811
    said = train(model, "--steps", 1, "--name", "cat")
    assert 'Note: "cat" is an ordinary word: every prompt with it will change.' in said
    assert (here / "embeddings" / "cat.pt").exists()
    assert "Note:" not in train(model, "--steps", 1, "--name", "myowncat")
    (here / "pictures").mkdir()
    for name in ("cat", "boy", "zzqqx"):
        (here / "photo.png").replace(here / "pictures" / f"{name}.png")
        (here / "photo.png").write_bytes((here / "pictures" / f"{name}.png").read_bytes())
    common = ("--model", model, "--precision", "fp32", "--steps", 1, "--workers", 0)
    said = run("train-many", "pictures", *common, "--template", "[name]")
    assert "Note: ordinary words as names: boy, cat. Every prompt with one of them will change." in said
    assert "Trained 3 of 3" in said


def test_train_many_tells_a_program_of_each(here, model):  # noqa: F811
    (here / "pictures").mkdir()
    (here / "photo.png").replace(here / "pictures" / "mycat.png")
    (here / "pictures" / "bad.png").write_text("no picture")
    command = ["train-many", "pictures", "--model", str(model), *"--steps 1 --workers 0 --json".split()]
    result = CliRunner().invoke(dreamartist, command, standalone_mode=False)
    answer = json.loads(result.stdout)
    assert (answer["trained"], answer["failed"], answer["already"]) == (1, 1, 0)
    assert {each["name"]: each["what"] for each in answer["concepts"]} == {"bad": "failed", "mycat": "trained"}
    assert str(result.exception) == "1 of 2 could not be trained; the same command tries them again."


def test_without_a_terminal_there_are_plain_lines_and_not_many(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.bar("training mycat", 1000, 100) as shown:
        for _ in range(900):
            now[0] += 0.5
            shown.set_postfix_str("loss 0.123", refresh=False)
            shown.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training mycat: step 101 of 1000 (10 %), loss 0.123, 7:30 left"
    assert lines[-1] == "training mycat: step 1000 of 1000 (100 %), loss 0.123"
    assert 80 < len(lines) < 95, "one in five seconds"
    assert not any("\r" in line or "\x1b" in line for line in lines)


def test_where_a_terminal_is_there_is_a_bar_and_colour_unless_no_color(tmp_path):
    script = (
        "from dreamartist_ext.cli.progress import bar\n"
        "with bar('drawing', 3) as shown:\n    shown.update(3)\n"
        "from dreamartist_ext.__main__ import main\nmain()\n"
    )
    plain = on_terminal(script, tmp_path, NO_COLOR="1")
    assert "drawing: 100%" in plain
    assert "\x1b[3" not in plain
    coloured = on_terminal(script, tmp_path)
    assert "\x1b[31mdreamartist:\x1b[0m no such option" in coloured


def on_terminal(script: str, folder: Path, **more: str) -> str:
    """What a process shows that has a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **more}
    process = subprocess.Popen(
        [sys.executable, "-c", script, "--nope"], cwd=folder, env=environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    process.wait(timeout=60)
    os.close(ours)
    return shown.decode("utf-8", "replace")


def test_a_stop_is_told_to_a_program_too(here, model, monkeypatch):  # noqa: F811
    monkeypatch.setattr("dreamartist_ext.cli.train.stop_on_ctrl_c", stopped_at_once)
    command = ["train", "photo.png", "--name", "mycat", "--model", str(model), "--steps", "9", "--json"]
    result = CliRunner().invoke(dreamartist, command, standalone_mode=False)
    assert isinstance(result.exception, StoppedError)
    assert json.loads(result.stdout) == {"name": "mycat", "finished": False, "step": 1, "steps": 9}


class stopped_at_once:  # noqa: N801 - in place of a function
    def __enter__(self):
        return lambda: True

    def __exit__(self, *_):
        return None


def test_a_word_of_the_models_tokenizer_is_said_though_no_list_has_it(here, model, monkeypatch):  # noqa: F811
    monkeypatch.setattr(ordinary_words, "is_ordinary", lambda name: False)
    said = train(model, "--steps", 1, "--name", "cat")
    assert 'Note: "cat" is a word that the model knows: every prompt with it will change.' in said
    assert "Note:" not in train(model, "--steps", 1, "--name", "dog"), "three tokens to this one"


def test_what_is_renamed_or_converted_to_an_ordinary_word_is_said(here, model):  # noqa: F811
    train(model, "--steps", 1)
    assert 'Note: "dog" is an ordinary word' in run("rename", "mycat", "dog")
    assert 'Note: "boy" is an ordinary word' in run("convert", "embeddings/dog.pt", "boy.safetensors")
    assert "Note:" not in run("convert", "embeddings/dog.pt", "mydog.safetensors")
