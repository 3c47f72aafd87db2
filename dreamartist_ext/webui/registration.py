"""What `scripts/dreamartist.py` hands to the WebUI."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .jobs import Desk
from .workplace import WebUIWorkplace


@lru_cache(maxsize=1)
def desk() -> Desk:
    """One for the life of the process: a training goes on while the page is built again."""
    desk = Desk(WebUIWorkplace())
    desk.finish_interrupted()
    return desk


def tab() -> list[tuple[Any, str, str]]:
    """The page's own tab, for the WebUI's `on_ui_tabs`."""
    import gradio as gr

    from .tab import build_tab

    with gr.Blocks(analytics_enabled=False) as blocks:
        build_tab(desk())
    return [(blocks, "DreamArtist", "dreamartist")]


def settings() -> None:
    """Our section in Settings, for the WebUI's `on_ui_settings`."""
    from modules import shared

    from .settings import register

    register(shared)


def axes() -> None:
    """Our axes of the X/Y/Z plot, for the WebUI's `on_before_ui`: every script is loaded by then."""
    from modules import scripts

    from .xyz import register

    register(scripts)


def mount_api(_page: Any, app: Any) -> None:
    """Our routes, for the WebUI's `on_app_started`."""
    from .api import mount_in_webui

    mount_in_webui(app, desk())
