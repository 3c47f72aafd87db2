"""Every command that takes a path, against paths that no program likes: one sentence, and nothing half written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dreamartist_ext.files.storage import save_pair

from ..files.test_storage import pair

ROOT = Path(__file__).parents[2]
LONG = "x" * 300

# {} is where the path goes. No case trains or draws: what the path is fine for ends at the next refusal.
COMMANDS = {
    "picture": ("train", "{}", "--name", "mycat", "--model", "nowhere"),
    "train --out": ("train", "photo.png", "--name", "mycat", "--model", "nowhere", "--out", "{}"),
    "train --config": ("train", "photo.png", "--name", "mycat", "--model", "nowhere", "--config", "{}"),
    "train --save-config": ("train", "photo.png", "--name", "mycat", "--model", "nowhere", "--save-config", "{}"),
    "train --model": ("train", "photo.png", "--name", "mycat", "--model", "{}"),
    "train --template": ("train", "photo.png", "--name", "mycat", "--model", "nowhere", "--template", "{}.txt"),
    "pictures": ("train-many", "{}", "--workers", "0", "--template", "a photo of [name]"),
    "train-many --out": ("train-many", "empty", "--out", "{}", "--workers", "0"),
    "train-many --model": ("train-many", "empty", "--model", "{}", "--workers", "0"),
    "generate --out": ("generate", "a cat", "--out", "{}.png", "--model", "nowhere"),
    "generate --embeddings": ("generate", "a cat", "--embeddings", "{}", "--model", "nowhere"),
    "generate --model": ("generate", "a cat", "--model", "{}"),
    "evaluate": ("evaluate", "{}", "--reference", "photo.png"),
    "evaluate --reference": ("evaluate", "mycat", "--reference", "{}"),
    "evaluate --embeddings": ("evaluate", "nobody", "--embeddings", "{}", "--reference", "photo.png"),
    "evaluate --prompts": ("evaluate", "mycat", "--prompts", "{}", "--reference", "photo.png", "--model", "nowhere"),
    "evaluate --write-prompts": ("evaluate", "--write-prompts", "{}"),
    "evaluate --clip": ("evaluate", "mycat", "--reference", "photo.png", "--clip", "{}"),
    "inspect": ("inspect", "{}"),
    "convert": ("convert", "{}", "out.pt"),
    "convert to": ("convert", "embeddings/mycat.pt", "{}"),
    "convert to a file in": ("convert", "embeddings/mycat.pt", "{}/mycat.safetensors"),
    "convert --picture": ("convert", "embeddings/mycat.pt", "out.png", "--picture", "{}"),
    "share --out": ("share", "mycat", "--out", "{}"),
    "share --embeddings": ("share", "nobody", "--embeddings", "{}"),
    "rename": ("rename", "nobody", "tom", "--embeddings", "{}"),
    "rename to": ("rename", "mycat", "{}"),
    "delete": ("delete", "{}", "--yes"),
    "delete --embeddings": ("delete", "nobody", "--yes", "--embeddings", "{}"),
    "restore": ("restore", "{}"),
    "restore --embeddings": ("restore", "nobody", "--embeddings", "{}"),
    "demo --picture": ("demo", "--picture", "{}"),
    "demo --out": ("demo", "--out", "{}", "--picture", "nowhere.png"),
    "doctor --model": ("doctor", "--model", "{}"),
    "list": ("list", "--embeddings", "{}"),
}

WITH_FOLDER = (
    "train --out",
    "train-many --out",
    "evaluate --write-prompts",
    "share --out",
    "share --embeddings",
    "convert to a file in",
    "demo --out",
    "rename",
    "delete --embeddings",
    "restore --embeddings",
)

PATHS = {
    "the root": "/",
    "a file in the root": "/nothing-here.pt",
    "a long name": LONG,
    "below a long name": f"{LONG}/mycat",
    "below a file": "photo.png/mycat",
    "a long path": "a/" * 3000 + "b",
    "NUL": "a\0b",
    "surrogates": "a\udcffb",
    "a bell": "a\x07b",
    "a link to itself": "loop",
    "below what may not be entered": "closed/mycat",
    "what may not be entered": "closed",
    "a device": "/dev/null",
    "a pipe": "pipe",
    "a folder": "empty",
    "a file": "photo.png",
    "the folder here": ".",
    "nothing": "",
}

# A picture is one; and a new folder in the root would be made there.
NOT_TRIED = {("demo --picture", "a file"), *((command, "a file in the root") for command in WITH_FOLDER)}

# All of it in one process that may not open what is closed, though it is root's: for each case status and words.
SCRIPT = """
import contextlib, io, json, os, sys, time, traceback
from dreamartist_ext.__main__ import main

