"""The settings as a form: recipe, search, the ten that matter, and all others by group in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field
from typing import Any

import gradio as gr

from ...engine.options import field_type
from .kinds import OPTION_FIELDS

FIRST = (
    "steps", "learning_rate", "guidance", "template", "vectors", "negative_vectors", "batch_size", "width", "height",
    "fit",
)  # fmt: skip
FIRST_HEADING = "What matters most"

HEAD = """<div class="dreamartist-settings-head">
<button type="button" class="dreamartist-do" id="dreamartist_fold" aria-expanded="false"
  aria-controls="dreamartist_options">All settings</button>
<span class="dreamartist-count" role="status"></span>
<button type="button" class="dreamartist-do dreamartist-all-back" data-dreamartist-set="" hidden>Set all back</button>
</div>"""
SEARCH = """<div class="dreamartist-settings-search"><label for="dreamartist_find">Find a setting</label>
<input type="search" id="dreamartist_find" placeholder="rate, mask, size ..."><span role="status"></span></div>"""


def component_for(item: Field, value: Any) -> Any:
    """The input of one setting, with its help and unit."""
    about = item.metadata
    label = about["label"] + (f" ({about['unit']})" if about["unit"] else "")
    common: dict[str, Any] = {
        "label": label,
        "info": about["help"],
        "elem_id": f"dreamartist_{item.name}",
        "elem_classes": ["dreamartist-setting"],
    }
    kind = field_type(item)
    if kind is bool:
        return gr.Checkbox(value=value, **common)
    if about["choices"]:
        return gr.Dropdown(choices=list(about["choices"]), value=value, **common)
    if kind is str:
        return gr.Textbox(value=value, max_lines=1, **common)
    return gr.Number(value=value, precision=0 if kind is int else None, **common)


def groups() -> dict[str, list[Field]]:
    """The fields under each heading, the ten that matter first."""
    by_name = {item.name: item for item in OPTION_FIELDS}
    found = {FIRST_HEADING: [by_name[name] for name in FIRST]}
    for item in OPTION_FIELDS:
        if item.name not in FIRST:
            found.setdefault(item.metadata["group"].capitalize(), []).append(item)
    return found


def option_inputs(values: dict[str, Any]) -> list[Any]:
    """The inputs of every setting under their headings, in the order of OPTION_FIELDS."""
    made = {}
    for heading, items in groups().items():
        with gr.Column(elem_classes=["dreamartist-group"]):
            gr.HTML(f"<h4>{heading}</h4>")
            made.update(_fields(items, values))
    return [made[item.name] for item in OPTION_FIELDS]


def _fields(items: Sequence[Field], values: dict[str, Any]) -> dict[str, Any]:
    with gr.Column(elem_classes=["dreamartist-fields"]):
        return {item.name: component_for(item, values[item.name]) for item in items}
