"""`dreamartist demo`: what the method does, on a shipped picture."""

from __future__ import annotations

from pathlib import Path

import click

from .options import PATH


@click.command()
@click.option("--out", type=PATH, default=Path("demo-output"), show_default=True)
@click.option("--picture", type=PATH, help="Another picture than the one that is shipped.")
def demo(out: Path, picture: Path | None) -> None:
    """Learn a pair from a shipped picture on the embedded model, and show what it does."""
    from .demonstration import run_demo

    run_demo(out, picture)
