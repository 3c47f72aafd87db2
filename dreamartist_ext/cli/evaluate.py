"""`dreamartist evaluate`: how good learned pairs are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from ..engine.errors import SettingError
from .help import REQUIRED, command
from .numbers import Whole
from .options import embeddings_option, model_options, out_option
from .output import json_option, quiet_option
from .paths import FOLDER, PATH


@command(
    "evaluate mycat --reference photo.png --plain-word cat",
    "evaluate pairs/ --reference pictures/",
    "evaluate --write-prompts my-prompts",
)
@click.argument(
    "targets", nargs=-1, metavar="NAME|FOLDER...", panel=REQUIRED, help="Words of pairs, or folders of pairs."
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="PICTURE",
    panel=REQUIRED,
    help="What a pair was learned from: a picture, NAME=PICTURE, or a folder of NAME.png.",
)
@embeddings_option
@click.option(
    "--plain-word",
    "plain_words",
    multiple=True,
    metavar="WORD",
    help="Ordinary word to compare with, such as cat, or NAME=WORD.",
)
@click.option("--prompts", type=FOLDER, help="Folder of lists of prompts, instead of the shipped ones.")
@click.option("--write-prompts", type=FOLDER, help="Copy the shipped lists into this folder for editing, and end.")
@click.option("--seeds", type=Whole(1, 64), default=4, show_default=True, help="How many pictures of each prompt.")
@click.option("--seed", type=Whole(0, 2**63 - 65), default=0, show_default=True, help="Seed of the first picture.")
@click.option(
    "--guidance",
    "guidances",
    type=float,
    multiple=True,
    default=(3, 5, 7),
    show_default=True,
    help="CFG scale; may be given several times.",
)
@click.option(
    "--strength",
    "strengths",
    type=float,
    multiple=True,
    default=(0.5, 0.7, 0.9),
    show_default=True,
    help="img2img: how much of the picture is drawn anew; may be given several times.",
)
@click.option("--steps", type=int, default=20, show_default=True, help="Steps of the sampler.")
@click.option("--clip", type=PATH, help="Measure with CLIP: a file of its weights on this machine.")
@click.option("--clip-model", default="ViT-L-14-quickgelu", show_default=True, help="Architecture of these weights.")
@model_options
@out_option("evaluation-output", "Folder for the report.")
@json_option
@quiet_option
def evaluate(
    targets: tuple[str, ...],
    embeddings: Path,
    references: tuple[str, ...],
    plain_words: tuple[str, ...],
    prompts: Path | None,
    write_prompts: Path | None,
    seeds: int,
    seed: int,
    out: Path,
    clip: Path | None,
    clip_model: str,
    model: Path | None,
    device: str,
    precision: str,
    clip_skip: int,
    **drawn: Any,
) -> None:
    """Say how good learned pairs are: a report with pictures and figures.

    The same command goes on where it was stopped.
    """
    from . import evaluation

    if write_prompts is not None:
        return evaluation.copy_prompts(write_prompts, model is None)
    if not targets:
        raise SettingError("give the name of a pair, or a folder of pairs.")
    plan = {**drawn, "seeds": tuple(range(seed, seed + seeds))}
    look = (clip, clip_model) if clip is not None else None
    loading = (model, device, precision, clip_skip)
    return evaluation.evaluate(targets, embeddings, references, plain_words, prompts, plan, out, look, loading)
