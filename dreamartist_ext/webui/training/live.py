"""The right half of the Train page: how far a training is, what it has drawn, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr

from ..gradio_compat import gallery, on
from .actions import Actions
from .form import HIDDEN, WITH_WISH, Form
from .job import Ask
from .live_view import progress_html
from .page_state import PARTS

ANSWERED, TOLD = "() => dreamartistAnswered()", "() => dreamartistTold()"


def build_live(actions: Actions, form: Form, use_label: str, share: Callable[[str], str]) -> None:
    """Put the training into the column that is open; `share` gives the card of a name as HTML."""
    theirs = {name: getattr(form, name) for name in ("train", "estimate", "measured", "add", "queue")}
    parts = SimpleNamespace(**theirs)
    parts.shown = gr.Dropdown([], label="Training", visible=False, elem_id="dreamartist_shown")
    parts.live = gr.HTML(progress_html(actions.desk.shown(), actions.model), elem_id="dreamartist_live")
    _build_buttons(parts, use_label)
    _build_pictures(parts)
    _build_unfinished(parts)
    parts.beat = gr.HTML(elem_id="dreamartist_beat")
    parts.refresh = gr.Button("refresh", elem_id="dreamartist_refresh", elem_classes=HIDDEN)
    parts.wish = gr.Textbox(elem_id="dreamartist_train_wish", elem_classes=HIDDEN, show_label=False)
    parts.do = gr.Button("do", elem_id="dreamartist_train_do", elem_classes=HIDDEN)
    parts.show_do = gr.Button("show", elem_id="dreamartist_show_do", elem_classes=HIDDEN)
    parts.again_do = gr.Button("again", elem_id="dreamartist_again_do", elem_classes=HIDDEN)
    parts.seen = gr.State({})
    _connect_buttons(actions, parts)
    _connect_again(actions, form, parts)
    on(parts.share.click, share, [parts.shown], [parts.shared], then=ANSWERED, queue=False)
    outputs = [*(getattr(parts, name) for name in PARTS), parts.seen]
    on(parts.show_do.click, actions.show, [parts.wish], [parts.shown], js=WITH_WISH, then=ANSWERED, queue=False)
    on(parts.refresh.click, actions.refresh, [parts.seen, parts.shown], outputs, queue=False)
    on(parts.shown.change, None, [], [], js="() => dreamartistAskNow()")


def _build_buttons(parts: SimpleNamespace, use_label: str) -> None:
    with gr.Row(visible=False, elem_classes=["dreamartist-row"]) as parts.controls:
        parts.stop = gr.Button("Stop, keep best", elem_id="dreamartist_stop")
        parts.pause = gr.Button("Pause", elem_id="dreamartist_pause")
        parts.discard = gr.Button("Discard", elem_id="dreamartist_discard")
    parts.undo = gr.Button("Undo Discard", visible=False, elem_id="dreamartist_undo")
    with gr.Row(visible=False, elem_classes=["dreamartist-row"]) as parts.done:
        parts.use = gr.Button(use_label, variant="primary", elem_id="dreamartist_use")
        parts.share = gr.Button("Share", elem_id="dreamartist_share")
        parts.compare = gr.Button("Compare", elem_id="dreamartist_to_compare")
        parts.again = gr.Button("Train again", elem_id="dreamartist_again")
        parts.go_on = gr.Button("Train on", visible=False, elem_id="dreamartist_go_on")
    parts.says = gr.HTML(elem_id="dreamartist_says")
    parts.shared = gr.HTML(elem_id="dreamartist_shared")


def _build_pictures(parts: SimpleNamespace) -> None:
    parts.steps = gr.HTML(elem_id="dreamartist_steps_row")
    parts.gallery = gallery("Drawn with the word, the same seeds each time", "dreamartist_previews", visible=False)
    with gr.Accordion("Without its negative", open=False, visible=False) as parts.alone_box:
        parts.alone = gallery("Drawn with the positive alone", "dreamartist_alone")
    parts.slider = gr.HTML(elem_id="dreamartist_slider")
    parts.curve = gr.HTML(elem_id="dreamartist_curve")


def _build_unfinished(parts: SimpleNamespace) -> None:
    with gr.Accordion(
        "Unfinished trainings", visible=False, open=True, elem_id="dreamartist_unfinished"
    ) as parts.to_go_on:
        parts.unfinished = gr.Dropdown([], label="Nothing is unfinished", elem_id="dreamartist_unfinished_name")
        with gr.Row(elem_classes=["dreamartist-row"]):
            parts.resume = gr.Button("Continue", elem_id="dreamartist_continue")
            parts.keep = gr.Button("Keep as it is", elem_id="dreamartist_keep")
            parts.forget = gr.Button("Discard", elem_id="dreamartist_forget")


def _connect_buttons(actions: Actions, parts: SimpleNamespace) -> None:
    for button, what in ((parts.stop, Ask.STOP), (parts.pause, Ask.PAUSE), (parts.discard, Ask.DISCARD)):
        on(button.click, lambda what=what: actions.ask(what), [], [parts.says], then=ANSWERED, queue=False)
    on(parts.use.click, None, [], [], js="() => dreamartistUse()")
    on(parts.compare.click, None, [], [], js="() => dreamartistToCompare()")
    for button, do, inputs in (
        (parts.resume, actions.resume, [parts.unfinished]),
        (parts.keep, actions.keep, [parts.unfinished]),
        (parts.forget, actions.discard, [parts.unfinished]),
        (parts.go_on, actions.resume, [parts.shown]),
        (parts.undo, actions.undo_discard, []),
    ):
        on(button.click, do, inputs, [parts.says], then=TOLD, queue=False)
        on(button.click, lambda: "", [], [parts.shared], queue=False)  # what it shows is of another training
    do_step: Any = [parts.wish, parts.shown]
    on(parts.do.click, actions.do, do_step, [parts.says], js=WITH_WISH, then=ANSWERED, queue=False)


def _connect_again(actions: Actions, form: Form, parts: SimpleNamespace) -> None:
    filled = [form.tray, form.name, form.kind, form.recipe, form.chosen, form.start, *form.options]
    taken: Any = {"then": "(says, tray) => dreamartistTakeBack(tray, says)", "queue": False}
    on(parts.again.click, actions.again, [parts.shown], [parts.says, *filled], **taken)
    on(parts.again_do.click, actions.again_of, [parts.wish], [parts.says, *filled], js=WITH_WISH, **taken)
