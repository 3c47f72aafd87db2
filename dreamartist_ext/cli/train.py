"""`dreamartist train`: one concept from a picture, or a few."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import rich_click as click

from .. import __version__
from ..engine.config import TrainConfig
from ..engine.errors import SettingError, StoppedError
from ..engine.names import negative_name
from ..files.presets import layered
from .help import MODEL, OUTPUT, REQUIRED, command
from .naming import warn_of_ordinary
from .numbers import Whole
from .options import chosen, config_options, model_options, out_option, preset_options
from .output import answer, json_option, note, quiet_option, say
from .paths import PATH
from .progress import progress, stop_on_ctrl_c


@command(
    "train cat.png --name mycat",
    "train cat.png cat2.jpg --name mycat --kind character --initialization-text cat",
    "train cat.png --name mycat --model ~/models/sd15.safetensors --resume",
)
@click.argument(
    "pictures",
    nargs=-1,
    required=True,
    type=PATH,
    metavar="PICTURE...",
    panel=REQUIRED,
    help="One picture, or several of the same concept.",
)
@config_options
@preset_options
@model_options
@click.option(
    "--processes",
    type=Whole(1, 256),
    default=1,
    show_default=True,
    panel=MODEL,
    help="Divide the samples of every step among processes. Tried on CPUs only.",
)
@out_option("embeddings", "Folder for the embeddings.")
@click.option("--resume", is_flag=True, panel=OUTPUT, help="Go on where this training stopped, with the same settings.")
@click.option("--overwrite", is_flag=True, panel=OUTPUT, help="Replace a concept of this name.")
@click.option(
    "--save-config", type=PATH, panel=OUTPUT, help="Write the settings of this training, without its name, as JSON."
)
@json_option
@quiet_option
def train(
    pictures: tuple[Path, ...],
    out: Path,
    kind: str | None,
    recipe: str | None,
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
    """Learn NAME and NAME-neg from one PICTURE (or a few of the same concept).

    The defaults shown count where nothing else is set. They are overridden by the model's own settings, these by
    --kind, then --recipe, then --config, and last by a flag.
    """
    from ..files.atomic import write_atomically
    from ..files.only_one import only_one
    from ..files.provenance import about_model
    from ..files.run import RunFiles
    from ..files.settings_files import check_replaceable, read_settings, settings_json
    from ..files.start import with_start
    from ..files.templates import with_template_files
    from ..hosts.diffusers.model_files import training_defaults

    given = read_settings(config_file) if config_file else {}
    given |= {name: value for name, value in flags.items() if value is not None}
    if "name" not in given:
        raise SettingError('give the concept a name, for example "--name mycat".')
    given = with_template_files(given)
    given = given if resume else with_start(given, out)
    if processes > 1 and given.get("start_from"):
        raise SettingError(f"start_from needs one process, got processes {processes}.")
    files = RunFiles(out, TrainConfig.from_mapping(given).name)
    files.check(resume, overwrite)
    snapshot = files.last_snapshot() if resume else None
    if snapshot and snapshot.notice:
        note(f"Note: {snapshot.notice}")
    base = json.loads(snapshot.config) if snapshot else training_defaults(model)
    config = TrainConfig.from_mapping(layered(given, base, *chosen(kind, recipe, preset)))
    if save_config:
        check_replaceable(save_config)
    check_pictures(pictures, config)
    warning = warn_of_ordinary(config.name)
    from ..hosts.diffusers.model_files import quiet_libraries
    from ..hosts.diffusers.processes import Job, opened

    quiet_libraries()
    job = Job(config, pictures, (model, device, precision, clip_skip), files.folder)
    with opened(job, processes, snapshot) as (host, training):
        if not warning:  # the model says more than a list can
            warn_of_ordinary(config.name, len(host.token_ids(config.name)) == 1)
        if save_config:
            write_atomically(save_config, settings_json(config.to_mapping()))
        with only_one(files):
            _train_with_progress(training, files, about_model(host, __version__))


def check_pictures(paths: tuple[Path, ...], config: TrainConfig) -> None:
    """Refuse a bad picture, or one without its caption, before the model is loaded."""
    from ..files.picture_files import load_picture
    from ..files.pictures import captions_for, distinct_pictures

    captions = captions_for(config)
    for path, _ in distinct_pictures(paths):
        load_picture(path)
        captions(path)


def _train_with_progress(training: Any, files: Any, provenance: dict[str, str]) -> None:
    from ..files.run import run_to_files

    name, steps = files.name, training.config.steps
    with stop_on_ctrl_c() as stopped, closing(run_to_files(training, files, provenance)) as reports:
        for _ in progress(reports, f"training {name}", steps, training.step):
            if stopped() and not training.is_over:
                break
    if not training.is_over:
        answer({"name": name, "finished": False, "step": training.step, "steps": steps})
        raise StoppedError(
            f"stopped at step {training.step} of {steps}; the same command with --resume goes on from there."
        )
    _say_what_became_of(training, files)


def _say_what_became_of(training: Any, files: Any) -> None:
    from ..files.run import final_step
    from ..files.storage import find_embedding

    name, steps = files.name, training.config.steps
    if notice := training.guard.notice():
        note(f"Note: {notice}")
    halves = [name, negative_name(name)] if training.config.use_negative else [name]
    written = [path for half in halves if (path := find_embedding(files.out, half))]
    kept = final_step(training, files)
    if training.step < steps:
        say(f"Stopped at step {training.step} of {steps}: patience has run out.")
    if kept < training.step:
        say(f"The best check was at step {kept}, and so is the pair.")
    say(f"Written to {files.out}: {', '.join(path.name for path in written)}")
    answer(
        {
            "name": name,
            "finished": True,
            "step": training.step,
            "steps": steps,
            "kept_step": kept,
            "files": [str(path) for path in written],
            "checks": [{"step": check.step, "loss": check.loss} for check in training.checks],
        }
    )
