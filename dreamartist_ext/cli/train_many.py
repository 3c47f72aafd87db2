"""The command line's `train-many`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from ..engine.errors import SettingError, StoppedError, TrainingError
from ..files.presets import layered
from .help import OUTPUT, REQUIRED, WORKERS, command
from .numbers import Whole
from .options import chosen, config_options_without_name, model_options, out_option, preset_options
from .output import answer, json_option, note, printable, quiet_option, say
from .paths import FOLDER
from .progress import bar, beside_bar, stop_on_ctrl_c

if TYPE_CHECKING:
    from ..many.concepts import Concept, Outcome
    from ..many.group import Job

MOST_SENTENCES = 20
MOST_NAMES = 5


@command(
    "train-many pictures/ --out pairs",
    "train-many pictures/ --kind style --per-pass 8 --workers 0",
    "train-many pictures/ --address auto --json",
)
@click.argument("folder", metavar="PICTURES", type=FOLDER, panel=REQUIRED, help="Folder of pictures, one per concept.")
@config_options_without_name
@preset_options
@click.option(
    "--per-pass",
    type=Whole(1, 256),
    default=1,
    show_default=True,
    panel=WORKERS,
    help="How many concepts share a pass.",
)
@click.option(
    "--workers",
    type=Whole(0, 1024),
    panel=WORKERS,
    help="Processes on this machine; 0: only this one.  [default: cores]",
)
@click.option(
    "--threads", type=Whole(1, 256), default=1, show_default=True, panel=WORKERS, help="Threads of each worker."
)
@click.option(
    "--address",
    panel=WORKERS,
    help='Address of a Ray cluster, such as "auto" or "10.0.0.1:6379", instead of this machine.',
)
@click.option(
    "--retries",
    type=Whole(0, 1000),
    default=3,
    show_default=True,
    panel=WORKERS,
    help="How often to try again after a worker or machine died.",
)
@model_options
@out_option("pairs", "Folder for the embeddings.")
@click.option(
    "--overwrite", is_flag=True, panel=OUTPUT, help="Train concepts again that were trained with other settings."
)
@json_option
@quiet_option
def train_many(
    folder: Path,
    out: Path,
    kind: str | None,
    recipe: str | None,
    preset: str | None,
    config_file: Path | None,
    overwrite: bool,
    per_pass: int,
    workers: int | None,
    threads: int,
    address: str | None,
    retries: int,
    model: Path | None,
    device: str,
    precision: str,
    clip_skip: int,
    **flags: Any,
) -> None:
    """Learn a pair from each picture of the folder PICTURES, named after its file.

    The same command goes on where it was stopped, and does not train again what is done. The defaults shown count
    where nothing else is set. They are overridden by the model's own settings, these by --kind, then --recipe, then
    --config, and last by a flag.
    """
    from ..files.settings_files import read_settings
    from ..files.start import with_start
    from ..files.templates import with_template_files
    from ..hosts.diffusers.model_files import training_defaults
    from ..many.concepts import concepts_in, groups_of
    from ..many.group import Job

    settings = read_settings(config_file) if config_file else {}
    settings |= {name: value for name, value in flags.items() if value is not None}
    if settings.pop("name", None) and flags.get("name") is not None:
        raise SettingError("train-many names every concept after its picture; leave --name out.")

    if model is not None and not model.exists():
        raise SettingError(f"there is no model at {str(model)[:200]}.")
    given = with_start(with_template_files(settings), out)
    settings = layered(given, training_defaults(model), *chosen(kind, recipe, preset))
    loading = (model and model.resolve(), device, precision, clip_skip)
    concepts, refused = concepts_in(folder, settings)
    _warn_of_ordinary([concept.name for concept in concepts])
    groups = groups_of(concepts, per_pass, out)
    job = Job(settings, out.resolve(), loading, overwrite, threads)
    run = _ways_to_run(job, groups, workers, address, retries)
    _report(_shown(run, job, concepts, refused), len(concepts) + len(refused), out)


def _ways_to_run(
    job: Job, groups: list[list[Concept]], workers: int | None, address: str | None, retries: int
) -> Callable[[Callable, Callable], Iterator[Outcome]]:
    """On a cluster, in processes of this machine, or, without Ray or with no workers, in this process."""
    from ..many.workers import NEEDS_RAY, has_ray, train_on_ray

    if not has_ray():
        if workers or address:
            raise SettingError(NEEDS_RAY, "Ray")
        if workers is None:
            note('One after the other in this process; pip install "dreamartist[many]" uses all cores.')
    if address is None and (workers == 0 or not has_ray()):
        return lambda show, is_stopped: _one_after_another(job, groups, show, is_stopped)
    count = workers or max(1, (os.cpu_count() or 1) // job.threads)
    return lambda show, is_stopped: train_on_ray(job, groups, count, address, retries, show, is_stopped)


def _one_after_another(
    job: Job, groups: list[list[Concept]], show: Callable[[int, int], object], is_stopped: Callable[[], bool]
) -> Iterator[Outcome]:
    from ..many.board import Board
    from ..many.group import train_group

    board = Board()
    for number, group in enumerate(groups):

        def tell(made: int, spared: int, number: int = number) -> bool:
            board.tell(number, made, spared)
            show(*board.counts())
            return is_stopped()

        yield from train_group(job, group, tell)


def _shown(run: Callable, job: Job, concepts: list[Concept], refused: list[Outcome]) -> Iterator[Outcome]:
    """Under a bar with the time left; Ctrl-C asks to stop."""
    yield from refused
    if not concepts:
        return
    steps = len(concepts) * job.config(concepts[0].name).steps
    with stop_on_ctrl_c() as is_stopped, bar("training", steps) as shown:

        def show(made: int, spared: int) -> None:
            if is_stopped():
                signal.signal(signal.SIGINT, signal.default_int_handler)  # the second one does not wait
            shown.total = max(steps - spared, made)
            shown.n = min(made, shown.n)  # less than before where a task is tried again
            shown.update(made - shown.n)

        for number, outcome in enumerate(run(show, is_stopped), start=1):
            shown.set_postfix_str(f"concept {number} of {len(concepts)}")
            yield outcome


def _report(outcomes: Iterator[Outcome], count: int, out: Path) -> None:
    """What failed, as it comes, and at the end what became of all; raises where not all is well."""
    numbers = {"trained": 0, "already": 0, "stopped": 0, "failed": 0}
    told = []
    for outcome in outcomes:
        numbers[outcome.what] += 1
        told.append({"name": outcome.name, "what": outcome.what, "sentence": outcome.sentence})
        if outcome.sentence and numbers["failed"] <= MOST_SENTENCES:
            beside_bar(f"{printable(outcome.name, 80)}: {outcome.sentence}")
    failed, stopped = numbers["failed"], numbers["stopped"]
    say(f"Trained {numbers['trained']} of {count}, {numbers['already']} were done before; the pairs are in {out}.")
    answer({**numbers, "folder": str(out), "concepts": told})
    if stopped:
        raise StoppedError(f"stopped with {stopped} of {count} to go; the same command goes on from there.")
    if failed:
        raise TrainingError(f"{failed} of {count} could not be trained; the same command tries them again.")


def _warn_of_ordinary(names: Sequence[str]) -> None:
    from ..files.ordinary_words import is_ordinary

    ordinary = [name for name in names if is_ordinary(name)]
    if ordinary:
        more = f" and {len(ordinary) - MOST_NAMES} more" if len(ordinary) > MOST_NAMES else ""
        which = ", ".join(ordinary[:MOST_NAMES]) + more
        note(f"Note: ordinary words as names: {which}. Every prompt with one of them will change.")
