"""The few places where gradio 3.41 (AUTOMATIC1111), 4.40 (Forge) and today's differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

MAJOR = int(gr.__version__.split(".")[0])
NOTHING = gr.update()  # leaves an output as it is
JS = "_js" if MAJOR < 4 else "js"
# Gradio 3 fades whatever is asked for anew, once a second where a training is followed; its galleries lie under their
# own label, are wider than a phone, and enlarge a picture no further than their row is high.
STILL = "#dreamartist_tabs .pending { opacity: 1 !important }"
GALLERIES = """:is(#dreamartist_previews, #dreamartist_alone) .grid-container { padding-top: 24px !important;
  grid-template-columns: repeat(var(--grid-cols, 3), minmax(0, 1fr)) !important }
:is(#dreamartist_previews, #dreamartist_alone):has(.preview) { min-height: min(520px, 60vh) !important }"""
BELOW_LABELS = ":is(#dreamartist_previews, #dreamartist_alone, #dreamartist_gallery) .grid-wrap { padding-top: 2.2em }"
OWN_STYLE = f"<style>{STILL}{GALLERIES if MAJOR < 4 else BELOW_LABELS}</style>"


def on(
    event: Callable,
    fn: Callable | None,
    inputs: list,
    outputs: list,
    js: str | None = None,
    then: str | None = None,
    **options: Any,
) -> Any:
    """Connect an event; `js` runs in the browser before `fn`, and `then` when it has answered, with the outputs."""
    if js is not None:
        options[JS] = js
    made = event(fn=fn, inputs=inputs, outputs=outputs, show_progress="hidden", **options)
    if then is not None:
        made.then(fn=None, inputs=outputs, outputs=[], **{JS: then})
    return made


def on_change(
    events: Sequence[Callable], button: Any, fn: Callable, inputs: list, outputs: list, js: str | None = None
) -> None:
    """Connect events that may come faster than they are answered, by way of a hidden button: `fn` is asked once at a
    time, and again where something has changed meanwhile. Gradio 3 takes no second question before the first one is
    answered; today's does, of two events, and the older answer may come last."""
    for event in events:
        on(event, None, [], [], js=f"() => dreamartistAskAlone('#{button.elem_id}')")
    then = f"() => dreamartistToldAlone('#{button.elem_id}')"
    on(button.click, fn, inputs, outputs, js=js, then=then, queue=False)


def gallery(label: str, elem_id: str, columns: int = 3, **options: Any) -> Any:
    """The host's own gallery, where a picture can be enlarged, stepped through and saved."""
    if MAJOR >= 4:
        options = {"format": "png", "interactive": False, **options}
    return gr.Gallery(
        label=label, elem_id=elem_id, columns=columns, height="auto", object_fit="contain", preview=False, **options
    )


def file_paths(value: Any) -> list[Path]:
    """What a File component hands over, in any version."""
    files = value if isinstance(value, list) else [] if value is None else [value]
    return [Path(str(getattr(file, "name", file))) for file in files]
