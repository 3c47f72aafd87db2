"""docs/options.md: a table for each group of TrainConfig, as the page groups them."""

from __future__ import annotations

from dataclasses import Field, fields

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.options import field_type

from .marks import code, row


def tables() -> str:
    groups: dict[str, list[Field]] = {}
    for item in fields(TrainConfig):
        groups.setdefault(item.metadata["group"], []).append(item)
    return "\n\n".join(table(group, items) for group, items in groups.items())


def table(group: str, items: list[Field]) -> str:
    rows = [about(item) for item in items]
    head = ["| setting | what it does | default | values |", "|---|---|---|---|"]
    return "\n".join([f"## {group.capitalize()}", "", *head, *rows])


def about(item: Field) -> str:
    default = str(item.default).lower() if field_type(item) is bool else str(item.default)
    label, unit, help = (item.metadata[key] for key in ("label", "unit", "help"))
    return row([f"{label}, {code(item.name)}", help, code(default) + (f" {unit}" if unit else ""), span(item)])


def span(item: Field) -> str:
    """Which values it takes."""
    if item.metadata["choices"]:
        return ", ".join(map(code, item.metadata["choices"]))
    least, most, above = (item.metadata[key] for key in ("least", "most", "above"))
    if field_type(item) is bool:
        return "`true`, `false`"
    if most is None:
        return "text"
    low = f"above {above:g}" if least is None else f"{least:g}"
    return f"{low} to 2^63 - 1" if most >= 2**62 else f"{low} to {most:,.10g}"
