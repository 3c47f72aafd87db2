"""How a command ends: its exit status tells wrong input, a stop and a failure apart, in one sentence each."""

from __future__ import annotations

import ast
import errno
import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dreamartist_ext.__main__ import main
from dreamartist_ext.cli import failures
from dreamartist_ext.cli.advice import ADVICE
from dreamartist_ext.cli.commands import COMMANDS
from dreamartist_ext.engine import errors
from dreamartist_ext.engine.errors import DreamArtistError, FileError, SettingError, StoppedError, TrainingError

from .test_cli import here, model, start  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]
ROOM_BELOW = [path for path in (ROOT / "dreamartist_ext").rglob("*.py") if "cli" not in path.relative_to(ROOT).parts]


def ended(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    """The status and what was said on stderr."""
    monkeypatch.setattr(sys, "argv", ["dreamartist", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0), capsys.readouterr().err


def raising(monkeypatch, error: BaseException):
    """`list`, whose work raises this."""

    def work(*_):
        raise error

    importlib.import_module("dreamartist_ext.files.concepts.trash")  # it would keep the one that raises for good
    monkeypatch.setattr("dreamartist_ext.files.concepts.index.concepts_in", work)


FULL = FileError("x.pt could not be written: No space left on device.")
FULL.__cause__ = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingError("steps must be at least 1, got 0."), 2),
        (FileError("nowhere.pt could not be read."), 2),
        (FULL, 1),
        (TrainingError("out of memory at step 3."), 1),
        (StoppedError("stopped at step 3 of 9."), 130),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("no"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2),
        (OSError(errno.EIO, "Input/output error", "/x"), 1),
        (MemoryError(), 1),
        (RuntimeError("a bug\nof ours"), 1),
        (ModuleNotFoundError("no", name="diffusers.models"), 1),
    ],
)
def test_the_status_tells_why_in_one_line(monkeypatch, capsys, tmp_path, error, status):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raising(monkeypatch, error)
    got, said = ended(monkeypatch, capsys, "list")
    assert got == status
    assert said.lstrip().startswith("dreamartist: ")  # below the ^C that a terminal shows
    assert said.strip().count("\n") == 0
    assert "Traceback" not in said


def test_nothing_unexpected_is_swallowed(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raising(monkeypatch, RuntimeError("a bug of ours: \x1b[31m\udc80"))
    status, said = ended(monkeypatch, capsys, "list")
    assert status == 1
    assert "something unexpected happened (RuntimeError: a bug of ours: ?[31m?); where is in " in said
    (log,) = tmp_path.glob("dreamartist-*.log")
    assert str(log) in said
    assert "raise error" in log.read_text()
    monkeypatch.setenv(failures.DEBUG, "1")
    status, said = ended(monkeypatch, capsys, "list")
    assert (status, "Traceback (most recent call last)" in said, len(list(tmp_path.glob("*.log")))) == (1, True, 1)
    monkeypatch.delenv(failures.DEBUG)
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(OSError("no room")))
    assert "; DREAMARTIST_DEBUG=1 shows where." in ended(monkeypatch, capsys, "list")[1]


