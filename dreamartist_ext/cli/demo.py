"""`dreamartist demo`: what the method does, on a shipped picture."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from .help import command
from .options import out_option
from .output import quiet_option
from .paths import PATH


@command("demo", "demo --picture photo.png --out my-demo")
@click.option("--picture", type=PATH, help="Your own picture instead of the shipped one.")
@out_option("demo-output", "Folder for the page, the pictures and the pair.")
@quiet_option
def demo(out: Path, picture: Path | None) -> None:
    """Learn a pair from a shipped picture on the embedded model, and show what it does."""
    from .demonstration import run_demo

    run_demo(out, picture)
