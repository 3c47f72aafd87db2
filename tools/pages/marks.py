"""What stands between two marks of a page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

CODE, BAR = re.compile(r"`([^`]*)`"), "&#124;"


def put(page: str, name: str, content: str) -> str:
    """The page with `content` between its marks of this name; raises ValueError where there are none."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, _, rest = page.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise ValueError(f"there is no place for {name}: {begin} and {end}.")
    return "".join([head, begin, "\n", content.strip("\n"), "\n", end, tail])


def row(cells: Iterable[str]) -> str:
    """A row of a table; what would end a cell is written so that a forge and the site show it alike."""
    return "| " + " | ".join(CODE.sub(without_bars, cell).replace("|", BAR) for cell in cells) + " |"


def without_bars(found: re.Match[str]) -> str:
    return f"<code>{html.escape(found[1])}</code>" if "|" in found[1] else found[0]


def code(text: object) -> str:
    """As code; nothing for nothing."""
    return f"`{text}`" if str(text) else ""
