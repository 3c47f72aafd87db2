"""`dreamartist list`: the concepts of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import rich_click as click

from .help import command
from .options import embeddings_option
from .output import answer, json_option, note, printable, quiet_option, say, styled
from .paths import repaired, shown

_FAMILIES = {"SD 1": "Stable Diffusion 1", "SD 2": "Stable Diffusion 2", "SDXL": "Stable Diffusion XL"}
_COLUMNS = ("name", "for", "vectors", "step", "date")


@command("list", "list --embeddings pairs --json", "list --trash")
@embeddings_option
@click.option("--trash", is_flag=True, help="List the trash: what was deleted or replaced, and can be restored.")
@json_option
@quiet_option
def list(embeddings: Path, trash: bool) -> None:
    """Say which concepts a folder holds: name, model, vectors (positive + negative), step and date."""
    repaired(embeddings)
    if trash:
        return _list_trash(embeddings)
    rows = _concepts(embeddings)
    for row in rows:
        if row["problem"]:
            note(f"{printable(row['name'], 80)}: {printable(row['problem'])}")
    good = [row for row in rows if not row["problem"]]
    if good:
        _say_table([(row["name"], row["for"], _vectors(row), str(row["step"]), row["date"][:10]) for row in good])
    elif not rows:
        say(f'There is no concept in {shown(embeddings)}; "dreamartist train photo.png --name mycat" makes one.')
    return answer(rows)


def family_in_words(family: str) -> str:
    """For whom an embedding is, as a person would say it."""
    return _FAMILIES.get(family, f"its own model only ({family})")


def _concepts(embeddings: Path) -> Sequence[dict[str, Any]]:
    from ..files.concepts.index import FactsCache, concepts_in
    from ..files.concepts.trash import described, is_learned

    cache = FactsCache()
    learned = [concept for concept in concepts_in(embeddings) if is_learned(concept, cache)]
    return [
        {
            "name": about["name"],
            "problem": about.get("problem", ""),
            "for": family_in_words(about["family"]) if "family" in about else "",
            "vectors": about.get("vectors", 0),
            "negative_vectors": about.get("negative_vectors", 0),
            "lacks": about.get("lacks", ""),
            "step": about.get("step", 0),
            "model": about.get("model", ""),
            "date": datetime.fromtimestamp(concept.changed / 1e9).isoformat(timespec="seconds"),
        }
        for concept, about in ((concept, described(concept, cache)) for concept in learned)
    ]


def _vectors(row: Mapping[str, Any]) -> str:
    lacks = f", without its {row['lacks']}" if row["lacks"] else ""
    return f"{row['vectors']} + {row['negative_vectors']}{lacks}"


def _say_table(rows: Sequence[tuple[str, ...]]) -> None:
    cells = [_COLUMNS, *[tuple(printable(cell, 64) for cell in row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        say(line if number else "", "" if number else styled(line, bold=True))


def _list_trash(embeddings: Path) -> None:
    from ..files.concepts.trash import list_trash

    thrown = list_trash(embeddings)
    for each in thrown:
        what = "replaced" if each.is_replaced else "deleted"
        say(f"{printable(each.name, 64)}  {what} {each.when:%Y-%m-%d %H:%M}")
    if not thrown:
        say(f"The trash of {shown(embeddings)} is empty.")
    answer([{"name": each.name, "replaced": each.is_replaced, "date": each.when.isoformat()} for each in thrown])
