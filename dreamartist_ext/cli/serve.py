"""`dreamartist serve`: the page without a WebUI."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from ..engine.errors import SettingError
from .help import command
from .numbers import Whole
from .options import embeddings_option, model_options
from .output import quiet_option, say


@command("serve --open", "serve --model ~/models/sd15.safetensors --port 8000")
@click.option("--port", type=Whole(1024, 65535), default=7870, show_default=True, help="Port of the page.")
@embeddings_option
@click.option("--open/--no-open", "open_browser", default=False, help="Open the page in the browser.")
@model_options
@quiet_option
def serve(
    port: int, embeddings: Path, open_browser: bool, model: Path | None, device: str, precision: str, clip_skip: int
) -> None:
    """Show the tab on its own in a browser, without a WebUI; Ctrl-C ends it."""
    try:
        from ..webui import standalone
    except ImportError as error:
        raise SettingError('this needs gradio: pip install "dreamartist[serve]".') from error
    say(f"http://127.0.0.1:{port}")
    standalone.serve(
        standalone.StandaloneWorkplace(embeddings, model, device, precision, clip_skip), port, open_browser
    )
