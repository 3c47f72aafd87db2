"""`dreamartist generate`: draw a prompt with learned words in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

from ..engine.errors import FileError, SettingError
from ..files.atomic import write_atomically
from .options import EMBEDDINGS, PATH, model_options


@click.command()
@click.argument("prompt")
@click.option("--negative", default="", help="Negative prompt; the negatives of learned words are added to it.")
@click.option("--embeddings", type=PATH, default=EMBEDDINGS, show_default=True, help="Folder of embeddings.")
@click.option(
    "--out",
    type=PATH,
    default=Path("picture.png"),
    show_default=True,
    help="PNG file; none is overwritten, more get a number.",
)
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the first picture.")
@click.option("--steps", type=click.IntRange(1, 500), default=25, show_default=True)
@click.option("--guidance", type=click.FloatRange(0, 100), default=5.0, show_default=True)
@model_options
def generate(
    prompt: str,
    negative: str,
    embeddings: Path,
    out: Path,
    count: int,
    seed: int,
    steps: int,
    guidance: float,
    model: Path | None,
    device: str,
    precision: str,
    clip_skip: int,
) -> None:
    """Draw PROMPT; a learned word in it brings its negative along by itself."""
    if out.suffix.lower() != ".png":
        raise SettingError(f"out must be a .png file, got {out.name[:80]}.")
    for text in (prompt, negative):
        if not text.isprintable():
            raise SettingError("prompt and negative must be one line of plain text each.")
    paths = free_paths(out, count)
    from tqdm import tqdm

    from ..hosts.diffusers.generation import draw, picture_bytes, with_learned_words
    from ..hosts.diffusers.model_files import load_host, quiet_libraries

    quiet_libraries()
    host = load_host(model, device, precision, clip_skip)
    words = with_learned_words(host, embeddings, prompt, negative)
    if words.added:
        click.echo("added to the negative prompt: " + ", ".join(words.added))
    with tqdm(total=count * steps, desc="drawing", unit="step", dynamic_ncols=True) as bar:
        pictures = draw(host, words, range(seed, seed + count), steps, guidance, on_step=bar.update)
        for path, picture in zip(paths, pictures, strict=True):
            write_atomically(path, picture_bytes(picture))
    click.echo("Written: " + ", ".join(map(str, paths)))


def free_paths(out: Path, count: int) -> list[Path]:
    """OUT, OUT-2, OUT-3, ... without those that are there already; raises FileError if none can be written."""

    numbered = (out if i == 1 else out.with_stem(f"{out.stem}-{i}") for i in itertools.count(1))
    try:
        paths = list(itertools.islice((path for path in numbered if not path.exists()), count))
    except OSError as error:
        raise FileError(f"{out.name[:80]} cannot be written: {error.strerror}.") from error
    write_atomically(paths[0], b"")
    paths[0].unlink()
    return paths
