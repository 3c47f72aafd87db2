"""`dreamartist rename`: another name for a concept."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from .help import REQUIRED, command
from .naming import warn_of_ordinary
from .options import embeddings_option
from .output import answer, json_option, quiet_option, say
from .paths import repaired


@command("rename mycat tom", "rename mycat tom --embeddings pairs")
@click.argument("old", panel=REQUIRED, help="The name it has.")
@click.argument("new", panel=REQUIRED, help="The new name.")
@embeddings_option
@json_option
@quiet_option
def rename(old: str, new: str, embeddings: Path) -> None:
    """Give the concept OLD the name NEW: both files, and what belongs to its training."""
    from ..files.concepts.changes import rename as rename_files
    from ..files.concepts.trash import find_concept

    repaired(embeddings)
    rename_files(embeddings, find_concept(embeddings, old), new)
    say(f"{old} is called {new} now.")
    warn_of_ordinary(new)
    answer({"old": old, "new": new})
