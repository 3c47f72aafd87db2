"""The section "DreamArtist" of the WebUI's Settings."""

from __future__ import annotations

from typing import Any

SECTION = ("dreamartist", "DreamArtist")


def register(shared: Any) -> None:
    """For the WebUI's `on_ui_settings`; `shared` is its module of that name."""
    for name, option in options(shared.OptionInfo).items():
        shared.opts.add_option(name, option)


def options(option: Any) -> dict[str, Any]:
    """The settings by name; `option` is the WebUI's class for one. Its default's type chooses the input."""
    import gradio as gr

    return {
        "dreamartist_enabled": option(
            True, "Put the negatives of learned words into negative prompts", section=SECTION
        ).info("off: a learned word brings its positive half only"),
        "dreamartist_strength": option(
            1.0, "Strength of these negatives", gr.Slider, {"minimum": 0, "maximum": 2, "step": 0.05}, section=SECTION
        ).info("multiplied by the strength in the section DreamArtist below the prompt; 0 adds nothing"),
        "dreamartist_off_concepts": option("", "Learned words that bring no negative", section=SECTION).info(
            "separated by commas"
        ),
    }
