"""The few places where gradio 3.41 (AUTOMATIC1111), 4.40 (Forge) and today's differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

MAJOR = int(gr.__version__.split(".")[0])
NOTHING = gr.update()  # leaves an output as it is


def on(event: Callable, fn: Callable | None, inputs: list, outputs: list, js: str | None = None, **options: Any) -> Any:
    """Connect an event; `js` runs in the browser before `fn`."""
    if js is not None:
        options["_js" if MAJOR < 4 else "js"] = js
    return event(fn=fn, inputs=inputs, outputs=outputs, show_progress="hidden", **options)


def paintable_picture(label: str, elem_id: str) -> Any:
    """One picture to drop, and to paint on."""
    if MAJOR < 4:
        return gr.Image(label=label, source="upload", tool="sketch", type="pil", image_mode="RGBA", elem_id=elem_id)
    return gr.ImageEditor(
        label=label,
        sources=("upload", "clipboard"),
        type="pil",
        image_mode="RGBA",
        transforms=(),
        brush=gr.Brush(colors=["#ffffff"], color_mode="fixed"),
        layers=False,
        elem_id=elem_id,
    )


def picture_and_paint(value: Any) -> tuple[Image.Image | None, Image.Image | None]:
    """The picture as it was dropped, and white where it was painted on (mode L), or None."""
    if value is None:
        return None, None
    if MAJOR < 4:
        picture, paint = value["image"], value["mask"].convert("L")
    else:
        picture = value["background"]
        if picture is not None and picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (0, 0):
            return None, None  # gradio 4 sends an empty sheet where nothing was dropped
        layers = [layer.getchannel("A") for layer in value["layers"] if layer is not None]
        paint = layers[0].point(lambda a: 255 if a > 127 else 0) if layers else None
    if picture is None:
        return None, None
    if paint is None or paint.getextrema() == (0, 0):
        return picture, None
    return picture, paint.resize(picture.size)


def file_paths(value: Any) -> list[Path]:
    """What a File component hands over, in any version."""
    files = value if isinstance(value, list) else [] if value is None else [value]
    return [Path(str(getattr(file, "name", file))) for file in files]
