"""install.py: nothing where nothing is missing, and never a failure of the WebUI's start."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
HOSTS_OWN = {"torch", "numpy", "Pillow"}
WEBUIS_OWN = {"torch", "numpy", "PIL", "gradio", "fastapi", "pydantic", "matplotlib", "jinja2"}
WEBUIS_OWN |= {"modules", "modules_forge", "ldm", "sgm", "backend", "ldm_patched"}


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("dreamartist_install", ROOT / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked(script, monkeypatch):
    """What pip was asked for, by the WebUI's helper."""
    calls = []
    monkeypatch.setitem(sys.modules, "launch", SimpleNamespace(run_pip=lambda *arguments: calls.append(arguments)))
    return calls


def without(monkeypatch, *names):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else real(name))


def test_it_says_and_does_nothing_where_nothing_is_missing():
    """With neither pip nor the WebUI's helper within reach."""
    code = "import runpy, subprocess, sys; subprocess.run = sys.modules['launch'] = None; "
    code += f"runpy.run_path({str(ROOT / 'install.py')!r}, run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_it_imports_the_standard_library_only():
    tree = ast.parse((ROOT / "install.py").read_text(encoding="utf-8"))
    names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_only_what_is_missing_is_installed_and_nothing_with_it(script, asked, monkeypatch):
    without(monkeypatch, "einops")
    script.main()
    [(command, description)] = asked
    assert command.startswith("install --no-deps ")
    assert command.endswith('"einops>=0.4.1"'), "in quotes: a shell takes > for a file"
    assert "einops" in description


def test_what_stays_missing_is_one_sentence(script, asked, monkeypatch, capsys):
    without(monkeypatch, "einops")
    script.main()
    assert capsys.readouterr().out == (
        "DreamArtist needs einops, which could not be installed: the WebUI was told to install nothing.\n"
    )


@pytest.mark.parametrize("error", [RuntimeError("Couldn't install.\nstderr: lots"), OSError(), SystemExit(1)])
def test_no_error_reaches_the_webui(script, monkeypatch, capsys, error):
    def run_pip(*arguments):
        raise error

    monkeypatch.setitem(sys.modules, "launch", SimpleNamespace(run_pip=run_pip))
    without(monkeypatch, "einops", "filelock")
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert [re.match(r"DreamArtist needs (\w+), which could not be installed: .", line)[1] for line in lines] == [
        "einops",
        "filelock",
    ]


def test_pip_is_asked_where_there_is_no_launcher(script, monkeypatch, capsys):
    calls = []
    monkeypatch.setitem(sys.modules, "launch", None)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: calls.append((command, options)))
    without(monkeypatch, "filelock")
    script.main()
    [(command, options)] = calls
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-1] == "filelock"
    assert options["check"]


def test_a_pip_that_fails_is_one_sentence(script, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "launch", None)
    monkeypatch.setattr(script.sys, "executable", sys.executable)
    monkeypatch.setitem(script.NEEDED, "einops", "--no-such-option")
    without(monkeypatch, "einops")
    script.main()
    assert capsys.readouterr().out.count("\n") == 1


def test_it_installs_what_the_project_needs_beyond_the_webuis_own(script):
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = re.search(r"^dependencies = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)[1]
    wanted = {re.match(r"\w+", line)[0]: line for line in re.findall(r'"([^"]+)"', core)}
    ours = {name: spec for name, spec in wanted.items() if name not in HOSTS_OWN}
    assert ours | {"filelock": "filelock"} == script.NEEDED


def test_what_the_extension_imports_in_the_webui_is_the_webuis_or_installed(script):
    package = ROOT / "dreamartist_ext"
    rooms = ("engine", "files", "webui", "hosts/a1111", "hosts/forge", "hosts/webuis")
    files = {file for room in rooms for file in (package / room).rglob("*.py")} | {*(package / "hosts").glob("*.py")}
    files -= {package / "webui" / "standalone.py"}
    assert len(files) > 100
    known = set(sys.stdlib_module_names) | WEBUIS_OWN | set(script.NEEDED)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert {name.split(".")[0] for name in names} <= known, f"{file.name} imports {names}"
