"""What stands between two marks of a page."""

from __future__ import annotations

from collections.abc import Iterable


def put(page: str, name: str, content: str) -> str:
    """The page with `content` between its marks of this name; raises ValueError where there are none."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, _, rest = page.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"there is no place for {name}: {begin} and {end}.")
    return "".join([head, begin, "\n", content.strip("\n"), "\n", end, tail])


def row(cells: Iterable[str]) -> str:
    """A row of a table; what would end a cell is escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(text: object) -> str:
    """As code; nothing for nothing."""
    return f"`{text}`" if str(text) else ""
