"""`dreamartist delete`: concepts into the trash."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import rich_click as click

from ..engine.errors import FileError, SettingError
from .help import REQUIRED, command
from .options import EMBEDDINGS, embeddings_option
from .output import answer, json_option, printable, quiet_option, say
from .paths import repaired


@command("delete mycat", "delete mycat mydog --yes", "restore mycat")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", panel=REQUIRED, help="Words of the concepts.")
@embeddings_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@quiet_option
def delete(names: tuple[str, ...], embeddings: Path, yes: bool) -> None:
    """Move concepts and what belongs to their trainings into the trash, from which `restore` brings them back."""
    from ..files.concepts.index import facts_of
    from ..files.concepts.trash import find_concept, throw_away_concept

    repaired(embeddings)
    concepts = [find_concept(embeddings, name) for name in dict.fromkeys(names)]
    if not yes:
        _ask([concept.name for concept in concepts])
    deleted = []
    for concept in concepts:
        try:
            key = facts_of((concept.positive or concept.files[0]).path).key
        except FileError:  # a damaged one can be thrown away as well, without its picture
            key = ""
        place = throw_away_concept(embeddings, concept, key)
        deleted.append({"name": concept.name, "trash": str(place)})
        where = "" if embeddings == EMBEDDINGS else f" --embeddings {shlex.quote(str(embeddings))}"
        name = shlex.quote(concept.name)
        words = f"{where} -- {name}" if name.startswith("-") else f" {name}{where}"
        back = f"dreamartist restore{words}"
        say(f'{concept.name} is in the trash now; "{back}" brings it back.')
    answer(deleted)


def _ask(names: list[str]) -> None:
    if not _is_there_somebody():
        raise SettingError(f"nobody is there to be asked whether to delete {', '.join(names)}; say it with --yes.")
    click.confirm(f"Move {printable(', '.join(names))} into the trash?", abort=True, err=True)


def _is_there_somebody() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
