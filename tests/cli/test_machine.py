"""doctor and completion: what they say of this machine, and of one where things are missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dreamartist_ext import __version__
from dreamartist_ext.cli.commands import dreamartist

from .test_cli import here, model, run  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]


def findings(*arguments: object) -> dict[str, dict[str, str]]:
    result = CliRunner().invoke(dreamartist, ["doctor", "--json", *map(str, arguments)], standalone_mode=False)
    return {finding["what"]: finding for finding in json.loads(result.stdout)["findings"]}


def test_doctor_finds_this_machine_well(here):  # noqa: F811
    found = findings()
    assert found["dreamartist"]["says"] == __version__
    assert found["python"]["says"].startswith(sys.version.split()[0])
    assert "wide" in found["model"]["says"]
    assert '"embeddings" will be made' in found["embeddings"]["says"]
    assert all(finding["state"] != "wrong" for finding in found.values())
    assert "GiB free" in found["device"]["says"]
    assert not list(here.glob(".*")), "the probe is gone"


def test_doctor_says_what_is_wrong_with_a_model_and_a_folder(here, model):  # noqa: F811
    assert findings("--model", model)["model"]["state"] == "ok"
    assert "there is nothing at" in findings("--model", "nowhere")["model"]["says"]
    (here / "foreign.safetensors").write_bytes(b"no model")
    assert findings("--model", "foreign.safetensors")["model"]["state"] == "wrong"
    said = run("doctor", "--model", "nowhere")
    assert "choose a folder or a file with --model" in said


@pytest.mark.parametrize("how", ["missing", "broken"])
def test_doctor_works_without_a_torch_that_works(tmp_path, how):
    error = "ModuleNotFoundError('no', name='torch')" if how == "missing" else "OSError('libtorch.so: cannot open')"
    (tmp_path / "torch.py").write_text(f"raise {error}")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "dreamartist_ext", "doctor", "--json"]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr) == (1, "")
    found = {finding["what"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert found["torch"]["state"] == "wrong"
    assert ("is not installed" if how == "missing" else "cannot be loaded: libtorch") in found["torch"]["says"]
    assert found["torch"]["fix"].startswith("pip install")
    assert found["model"]["state"] == "ok"
    assert found["embeddings"]["state"] == "ok"


def test_doctor_gives_the_pip_line_of_what_is_missing(monkeypatch, here):  # noqa: F811
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    missing = {name: finding for name, finding in findings().items() if finding["state"] == "missing"}
    assert missing["gradio"]["fix"] == 'pip install "dreamartist[serve]"'
    assert missing["ray"]["fix"] == 'pip install "dreamartist[many]"'


def completed(shell: str, words: str, folder: Path) -> list[str]:
    """What the Tab key offers in bash, by the script that the command prints, sourced."""
    program = folder / "dreamartist"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dreamartist_ext "$@"\n')
    program.chmod(0o755)
    script = f"""
    source <(dreamartist completion {shell})
    COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
    _dreamartist_completion dreamartist
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    run_ = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    return run_.stdout.split()


def test_bash_completes_commands_options_and_choices(tmp_path):
    assert completed("bash", "dreamartist tra", tmp_path) == ["train", "train-many"]
    assert completed("bash", "dreamartist train --save-", tmp_path) == ["--save-ema", "--save-every", "--save-config"]
    assert completed("bash", "dreamartist train --kind p", tmp_path) == ["photo"]


@pytest.mark.parametrize(
    ("shell", "answer"), [("zsh", "plain\ntrain\nLearn"), ("fish", "plain,train\tLearn"), ("bash", "plain,train")]
)
def test_what_each_shell_asks_is_answered(tmp_path, shell, answer):
    asked = {"COMP_WORDS": "dreamartist trai", "COMP_CWORD": "trai" if shell == "fish" else "1"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "_DREAMARTIST_COMPLETE": f"{shell}_complete", **asked}
    command = [sys.executable, "-m", "dreamartist_ext"]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120).stdout
    assert out.startswith(answer), out
    script = CliRunner().invoke(dreamartist, ["completion", shell], standalone_mode=False).output
    assert f"_DREAMARTIST_COMPLETE={shell}_complete" in script
    if where := shutil.which(shell):
        assert subprocess.run([where, "-n"], input=script, text=True, timeout=60).returncode == 0
