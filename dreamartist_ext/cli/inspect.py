"""`dreamartist inspect`: what a file holds."""

from __future__ import annotations

from pathlib import Path

import click

from .options import PATH
from .text import printable


@click.command()
@click.argument("file", type=PATH)
def inspect(file: Path) -> None:
    """Say what an embedding FILE or card holds, and who made it with what."""
    from ..engine.family import family_of, widths_of
    from ..files.moves import repair
    from ..files.reading import read_offer

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
