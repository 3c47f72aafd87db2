"""The README's table of options, from TrainConfig. `python -m tools.options_table` rewrites it in place."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.options import field_type

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- options -->\n", "<!-- end of options -->"


def table() -> str:
    """One row per field, under its group as in the tab: name, default, help, unit."""
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    groups = list(dict.fromkeys(item.metadata["group"] for item in fields(TrainConfig)))
    group = ""
    for item in sorted(fields(TrainConfig), key=lambda item: groups.index(item.metadata["group"])):
        if item.metadata["group"] != group:
            group = item.metadata["group"]
            rows.append(f"| **{group.capitalize()}** | | |")
        default = str(item.default).lower() if field_type(item) is bool else str(item.default)
        unit = f" [{item.metadata['unit']}]" if item.metadata["unit"] else ""
        about = f"{item.metadata['label']}. {item.metadata['help']}{unit}"
        cells = (f"`{item.name}`", f"`{default}`", about)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def with_table(readme: str) -> str:
    before, rest = readme.split(START, 1)
    return before + START + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
