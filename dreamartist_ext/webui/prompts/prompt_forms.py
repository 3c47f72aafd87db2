"""The form of a typed prompt: what in it is weighted, scheduled or alternating. The WebUI judges what we make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Weighted:
    nodes: tuple[Node, ...]
    weight: float

    def children(self) -> tuple[Node, ...]:
        return self.nodes


@dataclass(frozen=True)
class Scheduled:
    """`[before:after:when]`."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    when: str

    def children(self) -> tuple[Node, ...]:
        return self.before + self.after


@dataclass(frozen=True)
class Alternating:
    """`[one|another]`."""

    options: tuple[tuple[Node, ...], ...]

    def children(self) -> tuple[Node, ...]:
        return sum(self.options, ())


Node = Union[Text, Weighted, Scheduled, Alternating]  # noqa: UP007  (evaluated by Python 3.10)

_TOKEN = re.compile(r"\\.|[()\[\]:|]|[^\\()\[\]:|]+|\\", re.S)
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*")
_CLOSED_BY = {"(": ")", "[": "]"}
_WEIGHTS = {"(": 1.1, "[": 1 / 1.1}


def parse(prompt: str) -> tuple[Node, ...]:
    """The form of a prompt for copying; nothing where brackets do not match. The WebUI has the last word on it."""
    try:
        return _bracket("", iter(_TOKEN.findall(prompt))).children()
    except (ValueError, RecursionError):
        return ()


def _bracket(opening: str, tokens: Iterator[str]) -> Weighted | Scheduled | Alternating:
    fields: list[list[Node]] = [[]]
    marks: list[str] = []
    for token in tokens:
        if token in _CLOSED_BY.values():
            if _CLOSED_BY.get(opening) != token:
                raise ValueError(f"{opening} closed by {token}")
            return _read(opening, fields, marks)
        if token in _CLOSED_BY:
            fields[-1].append(_bracket(token, tokens))
        elif token in (":", "|") and opening:
            marks.append(token)
            fields.append([])
        else:
            _append(fields[-1], Text(token))
    if opening:
        raise ValueError(f"{opening} is not closed")
    return Weighted(tuple(fields[0]), 1.0)


def _read(opening: str, fields: list[list[Node]], marks: list[str]) -> Weighted | Scheduled | Alternating:
    """What stands in one pair of brackets, split at the marks."""
    number = _number(fields[-1]) if marks else ""
    if opening == "(" and number and marks[-1] == ":":
        return Weighted(_flat(fields[:-1], marks), float(number))
    if opening == "[" and "|" in marks:
        return Alternating(tuple(map(tuple, fields))) if ":" not in marks else Weighted((), 1.0)
    if opening == "[" and number and len(marks) <= 2:
        before = fields[0] if len(marks) == 2 else []
        return Scheduled(tuple(before), tuple(fields[-2]), number)
    return Weighted(_flat(fields, marks), _WEIGHTS[opening])


def _number(field: list[Node]) -> str:
    only = field[0] if len(field) == 1 else None
    return only.text.strip() if isinstance(only, Text) and _NUMBER.fullmatch(only.text) else ""


def _flat(fields: list[list[Node]], marks: list[str]) -> tuple[Node, ...]:
    """The fields in one row, with the marks between them as text."""
    nodes: list[Node] = []
    for mark, field in zip(["", *marks], fields, strict=False):
        for node in [Text(mark), *field] if mark else field:
            _append(nodes, node)
    return tuple(nodes)


def _append(nodes: list[Node], node: Node) -> None:
    """Texts side by side become one, so that no word is cut in two."""
    last = nodes[-1] if nodes else None
    if isinstance(node, Text) and isinstance(last, Text):
        nodes[-1] = Text(last.text + node.text)
    else:
        nodes.append(node)
