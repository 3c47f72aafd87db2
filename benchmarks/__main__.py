"""python -m benchmarks; see `make bench`."""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dreamartist_ext.hosts.diffusers.model_files import quiet_libraries

from .busy import busy
from .card import card
from .compiling import compiling
from .curves import curves
from .gpu import gpu
from .growth import growth
from .hook import hook
from .memory import memory
from .models import SIZES, Bench, about, bench_of
from .page import write_page
from .peers import peers
from .results import Answer, guarded, keep, machine, read, told_of_parts
from .script import script
from .sharing import sharing
from .start import start
from .step import step
from .trainings import refusal, trainings

QUESTIONS: dict[str, Callable[[Bench], Answer]] = {
    "step": step,
    "memory": memory,
    "growth": growth,
    "curves": curves,
    "sharing": sharing,
    "gpu": gpu,
    "trainings": trainings,
    "refusal": refusal,
    "card": card,
    "busy": busy,
    "compiling": compiling,
    "start": start,
    "hook": hook,
    "peers": peers,
    "script": script,
}
RUNS = Path("benchmarks/runs")
CUT_OFF = "the rest of it: the run was cut off"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed and memory against the floor and against others.")
    parser.add_argument("--size", choices=SIZES, default="embedded")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS), help="all if left out")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="more are disturbed by whatever else the machine does")
    parser.add_argument("--out", type=Path, default=RUNS, help="where SIZE.json lies; answers of other runs stay in it")
    parser.add_argument("--page", type=Path, help="write table and picture between this page's marks")
    parser.add_argument("--as-kept", action="store_true", help="measure nothing; the page of what was measured before")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    quiet_libraries()
    if arguments.as_kept:
        answers = in_order(read(arguments.out / f"{arguments.size}.json"))
    else:
        answers = run(arguments.size, arguments.only, arguments.device, arguments.precision, arguments.out)
    if arguments.page:
        write_page(answers, arguments.size, arguments.page)


def run(size: str, questions: Sequence[str], device: str, precision: str, out: Path) -> list[Answer]:
    """Ask one question after the other; each answer is kept at once, and each part of one as soon as it is there.
    Returns all that are kept for this size."""
    file = out / f"{size}.json"
    name = f"{size}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    with tempfile.TemporaryDirectory() as folder:
        bench = bench_of(size, device, precision, Path(folder))
        where = machine(bench.device, bench.host.precision) | about(bench)
        for question in questions:
            print(f"{question} ...", flush=True)
            store = partial(stored, file, name, where, time.monotonic())
            print_answer(store(asked(question, bench, partial(store, is_part=True))))
    return in_order(read(file))


def stored(file: Path, run: str, where: dict[str, Any], began: float, answer: Answer, is_part: bool = False) -> Answer:
    """The answer with its run, kept in the file; what lies there of a part says that the rest is missing."""
    left_out = answer.left_out + [CUT_OFF] * is_part
    seconds = round(time.monotonic() - began, 1)
    whole = replace(answer, left_out=left_out, run=run, machine=where, seconds=seconds)
    keep(whole, file)
    return whole


def asked(question: str, bench: Bench, tell: Callable[[Answer], object]) -> Answer:
    """Its answer; one that failed has the parts that were finished and says why the rest is missing, so that those
    after it are asked all the same. `tell` gets it after each part."""
    parts = [Answer(question)]

    def part(answer: Answer) -> None:
        parts.append(answer)
        tell(answer)

    failed = Answer(question)
    with guarded(failed, "all of it"), told_of_parts(part):
        return QUESTIONS[question](bench)
    return replace(parts[-1], left_out=parts[-1].left_out + failed.left_out)


def in_order(answers: Sequence[Answer]) -> list[Answer]:
    """As the questions are listed here."""
    return sorted(answers, key=lambda answer: list(QUESTIONS).index(answer.question))


def print_answer(answer: Answer) -> None:
    for figure in answer.figures:
        mark = {None: "", True: "  met", False: "  MISSED"}[figure.is_met]
        spread = figure.spread
        shown = f"{spread.median:.4g} ({spread.low:.4g} to {spread.high:.4g}) {figure.unit}"
        print(f"  {figure.what} / {figure.against}: {shown}{mark}")
    for reason in answer.left_out:
        print(f"  left out: {reason}")
    print(f"  {answer.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
