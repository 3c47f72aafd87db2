"""The command line: train, generate, evaluate, demo, serve; and what cli_files.py adds."""

from __future__ import annotations

import itertools
import json
import math
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from . import __version__, cli_files, cli_many
from .engine.atomic import write_atomically
from .engine.config import TrainConfig
from .engine.embedding import negative_name
from .engine.errors import FileError, SettingError, StoppedError
from .engine.options import field_type
from .engine.presets import PRESETS
from .engine.settings_files import check_replaceable, read_settings, settings_json

EMBEDDINGS = Path("embeddings")
_PATH = click.Path(path_type=Path)


def model_options(command: Callable) -> Callable:
    """--model, --clip-skip, --device and --precision"""
    command = click.option(
        "--model", type=_PATH, help="A folder in diffusers' layout or a checkpoint; the embedded model if left out."
    )(command)
    command = click.option(
        "--clip-skip",
        type=click.IntRange(1, 12),
        default=1,
        help="Read the text encoder this many layers from its end.",
    )(command)
    command = click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")(command)
    return click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto")(command)


def config_options(command: Callable) -> Callable:
    """A flag for every field of TrainConfig; values are checked by TrainConfig itself."""
    for item in reversed(fields(TrainConfig)):
        flag = "--" + item.name.replace("_", "-")
        about = item.metadata["help"] + (f" [{item.metadata['unit']}]" if item.metadata["unit"] else "")
        if field_type(item) is bool:
            command = click.option(f"{flag}/--no-{flag[2:]}", item.name, default=None, help=about)(command)
        else:
            metavar = "|".join(item.metadata["choices"]) or field_type(item).__name__.upper()
            command = click.option(flag, item.name, metavar=metavar, help=about)(command)
    return command


@click.group()
@click.version_option(__version__)
def dreamartist() -> None:
    """Teach Stable Diffusion a concept from one picture."""


for _command in (cli_files.inspect, cli_files.convert, cli_files.rename):
    dreamartist.add_command(_command)
dreamartist.command()(config_options(model_options(cli_many.train_many)))


@dreamartist.command()
@click.argument("pictures", nargs=-1, required=True, type=_PATH)
@config_options
@click.option("--out", type=_PATH, default=EMBEDDINGS, show_default=True, help="Folder for the embeddings.")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help="Settings for a kind of concept; all others win over it."
)
@click.option(
    "--config",
    "config_file",
    type=_PATH,
    help="Settings as JSON, or an embedding, whose training's settings are taken; flags win over it.",
)
@click.option("--save-config", type=_PATH, help="Write the settings of this training, but for its name, as JSON.")
@click.option("--resume", is_flag=True, help="Go on where this training stopped, with the same settings.")
@click.option("--overwrite", is_flag=True, help="Replace a concept of this name.")
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Share the samples of every step, each process on a GPU of its own.",
)
@model_options
def train(
    pictures: tuple[Path, ...],
    out: Path,
    preset: str | None,
    config_file: Path | None,
    save_config: Path | None,
    resume: bool,
    overwrite: bool,
    processes: int,
    model: Path | None,
    device: str,
    precision: str,
    clip_skip: int,
    **flags: Any,
) -> None:
    """Learn NAME and NAME-neg from one PICTURE (or a few of the same concept)."""
    given = read_settings(config_file) if config_file else {}
    given |= {name: value for name, value in flags.items() if value is not None}
    if "name" not in given:
        raise SettingError('give the concept a name, for example "--name mycat".')
    from .engine.prompts import with_template_files
    from .engine.provenance import about_model
    from .engine.run import RunFiles
    from .hosts.model_files import quiet_libraries, training_defaults
    from .hosts.only_one import only_one
    from .hosts.processes import Job, opened

    given = with_template_files(given)
    files = RunFiles(out, TrainConfig.from_mapping(given).name)
    files.check(resume, overwrite)
    snapshot = files.last_snapshot() if resume else None
    if snapshot and snapshot.notice:
        click.echo(f"Note: {snapshot.notice}")
    base = json.loads(snapshot.config) if snapshot else training_defaults(model)
    config = TrainConfig.from_mapping(base | (PRESETS[preset] if preset else {}) | given)
    if save_config:
        check_replaceable(save_config)
    check_pictures(pictures, config)
    quiet_libraries()
    job = Job(config, pictures, (model, device, precision, clip_skip), files.folder)
    with opened(job, processes, snapshot) as (host, training):
        if save_config:
            write_atomically(save_config, settings_json(config.to_mapping()))
        with only_one(files):
            _train_with_progress(training, files, about_model(host, __version__))


def check_pictures(paths: tuple[Path, ...], config: TrainConfig) -> None:
    """Refuse a bad picture, or one without its caption, before the model is loaded."""
    from .engine.data import captions_for, distinct_pictures, load_picture

    captions = captions_for(config)
    for path, _ in distinct_pictures(paths):
        load_picture(path)
        captions(path)


