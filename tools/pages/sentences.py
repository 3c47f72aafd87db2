"""docs/messages.md: every message that refuses something, read from the code, in groups, with what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .remedies import with_remedy

PACKAGE = Path(__file__).parents[2] / "dreamartist_ext"
BASE = "DreamArtistError"
SAYERS = (
    "clash",
    "_refusal",
    "taken",
    "warning_about",
    "notice",
)  # functions whose text is shown, without being raised
LATER = {"HTTPException": 1, "_refusal": 1, "_said": 0}  # where the sentence is another argument than the first
VALUE = "…"  # what stands for a value

# Title, what to do, and which sentences: by the beginning of the module's path, or by the kind of error. The first
# group that fits takes a sentence; those that are met most stand first on the page.
FIRST = ("Pictures, masks and captions", "Names and settings", "Models", "While training")
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Compare and the report",
        "Change the value that the message names.",
        ("evaluation/", "webui/compare/", "webui/one_at_a_time", "cli/evaluat"),
    ),
    (
        "Making a single file of a model",
        "Only for those who make models: the WebUI's single file cannot hold every model that diffusers' layout can.",
        ("hosts/diffusers/ldm_config", "hosts/diffusers/single_file"),
    ),
    (
        "Folders of pictures, and several processes",
        "The same command goes on where it stopped. See [many concepts](many-concepts.md).",
        ("many/", "cli/train_many", "hosts/diffusers/process", "engine/divided"),
    ),
    (
        "The HTTP API",
        "The HTTP status is the kind of problem: 400 a wrong value, 401 no account, 404 not there, 409 busy or taken. "
        "See [the API](api.md).",
        ("webui/api",),
    ),
    ("X/Y/Z plot and prompts", "Write the axis values as the message shows.", ("webui/prompts/",)),
    (
        "Pictures, masks and captions",
        "Save the picture as PNG or JPEG, between 64 and some thousand pixels wide and high. "
        "See [masks and captions](masks-and-captions.md).",
        ("PictureError", "files/picture", "webui/training/mask", "webui/training/picture"),
    ),
    (
        "Models",
        "Choose a Stable Diffusion 1, 2 or SDXL checkpoint. See [compatibility](compatibility.md).",
        ("ModelError",),
    ),
    (
        "While training",
        "What was learned up to the last snapshot is kept: *Continue* or `--resume` goes on from there.",
        ("TrainingError", "engine/snapshot", "engine/latents", "webui/training/", "files/run", "files/only_one"),
    ),
    (
        "My concepts, sharing, import",
        "Nothing was changed. If the message is about something that is not there any more, refresh the page.",
        ("files/concepts/", "webui/concepts/", "files/importing", "MissingError"),
    ),
    (
        "Names and settings",
        "Change the setting that the message names. See [options](options.md).",
        ("SettingError", "files/settings", "files/templates"),
    ),
    (
        "Embeddings, cards and folders",
        "Nothing in a refused file was executed or kept. Pictures that a chat has compressed have lost their "
        "embedding. See [files](files.md).",
        ("FileError", "PickleError"),
    ),
    ("Others", "", ("",)),
)


@dataclass(frozen=True, order=True)
class Sentence:
    """What is said, where in the package, and with which kind of error."""

    text: str
    module: str
    kind: str

    def belongs(self, marks: tuple[str, ...]) -> bool:
        return any(self.module.startswith(mark) or self.kind == mark for mark in marks)


def tables() -> str:
    left, parts = set(sentences()), {}
    for title, advice, marks in GROUPS:
        mine = {each for each in left if each.belongs(marks)}
        left -= mine
        if said := sorted({each.text for each in mine}, key=str.lower):
            parts[title] = "\n".join(
                [f"## {title}", "", *([advice, ""] if advice else []), *(f"- {with_remedy(each)}" for each in said)]
            )
    return "\n\n".join([*(parts.pop(title) for title in FIRST), *parts.values()])


def sentences() -> Iterator[Sentence]:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    constants = {
        target.id: node.value
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    errors = error_names(trees.values())
    for path, tree in trees.items():
        module = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from as_sentence(said_by(node, errors), constants, module, name_of(node))
            elif isinstance(node, ast.FunctionDef) and node.name in SAYERS:
                for text in returned(node):
                    yield from as_sentence(text, constants, module, "SettingError")


def error_names(trees: Iterable[ast.Module]) -> set[str]:
    """The classes of errors that are one sentence for the user."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found, grown = {BASE}, True
    while grown:
        new = {each.name for each in classes for base in each.bases if getattr(base, "id", "") in found} - found
        found, grown = found | new, bool(new)
    return found - {"StoppedError"}


def said_by(call: ast.Call, errors: set[str]) -> ast.expr | None:
    """What an error is made of, or a page's red line; None for another call."""
    name = name_of(call)
    place = LATER.get(name, 0 if name in errors else None)
    if name == "message_html" and [ast.unparse(each) for each in call.args[1:]] == ["'error'"]:
        place = 0
    return None if place is None or len(call.args) <= place else call.args[place]


def returned(function: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value.body if isinstance(node.value, ast.IfExp) else node.value


def as_sentence(node: ast.expr | None, constants: dict[str, ast.expr], module: str, kind: str) -> Iterator[Sentence]:
    """The sentence with dots for values; nothing for what is no sentence."""
    text = "" if node is None else written(node, constants)
    if " " in text and re.search("[a-z]{2}", text):
        yield Sentence(text.replace("<", "&lt;"), module, kind)


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def written(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(VALUE if isinstance(part, ast.FormattedValue) else written(part, {}) for part in node.values)
    if isinstance(node, ast.BinOp):
        return written(node.left, constants) + written(node.right, constants)
    if isinstance(node, ast.Name) and node.id in constants:
        return written(constants[node.id], {})
    return VALUE
