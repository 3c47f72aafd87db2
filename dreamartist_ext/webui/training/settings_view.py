"""Settings from a file and into one, on the page: a preset as JSON, or an embedding that knows how it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from ...engine.errors import DreamArtistError
from ...files.settings_files import read_settings, settings_json
from ..gradio_compat import NOTHING, file_paths, on
from .jobs import sentence
from .live_view import download_html, message_html

START = "initialization_text"  # has its place in step 2


def loaded(value: Any, names: Sequence[str]) -> list[Any]:
    """What to say, then the values of START and of the settings `names`; those that the file does not name stay."""
    try:
        (path,) = file_paths(value)
        values = read_settings(path)
    except ValueError:
        return [""] + [NOTHING] * (1 + len(names))
    except DreamArtistError as error:
        return [message_html(sentence(error), "error")] + [NOTHING] * (1 + len(names))
    said = message_html(f"{len(values)} settings are those of {path.name}.", "good")
    return [said, *(values.get(name, NOTHING) for name in (START, *names))]


def saved(name: str, values: dict[str, Any]) -> str:
    """A link that is a preset of these settings."""
    link = download_html(
        "Save this preset", f"{name.strip() or 'my'}-preset.json", "application/json", settings_json(values)
    )
    return f'<div class="dreamartist-facts">{link}: it holds all settings, but no name and no picture.</div>'


def build_settings_files(actions: Any, name: Any, start: Any, options: list[Any], names: Sequence[str]) -> None:
    """The row that loads and saves; `actions.values` gives what the page says now."""
    with gr.Accordion("Settings from a file, or into one", open=False, elem_id="dreamartist_settings_files"):
        file = gr.File(label="A preset (.json), or an embedding", elem_id="dreamartist_settings_file")
        save = gr.Button("Make a preset of these settings", elem_id="dreamartist_settings_save")
        says = gr.HTML(elem_id="dreamartist_settings_says")

    def checked(name: str, start: str, *values: Any) -> str:
        try:
            return saved(name, actions.checked_values(name, start, values))
        except DreamArtistError as error:
            return message_html(sentence(error), "error")

    on(file.change, lambda value: loaded(value, names), [file], [says, start, *options], queue=False)
    on(save.click, checked, [name, start, *options], [says], queue=False)
