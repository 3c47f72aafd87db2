"""A matplotlib figure as SVG that is part of a page: in its colours and font, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..files.charts import GRID, INK, QUIET, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    INK: "currentColor",
    QUIET: "var(--quiet)",
    GRID: "var(--line)",
    **{colour: f"var(--way{number})" for number, colour in enumerate(SERIES)},
}
_REFERENCE = re.compile(r"#([\w-]+)(?=\)?$)")  # url(#id) or #id
_PIXELS = re.compile(r"[\d.]+px")
_NOT_OF_THE_PAGE = ("metadata", "style")  # matplotlib's style would reach beyond the chart
_ONE_AT_A_TIME = Lock()  # how texts and ids are written is a setting of the whole process


def inline_svg(figure: Figure, key: str, label: str, titles: Mapping[str, str] | None = None) -> str:
    """An svg element. `key` begins every id, so it differs from chart to chart of a page; `label` is for who cannot see
    it; `titles` appear over the parts with these ids. The same figure gives the same text."""
    root = ElementTree.fromstring(_drawn(figure, key))
    for parent in list(root.iter()):
        for child in [child for child in parent if _name(child.tag) in _NOT_OF_THE_PAGE]:
            parent.remove(child)
    used = {id for part in root.iter() for value in part.attrib.values() for id in _REFERENCE.findall(value)}
    for part in list(root.iter()):
        title = (titles or {}).get(part.get("id", ""))
        if title is not None:
            part.insert(0, ElementTree.Element("title"))
            part[0].text = title
        part.tag, part.tail = _name(part.tag), None
        part.text = part.text if (part.text or "").strip() else None
        kept = {_name(name): value for name, value in part.attrib.items() if name != "id" or value in used}
        part.attrib = {name: _on_the_page(name, value, key) for name, value in kept.items()}
    root.attrib = {"class": "chart", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def _drawn(figure: Figure, key: str) -> bytes:
    import matplotlib

    figure.patch.set_visible(False)
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _ONE_AT_A_TIME, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def _name(name: str) -> str:
    """Without its namespace, which a page does not want."""
    return name.rpartition("}")[2]


def _on_the_page(name: str, value: str, key: str) -> str:
    if name == "style":
        return "; ".join(filter(None, map(_declaration, value.split(";"))))
    if name == "id":
        return f"{key}-{value}"
    return _REFERENCE.sub(rf"#{key}-\1", " ".join(value.split()))


def _declaration(text: str) -> str:
    """One of a style: colours and the family of fonts are the page's."""
    name, _, value = (part.strip() for part in text.partition(":"))
    if name == "font-family":
        return ""
    if name == "font":  # of matplotlib before 3.8: size and families
        name, value = "font-size", "".join(_PIXELS.findall(value)[:1])
    return f"{name}: {COLOURS.get(value, value)}"