def test_a_missing_package_is_named_with_the_line_that_brings_it(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    for name in [name for name in sys.modules if name.startswith("dreamartist_ext.hosts.diffusers")]:
        monkeypatch.delitem(sys.modules, name)
    status, said = ended(monkeypatch, capsys, "generate", "a cat")
    assert (status, said) == (1, 'dreamartist: this needs diffusers: pip install "dreamartist[standalone]".\n')


def test_without_click_there_is_still_a_sentence(tmp_path):
    (tmp_path / "rich_click.py").write_text("raise ModuleNotFoundError('no', name='rich_click')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "dreamartist_ext", "--help"]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    said = 'dreamartist: this needs rich_click: pip install "dreamartist[standalone]".\n'
    assert (result.returncode, result.stderr) == (1, said)


def test_a_reader_that_has_read_enough_ends_it_quietly(tmp_path):
    script = f'"{sys.executable}" -m dreamartist_ext train --help | head -1; echo "${{PIPESTATUS[0]}}"'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.startswith("Usage: dreamartist train")


def test_ctrl_c_while_a_model_loads_is_a_stop(here, model):  # noqa: F811
    process = start(here, model, "--steps", "100000", "--save-every", "0")
    folder = here / "embeddings"
    while not folder.exists():  # what it does before it loads
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert error.strip().splitlines()[-1].startswith("dreamartist: stopped")
    assert "Traceback" not in error


INTERRUPTED_INSIDE_C = """
import ctypes, sys
import dreamartist_ext.cli.commands as commands
import dreamartist_ext.cli.failures  # what is made here runs texts too
from dreamartist_ext.__main__ import main

def interrupted(**_):
    api, space = ctypes.pythonapi, {}
    api.PyRun_String.restype = ctypes.py_object
    api.PyRun_String.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.py_object, ctypes.py_object]
    api.PyRun_String(b"raise KeyboardInterrupt", 257, space, space)

commands.dreamartist = interrupted
main()
"""


def test_ctrl_c_inside_code_that_a_library_hands_to_python_is_a_stop(tmp_path):
    (tmp_path / "interrupted.py").write_text(INTERRUPTED_INSIDE_C)
    command = [sys.executable, "-m", "interrupted"]
    result = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    assert result.stderr.decode().strip() == "dreamartist: stopped."
    assert result.returncode == 130


def sentences_of(path: Path) -> list[tuple[int, str]]:
    """All text within what is raised as one of our errors, or kept in a constant for it."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        is_constant = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.col_offset == 0
        if name in kinds or (name.endswith("Error") and not hasattr(__builtins__, name)) or is_constant:
            texts = (each for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))
            found += [(each.lineno, each.value) for each in texts]
    return found


def test_no_error_of_the_rooms_below_names_a_flag():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in ROOM_BELOW
        for line, text in sentences_of(path)
        if re.search(r"(?<![<!(-])--[a-z]", text) and not text.lstrip().startswith("<")
        if not re.fullmatch(r"--[a-z-]+", text)  # handed to another program, not said
    ]
    assert found == []
    assert sum(len(sentences_of(path)) for path in ROOM_BELOW) > 500, "the reader finds them"


BUTTONS = re.compile(
    r"\b([Cc]lick (on|it|the|here)|[Pp]ress|button|Continue|Discard|Undo|[Uu]npack|Reunite|My concepts|the tab)\b"
)
MAY = {"Show the tab on its own in a browser, without a WebUI; Ctrl-C ends it."}
PAGES = ("webui", "a1111", "forge")


def test_no_sentence_that_the_command_line_can_show_names_a_button_of_the_page():
    ours = list((ROOT / "dreamartist_ext" / "cli").glob("*.py"))
    for path in ours:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if " " in text and text not in MAY:
                assert not BUTTONS.search(text), f"{path.name}: {text}"
    for path in ROOM_BELOW:
        if not set(PAGES) & set(path.relative_to(ROOT).parts):
            assert [text for _, text in sentences_of(path) if BUTTONS.search(text)] == [], path


def test_advice_is_for_a_remedy_that_some_error_has_and_a_command_that_there_is():
    text = "".join(path.read_text(encoding="utf-8") for path in ROOM_BELOW) + "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "dreamartist_ext" / "cli").glob("*.py")
    )
    for remedy, command in ADVICE:
        assert command in COMMANDS
        assert len(re.findall(rf'"{remedy}"\)?,?\s', text)) >= 2, remedy  # where it is named, and where it is raised
    assert set(errors.Remedy.__args__) - {""} == {remedy for remedy, _ in ADVICE}


def test_the_flag_that_helps_stands_behind_the_sentence(here, model, monkeypatch, capsys):  # noqa: F811
    (here / "embeddings").mkdir()
    (here / "embeddings" / "mycat.pt").write_bytes(b"")
    status, said = ended(monkeypatch, capsys, "train", "photo.png", "--name", "mycat", "--model", model)
    assert status == 2
    assert said == (
        "dreamartist: the name mycat is taken by mycat.pt; choose another name. With --resume that training goes on, "
        "with --overwrite it is replaced.\n"
    )
    assert isinstance(SettingError("x", "Ray"), DreamArtistError)
