"""The rooms of the house and the one way in which imports point, read from the imports themselves."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dreamartist_ext"
NAME = PACKAGE.name
ENGINE_MAY_IMPORT = {"torch", "numpy", "PIL", "einops", "safetensors"} | set(sys.stdlib_module_names)
FILES_MAY_IMPORT = ENGINE_MAY_IMPORT | {"filelock", "jinja2", "matplotlib"}
WEBUI_MODULES = {"modules", "modules_forge", "backend", "ldm", "ldm_patched", "sgm", "k_diffusion", "launch"}
PAGE = ("gradio_compat", "settings", "workplace", "api_auth", "running")  # of webui: what all of its rooms stand on

# A room may import those that stand before it in its line, and itself; rooms in one tuple do not know each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("engine",),
    ("files",),
    ("hosts",),
    ("evaluation", "many"),
    ("webui",),
    ("cli",),
    ("__main__",),
)
# What two of them need lies in hosts/ itself, or in hosts/webuis, where it is about WebUIs.
HOST_ROOMS = ("hosts/diffusers", "hosts/a1111", "hosts/forge", "hosts/sdnext")
OF_WEBUIS = "hosts/webuis"
STANDS_ON = {("hosts/sdnext", "hosts/diffusers")}  # SD.Next's models are diffusers'
PAGE_ROOMS: tuple[tuple[str, ...], ...] = (
    ("training", "prompts"),
    ("api_guards", "one_at_a_time"),
    ("concepts", "compare"),
    ("tab", "api", "registration", "standalone"),
)


def imported(file: Path) -> set[str]:
    """Absolute names of the modules that a file imports, and of what it takes from them, relative ones resolved."""
    names = set()
    parents = [NAME, *file.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
# What each module imports of the package: modules only, their names left out.
GRAPH = {module: imported(file) & MODULES.keys() - {module, NAME} for module, file in MODULES.items()}


def place(module: str) -> str:
    """`files/concepts` of `dreamartist_ext.files.concepts.index`"""
    return "/".join(module.split(".")[1:])


def is_in(module: str, room: str) -> bool:
    return f"{place(module)}/".startswith(f"{room}/")


def height(module: str, floors: tuple[tuple[str, ...], ...], below: str = "") -> int | None:
    """On which floor a module stands, None where on none of them."""
    rooms = [(level, f"{below}{room}") for level, floor in enumerate(floors) for room in floor]
    return next((level for level, room in rooms if is_in(module, room)), None)


def arrows() -> list[tuple[str, str]]:
    return [(module, other) for module, others in GRAPH.items() for other in sorted(others)]


def test_every_room_stands_on_a_floor():
    assert [m for m in MODULES if place(m) and height(m, FLOORS) is None] == []


@pytest.mark.parametrize(("floors", "below"), [(FLOORS, ""), (PAGE_ROOMS, "webui/")])
def test_imports_point_down(floors, below):
    for module, other in arrows():
        top, bottom = height(module, floors, below), height(other, floors, below)
        if bottom is None:
            continue
        rooms = [place(name).removeprefix(below).split("/")[0] for name in (module, other)]
        assert top is not None or not below or not is_in(module, "webui"), f"{module} imports {other} from above"
        if top is not None:
            assert top > bottom or rooms[0] == rooms[1] or top == bottom == len(floors) - 1, f"{module} -> {other}"


def test_what_the_page_stands_on_knows_none_of_its_rooms():
    for module, other in arrows():
        if any(is_in(module, f"webui/{name}") for name in PAGE) and is_in(other, "webui"):
            assert any(is_in(other, f"webui/{name}") for name in PAGE), f"{module} -> {other}"


def test_hosts_do_not_know_each_other():
    for module, other in arrows():
        mine = next((room for room in HOST_ROOMS if is_in(module, room)), None)
        theirs = next((room for room in HOST_ROOMS if is_in(other, room)), None)
        if is_in(module, "hosts") and theirs:
            assert mine == theirs or (mine, theirs) in STANDS_ON, f"{module} -> {other}"
        if is_in(module, "hosts") and is_in(other, OF_WEBUIS):
            assert is_in(module, OF_WEBUIS) or mine in HOST_ROOMS[1:], f"{module} -> {other}"


def test_there_is_no_circle():
    """Imports inside of functions and those for types alone count as well."""
    try:
        order = list(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert len(order) == len(MODULES)


@pytest.mark.parametrize(("room", "allowed"), [("engine", ENGINE_MAY_IMPORT), ("files", FILES_MAY_IMPORT)])
def test_a_room_imports_only_what_every_host_has(room, allowed):
    files = [file for module, file in MODULES.items() if is_in(module, room)]
    assert len(files) > 10
    for file in files:
        foreign = {name.split(".")[0] for name in imported(file)} - allowed - {NAME}
        assert not foreign, f"{file.name} imports {foreign}"


def test_only_a_webuis_host_imports_its_modules():
    for module, file in MODULES.items():
        if not any(is_in(module, room) for room in (*HOST_ROOMS[1:], OF_WEBUIS)):
            foreign = {name.split(".")[0] for name in imported(file)} & WEBUI_MODULES
            assert not foreign, f"{module} imports {foreign}"


@pytest.mark.parametrize("folder", ["benchmarks", "testbed", "tools"])
def test_only_tests_import_tests(folder):
    """What tests share with others lies in testbed/."""
    files = sorted((PACKAGE.parent / folder).rglob("*.py"))
    assert files
    for file in files:
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not [name for name in names if name.split(".")[0] == "tests"], file


def test_every_room_says_what_it_is_for():
    for module, file in MODULES.items():
        if file.name == "__init__.py":
            text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            assert text, f"{module} says nothing"
            assert module == NAME or "mport" in text, f"{module} does not say what it may import"


def test_the_engine_can_be_read_in_an_afternoon():
    lines = sum(len(f.read_text(encoding="utf-8").splitlines()) for m, f in MODULES.items() if is_in(m, "engine"))
    assert lines < 3500


def test_the_reader_of_imports_sees_them():
    """Also those of functions, and by how many dots it is told where from."""
    file = PACKAGE / "hosts" / "diffusers" / "generation.py"
    assert {f"{NAME}.files.storage", f"{NAME}.hosts.diffusers.host", "io"} <= imported(file)
    assert all(is_in(a, "files/concepts") and not is_in(a, "file") for a in [f"{NAME}.files.concepts.index"])
    assert [height(f"{NAME}.{name}", FLOORS) for name in ("engine.x", "webui.prompts.x", "x")] == [0, 4, None]
    assert all(set(low).isdisjoint(high) for low, high in pairwise(FLOORS))
