"""The left half of the Train page: pictures, name, kind, and the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import gradio as gr

from ...files.start import COUNTS
from ..gradio_compat import on, on_change
from . import kinds
from .actions import Actions
from .kinds import OPTION_NAMES
from .options_form import HEAD, SEARCH, option_inputs
from .own_recipes import build_recipes
from .page_state import MEASURE
from .preview_plan import USUAL
from .settings_view import build_settings_files

HIDDEN = ["dreamartist-hidden"]
LOOKED_AT = ("width", "height", "batch_size", "use_negative", "less_memory", "steps")  # what memory and time depend on
TRAY = """<div class="dreamartist-tray">
<h3 id="dreamartist_pictures_label">Pictures</h3>
<label class="dreamartist-drop"><input type="file" multiple aria-labelledby="dreamartist_pictures_label"
  accept="image/png,image/jpeg,image/webp,image/avif,image/bmp,image/gif,.txt"><b>Drop one picture, or several</b>
<span>or click to choose; pasting works too</span></label>
<ul class="dreamartist-thumbs"></ul><div class="dreamartist-editor" hidden></div>
<div class="dreamartist-tray-says" role="status"></div></div>"""
WITH_TRAY = "async (tray, ...others) => [await dreamartistPictures(), ...others]"
WITH_WISH = "(wish, ...others) => [dreamartistWish(), ...others]"


@dataclass
class Form:
    """The inputs that others need."""

    tray: Any
    name: Any
    start: Any
    kind: Any
    recipe: Any
    chosen: Any
    train: Any
    estimate: Any
    measured: Any
    add: Any
    queue: Any
    options: list[Any]

    @property
    def settings(self) -> list[Any]:
        return [self.tray, self.name, self.start, *self.options]


def build_form(actions: Actions) -> Form:
    """Put the form into the column that is open, and connect it."""
    values = actions.usual()
    parts = SimpleNamespace()
    _build_pictures(parts)
    _build_name(parts, values)
    _build_train(parts)
    _build_settings(actions, parts, values)
    _connect_name_and_kind(actions, parts)
    _connect_train(actions, parts)
    names = (
        "tray",
        "name",
        "start",
        "kind",
        "recipe",
        "chosen",
        "train",
        "estimate",
        "measured",
        "add",
        "queue",
        "options",
    )
    return Form(**{name: getattr(parts, name) for name in names})


def _build_pictures(parts: SimpleNamespace) -> None:
    gr.HTML(TRAY, elem_id="dreamartist_picture")
    parts.tray = gr.Textbox(elem_id="dreamartist_tray", elem_classes=HIDDEN, show_label=False)
    parts.pictures_says = gr.HTML(elem_id="dreamartist_pictures_says")
    parts.spread = gr.Button("Spread the painted mask", size="sm", elem_id="dreamartist_spread")
    parts.spread_says = gr.HTML(elem_id="dreamartist_spread_says")


def _build_name(parts: SimpleNamespace, values: dict[str, Any]) -> None:
    with gr.Row(elem_classes=["dreamartist-row"]):
        room = {"max_lines": 1, "min_width": 150}
        parts.name = gr.Textbox(label="Name", placeholder="mycat", scale=3, elem_id="dreamartist_name", **room)
        parts.start = gr.Textbox(
            value=values["initialization_text"],
            label="Starts from",
            info="A word such as cat; * is neutral.",
            scale=2,
            elem_id="dreamartist_start",
            **room,
        )
    parts.name_says = gr.HTML(elem_id="dreamartist_name_says")
    parts.overwrite = gr.Checkbox(
        False, label="Replace the concept of this name", visible=False, elem_id="dreamartist_overwrite"
    )
    parts.kind = gr.Radio(list(kinds.KIND_LABELS), value="thing", label="What is it", elem_id="dreamartist_kind")
    parts.kind_says = gr.HTML(kinds.kind_html("thing"), elem_id="dreamartist_kind_says")


def _build_train(parts: SimpleNamespace) -> None:
    parts.train_says = gr.HTML(elem_id="dreamartist_train_says")
    with gr.Row(elem_classes=["dreamartist-row"]):
        parts.train = gr.Button("Train", variant="primary", elem_id="dreamartist_train")
        parts.estimate = gr.Button(MEASURE, elem_id="dreamartist_estimate")
    parts.add = gr.Button("Add to the queue", visible=False, elem_id="dreamartist_add")
    parts.each = gr.Button("A training for each picture", elem_id="dreamartist_each")
    parts.queue = gr.HTML(elem_id="dreamartist_queue")
    parts.memory_says = gr.HTML(elem_id="dreamartist_memory")
    parts.measured = gr.HTML(elem_id="dreamartist_measured")


def _build_settings(actions: Actions, parts: SimpleNamespace, values: dict[str, Any]) -> None:
    with gr.Row(elem_classes=["dreamartist-row"]):
        labels = list(kinds.recipe_labels().values())
        parts.recipe = gr.Dropdown(labels, value=labels[0], label="Settings", elem_id="dreamartist_recipe")
        gr.HTML(HEAD, elem_id="dreamartist_settings_head")
    parts.recipe_says = gr.HTML(kinds.recipe_html(actions.model, "thing", ""), elem_id="dreamartist_recipe_says")
    parts.settings_says = gr.HTML(elem_id="dreamartist_field_says")
    with gr.Column(elem_id="dreamartist_options", elem_classes=["dreamartist-folded"]):
        gr.HTML(SEARCH)
        _build_previews(parts)
        parts.options = option_inputs(values)
        build_settings_files(actions, parts.name, parts.start, parts.options, OPTION_NAMES)
        build_recipes(actions, parts.kind, parts.recipe, parts.options)
    parts.usual = gr.HTML(kinds.usual_html(actions.model, "thing", ""), elem_id="dreamartist_usual")
    parts.chosen = gr.State(["thing", ""])
    parts.wish = gr.Textbox(elem_id="dreamartist_set_wish", elem_classes=HIDDEN, show_label=False)
    parts.set_back = gr.Button("set", elem_id="dreamartist_set", elem_classes=HIDDEN)
    for what in ("look", "check", "count", "choose"):
        setattr(parts, what, gr.Button(what, elem_id=f"dreamartist_{what}", elem_classes=HIDDEN))


def _build_previews(parts: SimpleNamespace) -> None:
    wanted = gr.Checkbox(True, label="Draw previews at every check", elem_id="dreamartist_previews_on")
    with gr.Row():
        prompts = gr.Textbox(
            "\n".join(USUAL.prompts),
            lines=2,
            label="Preview prompts",
            info="One a line; [name] is the word.",
            elem_id="dreamartist_preview_prompts",
        )
        seeds = gr.Textbox(
            ", ".join(map(str, USUAL.seeds)),
            max_lines=1,
            label="Preview seeds",
            info="Each prompt is drawn with each seed.",
            elem_id="dreamartist_preview_seeds",
        )
    parts.previews = [wanted, prompts, seeds]


def _connect_name_and_kind(actions: Actions, parts: SimpleNamespace) -> None:
    options = parts.options

    def of(*names: str) -> list[Any]:
        return [options[OPTION_NAMES.index(name)] for name in names]

    def changes(inputs: Sequence[Any]) -> list[Callable]:
        return [each.change for each in inputs]

    (template,), (start_from,) = of("template"), of("start_from")
    named, said = [parts.name, template], [parts.name_says, parts.overwrite]
    on_change(changes(named), parts.check, actions.check_word, named, said)
    on_change([start_from.change], parts.count, actions.count_vectors, [start_from], of(*COUNTS))
    choosers = [parts.kind, parts.recipe]
    told = [parts.kind_says, parts.recipe_says, parts.usual, parts.chosen, *options]
    on_change(changes(choosers), parts.choose, actions.choose, [*choosers, parts.chosen, *options], told)
    wished = [parts.wish, *choosers]
    on(parts.set_back.click, actions.set_back, wished, options, js=WITH_WISH, queue=False)
    on_change(changes(of(*LOOKED_AT)), parts.look, actions.look, options, [parts.memory_says])


def _connect_train(actions: Actions, parts: SimpleNamespace) -> None:
    settings = [parts.tray, parts.name, parts.start]
    said = [parts.train_says, parts.name_says, parts.pictures_says, parts.settings_says]
    asked = [*settings, parts.overwrite, *parts.previews, *parts.options]
    for button, do, then in (
        (parts.train, actions.train, "() => dreamartistBegun()"),
        (parts.add, actions.add, "() => dreamartistBegun(false)"),
        (parts.each, actions.each, "() => dreamartistBegun()"),
    ):
        on(button.click, _with_previews(do), asked, said, js=WITH_TRAY, then=then, queue=False)
    on(
        parts.estimate.click,
        actions.estimate,
        [*settings, *parts.options],
        [parts.measured],
        js=WITH_TRAY,
        then="() => dreamartistAnswered()",
        queue=False,
    )
    spread_mask = parts.options[OPTION_NAMES.index("spread_mask")]
    on(
        parts.spread.click,
        actions.spread,
        [*settings, *parts.options],
        [parts.spread_says, spread_mask],
        js=WITH_TRAY,
        then="() => dreamartistAnswered()",
        queue=False,
    )


def _with_previews(do: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """The three inputs of previews as one argument."""

    def done(*given: Any) -> list[str]:
        return do(*given[:4], given[4:7], *given[7:])

    return done
