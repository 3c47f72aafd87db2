"""`dreamartist convert`: a pair as other files, or as a card."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from ..engine.errors import FileError, SettingError
from ..engine.names import check_name, negative_name
from .help import OUTPUT, REQUIRED, command
from .naming import warn_of_ordinary
from .output import answer, json_option, printable, quiet_option, say
from .paths import PATH, repaired, shown

if TYPE_CHECKING:
    from ..engine.embedding import EmbeddingPair
    from ..files.importing import Offer

_SUFFIXES = (".pt", ".safetensors", ".png")


@command("convert embeddings/mycat.pt mycat.safetensors", "convert embeddings/mycat.pt mycat.png --picture cat.jpg")
@click.argument("source", type=PATH, panel=REQUIRED, help="A .pt, .safetensors or .bin file, or a card.")
@click.argument("out", type=PATH, panel=REQUIRED, help="A .pt or .safetensors file, or a .png for a card.")
@click.option("--picture", type=PATH, help="What a card shows; without one, the picture drawn after the training.")
@click.option("--overwrite", is_flag=True, panel=OUTPUT, help="Replace files of this name.")
@json_option
@quiet_option
def convert(source: Path, out: Path, picture: Path | None, overwrite: bool) -> None:
    """Write the pair of SOURCE (.pt, .safetensors, .bin or a card) as OUT: .pt, .safetensors, or .png for a card.

    The other half is found beside SOURCE, and written beside OUT.
    """
    from ..files.atomic import write_together
    from ..files.earlier import keep_earlier
    from ..files.reading import read_offer

    suffix = out.suffix.lower()
    if suffix not in _SUFFIXES:
        raise SettingError(f"OUT must end in {', '.join(_SUFFIXES)}, got {printable(out.name, 80)}.")
    if not out.parent.resolve().name:
        raise SettingError(f"OUT cannot be {shown(out)}: it lies in the root of a drive; choose a folder in it.")
    for folder in (source.parent, out.parent):
        repaired(folder)
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
    keep_earlier(out.parent, offer.name, [out.parent / file for file in earlier])
    write_together(out.parent, offer.name, contents, [file for file in earlier if file not in contents])
    warn_of_ordinary(offer.name)
    say(f"Written to {out.parent}: {', '.join(contents)}")
    answer({"folder": str(out.parent), "files": list(contents)})


def _taken(offer: Offer, source: Path, folder: Path, contents: Collection[str]) -> list[str]:
    """The files of this word that `contents` would replace, in any ending; what is converted stays beside them."""
    from ..files.card_files import files_of_word

    others = files_of_word(folder, offer.name, False) if offer.is_plain else offer.taken(folder, False)
    own = [path for path in map(source.with_name, offer.sources) if path.exists()]
    return [path.name for path in others if path.name in contents or not any(map(path.samefile, own))]


def _files(offer: Offer, suffix: str) -> Mapping[str, bytes]:
    from ..files.importing import as_pair
    from ..files.storage import half_content, pair_contents

    if offer.positive is None and offer.negative is not None:
        word = negative_name(offer.name)
        return {f"{word}{suffix}": half_content(offer.negative, word, suffix)}
    if offer.positive is not None and offer.negative is None and not offer.is_plain:
        return {f"{offer.name}{suffix}": half_content(offer.positive, offer.name, suffix)}
    return pair_contents(as_pair(offer, offer.name), suffix)


def _card(offer: Offer, source: Path, picture: Path | None) -> Mapping[str, bytes]:
    from ..files.card import card_bytes
    from ..files.concepts.sharing import picture_for
    from ..files.importing import as_pair
    from ..files.picture_files import load_picture

    if offer.positive is None:
        raise FileError(f"{printable(source.name, 80)} is a negative half; a card needs the positive one.")
    pair: EmbeddingPair = as_pair(offer, offer.name)
    content = card_bytes(pair, load_picture(picture) if picture else picture_for(source.parent, pair))
    return {f"{offer.name}.png": content}
