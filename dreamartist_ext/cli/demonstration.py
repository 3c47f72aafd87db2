"""The demo: one shipped picture, a pair and a plain inversion of it, and a page that shows the difference."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from .. import __version__
from ..engine.config import TrainConfig
from ..engine.embedding import EmbeddingPair
from ..engine.names import negative_name
from ..engine.trainer import Training
from ..evaluation.grids import grid
from ..files.atomic import write_all_atomically
from ..files.card_drawing import font_of
from ..files.pages import page
from ..files.picture_files import load_picture
from ..files.pictures import load_pictures
from ..files.presets import layered
from ..files.run import RunFiles, run_to_files
from ..hosts.diffusers.generation import LearnedPrompt, draw, picture_bytes
from ..hosts.diffusers.host import DiffusersHost, to_image
from ..hosts.diffusers.model_files import load_host, quiet_libraries, training_defaults
from .output import say
from .progress import bar, progress

SAMPLE = Path(__file__).parents[1] / "assets" / "samples" / "pineapple.png"
NAME = "mything"
GUIDANCE, DRAWING_STEPS = 2.5, 25  # plain inversion is at its best there
PROMPTS = ("a {}", *(f"a {{}} on a {colour} background" for colour in ("white", "blue", "yellow", "red")))
SEEDS_FOR_FIRST_PROMPT = 2
CELL = 192  # pixels of a picture's side on the sheet: one and a half times as large as they are drawn


@dataclass(frozen=True)
class Row:
    """One way of drawing the concept: what to call it, why it is there, and its pictures."""

    title: str
    meaning: str
    pictures: list[Any]  # on the page, as text


def run_demo(out: Path, picture: Path | None) -> None:
    """Train, draw and write everything into `out`; at most ten minutes on two cores.

    On one thread, so that the pictures are the same for any number of cores: with more threads the last digits differ,
    and a training of this small model then ends elsewhere.
    """
    started = time.monotonic()
    torch.set_num_threads(1)
    if picture is not None:
        load_picture(picture)  # refuses it before anything large is loaded
    quiet_libraries()
    RunFiles(out / "embeddings", NAME).check(resume=False, overwrite=True)
    host = load_host()
    config = TrainConfig.from_mapping(layered({"name": NAME, "save_every": 0}, training_defaults()))
    size = host.picture_size
    pictures = load_pictures([picture or SAMPLE], size, size)
    pair = _train(host, config, pictures, out)
    # As other trainers do, it lets the vectors grow.
    plain_config = replace(config, name=f"{NAME}-plain", use_negative=False, fix_norm="off")
    plain = _train(host, plain_config, pictures, out)
    rows = _draw_rows(host, pair, plain)
    reference = to_image(pictures[0].pixels)
    sheet = contact_sheet(reference, rows)
    page = report(reference, rows, config)
    write_all_atomically({out / "demo.png": picture_bytes(sheet), out / "demo.html": page.encode()})
    say(
        f"\nDone in {time.monotonic() - started:.0f} s. Look at {(out / 'demo.html').resolve()}\n"
        f"or {(out / 'demo.png').resolve()}; the pair is {NAME}.pt and {negative_name(NAME)}.pt in embeddings/ there."
    )


def _train(host: DiffusersHost, config: TrainConfig, pictures: Sequence, out: Path) -> EmbeddingPair:
    training = Training(host, config, pictures)
    kind = "the pair" if config.use_negative else "plain textual inversion, to compare"
    files = RunFiles(out / "embeddings", config.name)
    with closing(run_to_files(training, files, {"model": host.parts.name, "version": __version__})) as reports:
        for _ in progress(reports, f"training {kind}", config.steps):
            pass
    return training.pair.detached()


def _draw_rows(host: DiffusersHost, pair: EmbeddingPair, plain: EmbeddingPair) -> list[Row]:
    ways = (
        (
            "The pair",
            f"{pair.name} in the prompt, {negative_name(pair.name)} in the negative prompt",
            pair,
            negative_name(pair.name),
        ),
        ("Positive only", f"the same {pair.name}, without its negative", pair, ""),
        (
            "Plain inversion",
            "by our own trainer, without a negative; same picture, steps and seed",
            plain,
            "",
        ),
    )
    count = SEEDS_FOR_FIRST_PROMPT + len(PROMPTS) - 1
    rows = []
    with bar("drawing", len(ways) * count * DRAWING_STEPS) as shown:
        for title, meaning, learned, negative in ways:
            pictures: list[Image.Image] = []
            for number, prompt in enumerate(PROMPTS):
                words = LearnedPrompt(prompt.format(learned.name), negative, learned.named())
                seeds = range(SEEDS_FOR_FIRST_PROMPT) if number == 0 else range(number, number + 1)
                pictures += draw(host, words, seeds, DRAWING_STEPS, GUIDANCE, on_step=shown.update)
            rows.append(Row(title, meaning, pictures))
    return rows


def column_titles() -> list[str]:
    first = PROMPTS[0].format(NAME)
    return [first] * SEEDS_FOR_FIRST_PROMPT + [prompt.format(NAME) for prompt in PROMPTS[1:]]


def contact_sheet(reference: Image.Image, rows: Sequence[Row]) -> Image.Image:
    """The reference at the left, a row of pictures for each way of drawing, with captions."""
    cell, gap, head, left = CELL, 8, 40, CELL + 48
    titles = column_titles()
    sheet = grid([list(map(_enlarged, row.pictures)) for row in rows], (gap, head), (left, head))
    pen, font = ImageDraw.Draw(sheet), font_of(13)
    pen.text((16, 12), "the one picture", "black", font)
    sheet.paste(_enlarged(reference), (16, head))
    for column, title in enumerate(titles):
        pen.multiline_text((left + column * (cell + gap), 4), title.replace(" on ", "\non "), "black", font)
    for number, row in enumerate(rows):
        pen.text((left, (head + cell) * (number + 1) + 6), f"{row.title}: {row.meaning}", "black", font)
    return sheet


def _enlarged(picture: Image.Image) -> Image.Image:
    return picture.resize((CELL, CELL), Image.Resampling.BICUBIC)


def report(reference: Image.Image, rows: Sequence[Row], config: TrainConfig) -> str:
    """One self-contained page that needs no knowledge of the method."""
    return page(
        "demo.html.j2",
        reference=_base64(reference),
        steps=config.steps,
        name=NAME,
        negative=negative_name(NAME),
        titles=column_titles(),
        rows=[replace(row, pictures=list(map(_base64, row.pictures))) for row in rows],
        settings=config.to_json(),
    )


def _base64(picture: Image.Image) -> str:
    return base64.b64encode(picture_bytes(picture)).decode()
