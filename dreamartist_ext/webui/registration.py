"""What `scripts/dreamartist.py` hands to the WebUI."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from ..hosts.webuis.options import script_runner, settings_page
from .running import workplace
from .training.jobs import Desk


@lru_cache(maxsize=1)
def desk() -> Desk:
    """One for the life of the process: a training goes on while the page is built again."""
    desk = Desk(workplace())
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
    from .settings import register

    register(settings_page())


def axes() -> None:
    """Our axes of the X/Y/Z plot, for the WebUI's `on_before_ui`: every script is loaded by then."""
    from .prompts.xyz import register

    register(script_runner())


def mount_api(_page: Any, app: Any) -> None:
    """Our routes, for the WebUI's `on_app_started`."""
    from .api import mount_in_webui

    mount_in_webui(app, desk())


CALLBACKS: dict[str, Callable[..., Any]] = {
    "ui_tabs": tab,
    "ui_settings": settings,
    "before_ui": axes,
    "app_started": mount_api,
}


def registrar(script_callbacks: Any, event: str, file: str) -> Callable[[Callable[..., Any]], Any]:
    """What registers a callback of the script `file` for this event; `script_callbacks` is the WebUI's module.

    Its own `on_ui_tabs` and the like look through the call stack, source by source, to see whose callback it is: 0.05 s
    each at every start. Where they can be told the file, they are.
    """
    add = getattr(script_callbacks, "add_callback", None)
    kept = getattr(script_callbacks, "callback_map", {}).get(f"callbacks_{event}")
    if add is None or kept is None or not {"category", "filename"} <= inspect.signature(add).parameters.keys():
        by_name: Callable[[Callable[..., Any]], Any] = getattr(script_callbacks, f"on_{event}")
        return by_name
    return partial(add, kept, category=event, filename=file)
