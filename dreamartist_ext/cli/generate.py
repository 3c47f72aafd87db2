"""`dreamartist generate`: draw a prompt with learned words in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import rich_click as click

from ..engine.errors import FileError, SettingError
from ..engine.prompts import is_one_line
from ..files.atomic import write_atomically
from .help import OUTPUT, REQUIRED, command
from .numbers import Number, Whole
from .options import embeddings_option, model_options
from .output import answer, json_option, quiet_option, say
from .paths import PATH
from .progress import bar


@command(
    'generate "a mycat on a red background"',
    'generate "a mycat" --count 4 --seed 7 --out cats.png',
    'generate "a mycat" --negative blurry --model ~/models/sd15.safetensors',
)
@click.argument("prompt", panel=REQUIRED, help="What to draw, with learned words in it.")
@click.option("--negative", default="", help="Negative prompt; the negatives of learned words are added to it.")
@embeddings_option
@click.option("--count", type=Whole(1, 1000), default=1, show_default=True, help="How many pictures.")
@click.option("--seed", type=Whole(0, 2**63 - 1), default=0, show_default=True, help="Seed of the first picture.")
@click.option("--steps", type=Whole(1, 500), default=25, show_default=True, help="Steps of the sampler.")
@click.option("--guidance", type=Number(0, 100), default=5.0, show_default=True, help="The CFG scale.")
@model_options
@click.option(
    "--out",
    type=PATH,
    default=Path("picture.png"),
    show_default=True,
    panel=OUTPUT,
    help="PNG file; none is overwritten, more get a number.",
)
@json_option
@quiet_option
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
        if not is_one_line(text):
            raise SettingError(f"prompt and negative must be one line of plain text each, got {text[:80]!r}.")
    paths = free_paths(out, count)
    from ..hosts.diffusers.generation import draw, picture_bytes, with_learned_words
    from ..hosts.diffusers.model_files import load_host, quiet_libraries

    quiet_libraries()
    host = load_host(model, device, precision, clip_skip)
    words = with_learned_words(host, embeddings, prompt, negative)
    if words.added:
        say("added to the negative prompt: " + ", ".join(words.added))
    with bar("drawing", count * steps) as shown:
        pictures = draw(host, words, range(seed, seed + count), steps, guidance, on_step=shown.update)
        for path, picture in zip(paths, pictures, strict=True):
            write_atomically(path, picture_bytes(picture))
    say("Written: " + ", ".join(map(str, paths)))
    answer({"files": [str(path) for path in paths], "added": list(words.added)})


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
