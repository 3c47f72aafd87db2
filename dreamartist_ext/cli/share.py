"""`dreamartist share`: a concept for somebody else."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from ..engine.errors import SettingError
from .help import OUTPUT, REQUIRED, command
from .options import embeddings_option, out_option
from .output import answer, json_option, quiet_option, say
from .paths import repaired, shown


@command("share mycat", "share mycat --files --out for-a-friend")
@click.argument("name", panel=REQUIRED, help="Word of the concept.")
@embeddings_option
@click.option("--files", "as_files", is_flag=True, help="The two .safetensors files, instead of a card.")
@out_option("shared", "Folder to write into.")
@click.option("--overwrite", is_flag=True, panel=OUTPUT, help="Replace files of this name.")
@json_option
@quiet_option
def share(name: str, embeddings: Path, as_files: bool, out: Path, overwrite: bool) -> None:
    """Write a card of the concept NAME: a PNG picture that holds both halves, and needs no other file."""
    from ..files.atomic import write_together
    from ..files.concepts.sharing import files_to_share
    from ..files.concepts.trash import find_concept

    repaired(embeddings)
    made = files_to_share(embeddings, find_concept(embeddings, name))
    contents = {file: content for file, content in made.items() if file.endswith(".png") is not as_files}
    taken = [file for file in contents if (out / file).exists()]
    if taken and not overwrite:
        raise SettingError(
            f"{taken[0]} is in {shown(out)} already; choose another folder with --out, or --overwrite it."
        )
    write_together(out, next(iter(contents)).rpartition(".")[0], contents)
    say(f"Written to {out}: {', '.join(contents)}")
    answer({"folder": str(out), "files": [*contents]})
