"""`dreamartist restore`: concepts out of the trash."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from .help import REQUIRED, command
from .options import embeddings_option
from .output import answer, json_option, quiet_option, say
from .paths import repaired


@command("restore mycat", "list --trash")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", panel=REQUIRED, help="Words of the concepts.")
@embeddings_option
@json_option
@quiet_option
def restore(names: tuple[str, ...], embeddings: Path) -> None:
    """Bring back concepts that were deleted, each as it was last."""
    from ..files.concepts.trash import bring_back
    from ..files.run import RunFiles

    repaired(embeddings)
    for name in names:
        bring_back(RunFiles(embeddings, name))
        say(f"{name} is back.")
    answer([{"name": name} for name in names])