cases, answers = json.loads(sys.stdin.read()), []
def listing():
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(".") for name in names)
before = listing()
for arguments in cases:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    sys.argv, started = ["dreamartist", *arguments], time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            status = "no exit"
        except SystemExit as ended:
            status = ended.code or 0
        except BaseException:
            status = traceback.format_exc()
    sys.__stderr__.write(f"{time.monotonic() - started:.1f} s {arguments}"[:200] + chr(10))
    new = [name for name in listing() if name not in before]
    for name in new:
        os.unlink(name)
    answers.append([status, err.buffer.getvalue().decode("utf-8", "replace"), new])
print(json.dumps(answers))
"""


def without_capabilities() -> None:
    """For the child: root's right to pass by permissions goes with the next exec."""
    import ctypes

    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[tuple[str, str], tuple[object, str, list[str]]]:
    here = tmp_path_factory.mktemp("hostile")
    Image.new("RGB", (64, 64), "red").save(here / "photo.png")
    save_pair(pair(), here / "embeddings")
    for folder in ("empty", "closed"):
        (here / folder).mkdir()
    (here / "closed").chmod(0)
    (here / "loop").symlink_to("loop")
    os.mkfifo(here / "pipe")
    cases = {
        (command, path): [part.replace("{}", PATHS[path]) for part in parts]
        for command, parts in COMMANDS.items()
        for path in PATHS
        if (command, path) not in NOT_TRIED
    }
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(list(cases.values())),
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(here / "empty")},
        capture_output=True,
        text=True,
        timeout=500,  # a busy machine imports for minutes
        preexec_fn=without_capabilities,
    )
    (here / "closed").chmod(0o700)
    assert result.returncode == 0, result.stderr
    return dict(zip(cases, map(tuple, json.loads(result.stdout)), strict=True))


MAY_SUCCEED = {
    "list",
    "evaluate --write-prompts",
    "convert to",
    "convert to a file in",
    "convert --picture",
    "rename to",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_answers_in_one_sentence_and_leaves_nothing(answers, command):
    for path in PATHS:
        if (command, path) in NOT_TRIED:
            continue
        status, said, left = answers[command, path]
        where = f"{command}, {path}: {status} {said!r} {left}"
        if status == 0 and (command in (*MAY_SUCCEED, "doctor --model") or command.endswith(("--out", "--embeddings"))):
            continue
        assert status in (1, 2), where
        if command == "doctor --model":  # which says it in its list
            continue
        lines = [line for line in said.splitlines() if not line.startswith(("Note: ", "photo.png: "))]
        assert len(lines) == 1, where
        assert lines[0].startswith("dreamartist: "), where
        assert "unexpected" not in said, where
        assert len(said) < 1100, where
        assert left == [], where


def test_what_is_refused_is_named(answers):
    assert answers["inspect", "a long name"][1] == (
        f'dreamartist: FILE cannot be "{"x" * 77}...": file name too long; choose another.\n'
    )
    assert answers["train --out", "the root"][1] == (
        'dreamartist: --out cannot be "/": it is the root of a drive, and a folder in it is needed; choose another.\n'
    )
    assert "closed" in answers["train --out", "below what may not be entered"][1]
    assert "no file can have such a name" in answers["inspect", "NUL"][1]
    assert re.search(
        r'OUT cannot be "/.*": it lies in the root of a drive', answers["convert to", "a file in the root"][1]
    )
