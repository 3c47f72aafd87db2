"""`dreamartist inspect`: what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from .help import REQUIRED, command
from .output import answer, json_option, printable, quiet_option, say
from .paths import PATH, repaired

if TYPE_CHECKING:
    from ..files.importing import Offer


@command("inspect embeddings/mycat.pt", "inspect mycat.png --json")
@click.argument("file", type=PATH, panel=REQUIRED, help="A .pt, .safetensors or .bin file, or a card.")
@json_option
@quiet_option
def inspect(file: Path) -> None:
    """Say what an embedding FILE or card holds, and who made it with what."""
    from ..files.reading import read_offer

    repaired(file.parent)
    about = _about(read_offer(file), file)
    say(f"files    {printable(' + '.join(about['files']))}")
    say(f"name     {printable(about['name'])}")
    say(f"for      {about['for']}")
    for half in about["halves"]:
        norms = f"{half['least_norm']:.3f} to {half['most_norm']:.3f}"
        say(f"{half['side']} {half['vectors']} x {half['width']} ({printable(half['encoder'], 80)}), norms {norms}")
    say(f"step     {'unknown' if about['step'] is None else about['step']}")
    for key, value in about["provenance"].items():
        say(f"{printable(key):8} {printable(value)}")
    answer(about)


def _about(offer: Offer, file: Path) -> dict[str, Any]:
    from ..engine.family import family_of, widths_of
    from ..files.card_files import card_word

    halves = {"positive": offer.positive, "negative": offer.negative}
    found = {side: half for side, half in halves.items() if half is not None}
    first = next(iter(found.values()))
    return {
        "files": list(offer.sources),
        "name": card_word(file) or (file.stem if offer.positive is None else offer.stem),
        "for": family_of(widths_of(first.vectors)),
        "halves": [
            {
                "side": side,
                "encoder": encoder,
                "vectors": len(vectors),
                "width": vectors.shape[1],
                "least_norm": float(vectors.norm(dim=1).min()),
                "most_norm": float(vectors.norm(dim=1).max()),
            }
            for side, half in found.items()
            for encoder, vectors in half.vectors.items()
        ],
        "step": first.step,
        "provenance": {key: value for key, value in sorted(first.provenance.items()) if key != "half"},
    }
