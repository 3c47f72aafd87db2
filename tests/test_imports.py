"""Imports point one way: scripts -> webui -> hosts -> engine; cli -> hosts -> engine; evaluation -> engine."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dreamartist_ext"
ENGINE_MAY_IMPORT = {"torch", "numpy", "PIL", "einops", "safetensors"} | set(sys.stdlib_module_names)
FORBIDDEN = {
    "engine": {"hosts", "webui", "evaluation", "many", "cli", "demo", "__main__"},
    "hosts": {"webui", "evaluation", "many", "cli", "demo", "__main__"},
    "evaluation": {"hosts", "webui", "many", "cli", "demo", "__main__"},
    "many": {"webui", "evaluation", "cli", "demo", "__main__"},
    "webui": {"cli", "demo", "__main__"},
}


def imported(file: Path) -> set[str]:
    """Absolute names of the modules that a file imports, relative ones resolved."""
    names = set()
    parents = ["dreamartist_ext", *file.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_no_room_imports_one_above_it(room):
    for file in (PACKAGE / room).rglob("*.py"):
        for name in imported(file):
            parts = name.split(".")
            if parts[0] == "dreamartist_ext" and len(parts) > 1:
                assert parts[1] not in FORBIDDEN[room], f"{file.name} imports {name}"


def test_the_engine_imports_only_what_every_host_has():
    files = list((PACKAGE / "engine").rglob("*.py"))
    assert len(files) > 10
    for file in files:
        foreign = {name.split(".")[0] for name in imported(file)} - ENGINE_MAY_IMPORT - {"dreamartist_ext"}
        assert not foreign, f"{file.name} imports {foreign}"


def test_the_reader_of_imports_sees_them(tmp_path):
    file = PACKAGE / "hosts" / "generation.py"
    assert {"dreamartist_ext.engine.storage", "dreamartist_ext.hosts.diffusers", "io"} <= imported(file)
