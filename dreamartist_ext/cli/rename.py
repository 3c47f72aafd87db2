"""`dreamartist rename`: another name for a concept."""

from __future__ import annotations

from pathlib import Path

import click

from .options import EMBEDDINGS, PATH


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--embeddings", type=PATH, default=EMBEDDINGS, show_default=True, help="Folder of embeddings.")
def rename(old: str, new: str, embeddings: Path) -> None:
    """Give the concept OLD the name NEW: both files, and what belongs to its training."""
    from ..files.concepts.changes import rename as rename_files
    from ..files.concepts.trash import find_concept
    from ..files.moves import repair

    repair(embeddings)
    rename_files(embeddings, find_concept(embeddings, old), new)
    click.echo(f"{old} is called {new} now.")
