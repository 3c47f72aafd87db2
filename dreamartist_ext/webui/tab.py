"""The tab: Train, My concepts, Compare. Built by the same function in the WebUI and in `dreamartist serve`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import gradio as gr

from .compare.tab import build_comparison
from .concepts.share_view import trained_html
from .concepts.tab import build_concepts
from .gradio_compat import OWN_STYLE
from .training.actions import Actions
from .training.form import build_form
from .training.jobs import Desk
from .training.live import build_live

STYLE = (Path(__file__).parents[1] / "assets" / "page.css").read_text(encoding="utf-8")


def build_tab(
    desk: Desk, use_label: str = "Use in txt2img", more: Mapping[str, Callable[[], None]] | None = None
) -> None:
    """Put the tab into the gradio Blocks that is open. `use_label`: where the page's prompt is. `more`: further
    sub-tabs by their labels, each with what fills it."""
    gr.HTML(f"<style>{STYLE}</style>{OWN_STYLE}", elem_classes=["dreamartist-hidden"])
    with gr.Tabs(elem_id="dreamartist_tabs"):
        with gr.Tab("Train"):
            build_training(desk, use_label)
        with gr.Tab("My concepts") as concepts:
            build_concepts(desk, concepts)
        with gr.Tab("Compare") as compare:
            build_comparison(desk, compare)
        for label, build in (more or {}).items():
            with gr.Tab(label):
                build()


def build_training(desk: Desk, use_label: str) -> None:
    """The sub-tab "Train", inside the tab that is open."""
    actions = Actions(desk)
    with gr.Row(elem_id="dreamartist_tab"):
        with gr.Column(scale=1, min_width=320):
            form = build_form(actions)
        with gr.Column(scale=1, min_width=320, elem_id="dreamartist_trained"):
            build_live(actions, form, use_label, lambda name: trained_html(desk, name or ""))
