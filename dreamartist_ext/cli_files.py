"""The command line's work on files: inspect, convert, rename."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .engine.embedding import EmbeddingPair, check_name, negative_name
from .engine.errors import FileError, SettingError

if TYPE_CHECKING:
    from .engine.importing import Offer

_PATH = click.Path(path_type=Path)
_SUFFIXES = (".pt", ".safetensors", ".png")


@click.command()
@click.argument("file", type=_PATH)
def inspect(file: Path) -> None:
    """Say what an embedding FILE or card holds, and who made it with what."""
    from .engine.family import family_of, widths_of
    from .engine.moves import repair
    from .engine.reading import read_offer

    repair(file.parent)
    offer = read_offer(file)
    halves = {"positive": offer.positive, "negative": offer.negative}
    found = {side: half for side, half in halves.items() if half is not None}
    first = next(iter(found.values()))
    click.echo(f"files    {printable(' + '.join(offer.sources))}")
    click.echo(f"name     {printable(first.name)}")
    click.echo(f"for      {family_of(widths_of(first.vectors))}")
    for side, half in found.items():
        for encoder, vectors in half.vectors.items():
            norms = vectors.norm(dim=1)
            size = f"{len(vectors)} x {vectors.shape[1]} ({encoder}), norms {norms.min():.3f} to {norms.max():.3f}"
            click.echo(f"{side} {size}")
    click.echo(f"step     {'unknown' if first.step is None else first.step}")
    for key, value in sorted(first.provenance.items()):
        if key != "half":
            click.echo(f"{printable(key):8} {printable(value)}")


def printable(text: str, most: int = 2000) -> str:
    """A stranger's text without control characters, cut to a length that fits a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:most])


@click.command()
@click.argument("source", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--picture", type=_PATH, help="What a card shows; without one, the picture drawn after the training.")
@click.option("--overwrite", is_flag=True, help="Replace files of this name.")
def convert(source: Path, out: Path, picture: Path | None, overwrite: bool) -> None:
    """Write the pair of SOURCE (.pt, .safetensors, .bin or a card) as OUT: .pt, .safetensors, or .png for a card.

    The other half is found beside SOURCE, and written beside OUT.
    """
    from .engine.atomic import write_together
    from .engine.earlier import keep_earlier
    from .engine.moves import repair
    from .engine.reading import read_offer

    suffix = out.suffix.lower()
    if suffix not in _SUFFIXES:
        raise SettingError(f"OUT must end in {', '.join(_SUFFIXES)}, got {printable(out.name, 80)}.")
    for folder in (source.parent, out.parent):
        repair(folder)
    offer = replace(read_offer(source), name=check_name(out.stem))
    if suffix == ".png":
        contents = _card(offer, source, picture)
        earlier = [file for file in contents if (out.parent / file).exists()]
    else:
        contents = _files(offer, suffix)
        earlier = _taken(offer, source, out.parent, contents)
    taken = [file for file in (*contents, *earlier) if (out.parent / file).exists()]
    if taken and not overwrite:
        raise SettingError(f"{taken[0]} is there already; choose another name, or --overwrite it.")
    keep_earlier(out.parent, offer.name, earlier)
    write_together(out.parent, offer.name, contents, [file for file in earlier if file not in contents])
    click.echo(f"Written to {out.parent}: {', '.join(contents)}")


def _taken(offer: Offer, source: Path, folder: Path, contents: Collection[str]) -> list[str]:
    """The files of this word that `contents` would replace, in any ending; what is converted stays beside them."""
    from .engine.card_files import files_of_word

    others = files_of_word(folder, offer.name) if offer.is_plain else offer.taken(folder)
    own = [path for path in map(source.with_name, offer.sources) if path.exists()]
    return [path.name for path in others if path.name in contents or not any(map(path.samefile, own))]


def _files(offer: Offer, suffix: str) -> Mapping[str, bytes]:
    from .engine.importing import as_pair
    from .engine.storage import half_content, pair_contents

    if offer.positive is None and offer.negative is not None:
        word = negative_name(offer.name)
        return {f"{word}{suffix}": half_content(offer.negative, word, suffix)}
    if offer.positive is not None and offer.negative is None and not offer.is_plain:
        return {f"{offer.name}{suffix}": half_content(offer.positive, offer.name, suffix)}
    return pair_contents(as_pair(offer, offer.name), suffix)


def _card(offer: Offer, source: Path, picture: Path | None) -> Mapping[str, bytes]:
    from .engine.card import card_bytes
    from .engine.data import load_picture
    from .engine.importing import as_pair
    from .webui.sharing import picture_for

    if offer.positive is None:
        raise FileError(f"{printable(source.name, 80)} is a negative half; a card needs the positive one.")
    pair: EmbeddingPair = as_pair(offer, offer.name)
    content = card_bytes(pair, load_picture(picture) if picture else picture_for(source.parent, pair))
    return {f"{offer.name}.png": content}


@click.command()
@click.argument("old")
@click.argument("new")
@click.option("--embeddings", type=_PATH, default=Path("embeddings"), show_default=True, help="Folder of embeddings.")
def rename(old: str, new: str, embeddings: Path) -> None:
    """Give the concept OLD the name NEW: both files, and what belongs to its training."""
    from .engine.moves import repair
    from .webui.concept_changes import rename as rename_files
    from .webui.concepts import find_concept

    repair(embeddings)
    rename_files(embeddings, find_concept(embeddings, old), new)
    click.echo(f"{old} is called {new} now.")
