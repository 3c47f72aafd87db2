"""python -m tools.study run|summary|changes|pictures|words ...; see `make study`. Started again, `run` goes on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import DreamArtistError
from dreamartist_ext.hosts.diffusers.model_files import load_host, quiet_libraries, training_defaults

from . import arms, third_model
from .arms import Arm, concepts_named
from .pictures import planes_png, sheet
from .run import Protocol, Study, run
from .table import Row, changes, compare, last_steps, merged, read_csv, summary, write_csv
from .together import Setup, groups_of, pairs_together, run_together, study_of

# By the version of the embedded model: what its settings were as its study began, its arms, the prompt of its drawings
GROUNDS = {
    "first": (arms.BEGAN_FROM, arms.ARMS, "a {}"),
    "third": (third_model.BEGAN_FROM, third_model.ARMS, third_model.NEUTRAL),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare ways of learning from one picture on the embedded model.")
    parser.add_argument("stage", choices=("run", "summary", "changes", "pictures", "words"))
    parser.add_argument("--ground", choices=GROUNDS, default="third", help="which study: of which embedded model")
    every = "; ".join(f"{name}: {', '.join(its)}" for name, (_, its, _) in GROUNDS.items())
    parser.add_argument("--arms", nargs="+", default=["pair", "plain"], help=f"of {every}")
    parser.add_argument("--base", default="", help="summary, changes: the arm that the others are compared with")
    parser.add_argument("--arms-file", type=Path, help='more arms: {"NAME": {"settings": {...}, "at": [100]}}')
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings below every arm's own")
    parser.add_argument("--concepts", nargs="+", default=["all"], help="tune, report, all, or names")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings")
    parser.add_argument("--guidances", type=float, nargs="+", default=[3.0, 5.0, 7.0], help="of the drawings")
    parser.add_argument(
        "--drawn",
        type=int,
        default=8,
        help='pictures of "a WORD" (third: on white); eight colours and five styles come on top',
    )
    parser.add_argument("--in-styles", type=int, default=2, help="pictures in each of the five styles")
    parser.add_argument("--drawing-steps", type=int, default=25)
    parser.add_argument("--references", type=Path, default=Path("build/embedded-model/references"))
    parser.add_argument("--model", type=Path, help="a model folder; the embedded one if left out")
    parser.add_argument("--work", type=Path, default=Path("build/study"))
    parser.add_argument("--table", type=Path, help="the CSV; WORK/table.csv if left out")
    parser.add_argument("--out", type=Path, default=Path("build/study"), help="where `pictures` go")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--together", type=int, default=0, help="trainings that share their passes, for a GPU")
    parser.add_argument("--processes", type=int, default=1, help="that share the GPU, with --together")
    parser.add_argument("--minutes", type=float, default=1e6, help="after which no more is begun, with --together")
    arguments = parser.parse_args()
    if arguments.stage == "words" and not arguments.together:
        parser.error("words needs --together, as the trainings had it")
    if arguments.together < 0 or arguments.processes < 1:
        parser.error("--together is 0 or more, --processes 1 or more")
    table = arguments.table or arguments.work / "table.csv"
    if arguments.stage == "words":
        keep_words(arguments)
        return
    if arguments.stage == "run":
        make_table(arguments, table)
    rows = read_csv(table)
    if arguments.stage == "pictures":
        draw(arguments, rows)
        return
    names = list(dict.fromkeys(row["arm"] for row in rows))
    base = next((name for name in (arguments.base, "pair", third_model.CHOSEN) if name in names), names[0])
    if arguments.stage == "changes":
        print(changes(rows, base))
        return
    print(summary(rows))
    for other in names:
        if other != base:
            print(compare(rows, base, other))


def draw(arguments: argparse.Namespace, rows: Sequence[Row]) -> None:
    """planes.png and sheet.png: of `--arms`, the sheet of `--concepts` at the first of `--seeds` and `--guidances`."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "planes.png").write_bytes(planes_png(rows, arguments.arms))
    seed, guidance = arguments.seeds[0], arguments.guidances[0]
    strips = [(arm, seed, last_steps(rows, arm)[0]["step"], guidance) for arm in arguments.arms]
    page = sheet(arguments.work, arguments.references, concepts_named(arguments.concepts), strips)
    page.reduce(2).quantize(256).save(arguments.out / "sheet.png", optimize=True)


def make_table(arguments: argparse.Namespace, table: Path) -> None:
    torch.set_num_threads(arguments.threads)
    quiet_libraries()
    setup = setup_of(arguments)
    base, rows = setup.base, []
    chosen = chosen_arms(arguments)
    for arm in chosen.values():
        TrainConfig.from_mapping({**base, **arm.settings})  # a typing error shows before the first hour
    concepts = concepts_named(arguments.concepts)
    if arguments.together:
        groups = groups_of(chosen, concepts, arguments.seeds, arguments.together)
        rows = read_csv(table) if table.exists() else []
        for number, more in enumerate(run_together(setup, groups, arguments.processes, 60 * arguments.minutes), 1):
            rows = merged(rows, more)
            write_csv(rows, table)
            print(f"[{number}/{len(groups)}] {more[0]['arm'] if more else ''} {len(more)} rows", flush=True)
        return
    host = load_host(arguments.model, arguments.device)
    study = Study(host, arguments.references, arguments.work, setup.protocol)
    for row in run(study, chosen, base, concepts, arguments.seeds, arguments.guidances):
        rows.append(row)
        write_csv(rows, table)


def setup_of(arguments: argparse.Namespace) -> Setup:
    began_from, _, neutral = GROUNDS[arguments.ground]
    own = dict(setting.split("=", 1) for setting in arguments.set)
    return Setup(
        arguments.model,
        arguments.device,
        arguments.references,
        arguments.work,
        Protocol(arguments.drawn, arguments.drawing_steps, style_seeds=arguments.in_styles, neutral=neutral),
        training_defaults(arguments.model) | began_from | own,
        tuple(arguments.guidances),
    )


def keep_words(arguments: argparse.Namespace) -> None:
    """What `run --together` learned with the same arguments, as `tools.embedded_model world` takes it: OUT/words.pt."""
    setup = setup_of(arguments)
    study, words = study_of(setup), {}
    for group in groups_of(
        chosen_arms(arguments), concepts_named(arguments.concepts), arguments.seeds, arguments.together
    ):
        for (concept, seed), found in zip(group.tasks, pairs_together(study, group, setup.base), strict=True):
            if isinstance(found, DreamArtistError):
                raise found
            pair, _ = found[-1]
            way = "plain" if pair.negative is None else "pair"
            if (concept, way, seed) in words:
                raise SystemExit(f"--arms has two that are a {way}; the words of one are kept.")
            halves = (pair.positive, pair.negative or {})
            words[concept, way, seed] = tuple(next(iter(half.values()), None) for half in halves)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.save(words, arguments.out / "words.pt")


def chosen_arms(arguments: argparse.Namespace) -> dict[str, Arm]:
    _, known, _ = GROUNDS[arguments.ground]
    every = dict(known)
    if arguments.arms_file:
        added = json.loads(arguments.arms_file.read_text())
        every |= {name: Arm(arm["settings"], tuple(arm.get("at", ()))) for name, arm in added.items()}
    return {name: every[name] for name in arguments.arms}


if __name__ == "__main__":
    main()
