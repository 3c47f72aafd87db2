"""`dreamartist serve`: the page without a WebUI."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.errors import SettingError
from .options import EMBEDDINGS, PATH, model_options


@click.command()
@click.option("--port", type=click.IntRange(1024, 65535), default=7870, show_default=True)
@click.option("--embeddings", type=PATH, default=EMBEDDINGS, show_default=True, help="Folder of embeddings.")
@click.option("--open/--no-open", "open_browser", default=False, help="Open the page in the browser.")
@model_options
def serve(
    port: int, embeddings: Path, open_browser: bool, model: Path | None, device: str, precision: str, clip_skip: int
) -> None:
    """The tab on its own in a browser, without a WebUI; Ctrl-C ends it."""
    try:
        from ..webui import standalone
    except ImportError as error:
        raise SettingError('this needs gradio: pip install "dreamartist[serve]".') from error
    click.echo(f"http://127.0.0.1:{port}")
    standalone.serve(
        standalone.StandaloneWorkplace(embeddings, model, device, precision, clip_skip), port, open_browser
    )