def _train_with_progress(training: Any, files: Any, provenance: dict[str, str]) -> None:
    from .engine.run import final_step, run_to_files
    from .engine.storage import find_embedding

    name, steps = files.name, training.config.steps
    with stop_on_ctrl_c() as stopped, closing(run_to_files(training, files, provenance)) as reports:
        for _ in progress(reports, f"training {name}", steps, training.step):
            if stopped() and not training.is_over:
                break
    if not training.is_over:
        raise StoppedError(
            f"stopped at step {training.step} of {steps}; the same command with --resume goes on from there."
        )
    if notice := training.guard.notice():
        click.echo(f"Note: {notice}")
    halves = [name, negative_name(name)] if training.config.use_negative else [name]
    written = [path.name for half in halves if (path := find_embedding(files.out, half))]
    kept = final_step(training, files)
    if training.step < steps:
        click.echo(f"Stopped at step {training.step} of {steps}: patience has run out.")
    if kept < training.step:
        click.echo(f"The best check was at step {kept}, and so is the pair.")
    click.echo(f"Written to {files.out}: {', '.join(written)}")


def progress(reports: Iterator[Any], label: str, steps: int, done: int = 0) -> Iterator[Any]:
    """Pass the reports on under a bar with the time left, the seconds per step and the mean loss."""
    from tqdm import tqdm

    mean = None
    with tqdm(total=steps, initial=done, desc=label, unit="step", dynamic_ncols=True) as bar:
        for report in reports:
            if report.step % 5 == 0 or mean is None:  # reading a loss waits for the GPU
                loss = float(report.loss)
                if math.isfinite(loss):
                    mean = loss if mean is None else 0.9 * mean + 0.1 * loss
            if mean is not None:
                bar.set_postfix_str(f"loss {mean:.3f}", refresh=False)
            bar.update()
            yield report


@contextmanager
def stop_on_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C only asks to stop, so that neither a step nor a snapshot is ever cut in two."""
    asked = False

    def ask(_signal: int, _frame: types.FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@dreamartist.command()
@click.argument("prompt")
@click.option("--negative", default="", help="Negative prompt; the negatives of learned words are added to it.")
@click.option("--embeddings", type=_PATH, default=EMBEDDINGS, show_default=True, help="Folder of embeddings.")
@click.option(
    "--out",
    type=_PATH,
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

    from .hosts.generation import draw, picture_bytes, with_learned_words
    from .hosts.model_files import load_host, quiet_libraries

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


@dreamartist.command()
@click.option("--out", type=_PATH, default=Path("demo-output"), show_default=True)
@click.option("--picture", type=_PATH, help="Another picture than the one that is shipped.")
def demo(out: Path, picture: Path | None) -> None:
    """Learn a pair from a shipped picture on the embedded model, and show what it does."""
    from .demo import run_demo

    run_demo(out, picture)


@dreamartist.command()
@click.argument("targets", nargs=-1, metavar="NAME|FOLDER...")
@click.option("--embeddings", type=_PATH, default=EMBEDDINGS, show_default=True, help="Folder of embeddings.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    help="What a pair was learned from: a picture, NAME=PICTURE, or a folder of NAME.png.",
)
@click.option("--plain-word", "plain_words", multiple=True, help="What to call it without the word, or NAME=WORD.")
@click.option("--prompts", type=_PATH, help="Folder of lists of prompts, instead of the shipped ones.")
@click.option("--write-prompts", type=_PATH, help="Put the shipped lists into this folder, to be edited, and end.")
@click.option("--seeds", type=click.IntRange(1, 64), default=4, show_default=True, help="Pictures of each prompt.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 65), default=0, show_default=True, help="Of the first.")
@click.option("--guidance", "guidances", type=float, multiple=True, default=(3, 5, 7), show_default=True)
@click.option("--strength", "strengths", type=float, multiple=True, default=(0.5, 0.7, 0.9), show_default=True)
@click.option("--steps", type=int, default=20, show_default=True, help="Of each picture.")
@click.option("--out", type=_PATH, default=Path("evaluation-output"), show_default=True)
@click.option("--clip", type=_PATH, help="Weights of CLIP on this machine, to look with it.")
@click.option("--clip-model", default="ViT-L-14-quickgelu", show_default=True, help="Their architecture.")
@model_options
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
    from . import evaluation_command

    if write_prompts is not None:
        return evaluation_command.copy_prompts(write_prompts, model is None)
    if not targets:
        raise SettingError("give the name of a pair, or a folder of pairs.")
    plan = {**drawn, "seeds": tuple(range(seed, seed + seeds))}
    look = (clip, clip_model) if clip is not None else None
    loading = (model, device, precision, clip_skip)
    return evaluation_command.evaluate(targets, embeddings, references, plain_words, prompts, plan, out, look, loading)


@dreamartist.command()
@click.option("--port", type=click.IntRange(1024, 65535), default=7870, show_default=True)
@click.option("--embeddings", type=_PATH, default=EMBEDDINGS, show_default=True, help="Folder of embeddings.")
@click.option("--open/--no-open", "open_browser", default=False, help="Open the page in the browser.")
@model_options
def serve(
    port: int, embeddings: Path, open_browser: bool, model: Path | None, device: str, precision: str, clip_skip: int
) -> None:
    """The tab on its own in a browser, without a WebUI; Ctrl-C ends it."""
    try:
        from .webui import standalone
    except ImportError as error:
        raise SettingError('this needs gradio: pip install "dreamartist[serve]".') from error
    click.echo(f"http://127.0.0.1:{port}")
    standalone.serve(
        standalone.StandaloneWorkplace(embeddings, model, device, precision, clip_skip), port, open_browser
    )
