"""python -m benchmarks; see `make bench`."""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch

from dreamartist_ext.hosts.model_files import quiet_libraries

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
from .results import Answer, guarded, keep, machine, read
from .script import script
from .sharing import sharing
from .start import start
from .step import step

QUESTIONS: dict[str, Callable[[Bench], Answer]] = {
    "step": step,
    "memory": memory,
    "growth": growth,
    "curves": curves,
    "sharing": sharing,
    "gpu": gpu,
    "card": card,
    "busy": busy,
    "compiling": compiling,
    "start": start,
    "hook": hook,
    "peers": peers,
    "script": script,
}
RUNS = Path("benchmarks/runs")


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
    """Ask one question after the other; each answer is kept at once. Returns all that are kept for this size."""
    file = out / f"{size}.json"
    name = f"{size}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    with tempfile.TemporaryDirectory() as folder:
        bench = bench_of(size, device, precision, Path(folder))
        where = machine(bench.device, bench.host.precision) | about(bench)
        for question in questions:
            began = time.monotonic()
            print(f"{question} ...", flush=True)
            answer = asked(question, bench)
            answer.run, answer.machine, answer.seconds = name, where, round(time.monotonic() - began, 1)
            keep(answer, file)
            print_answer(answer)
    return in_order(read(file))


def asked(question: str, bench: Bench) -> Answer:
    """Its answer; one that failed says why, so that those after it are asked all the same."""
    answer = Answer(question)
    with guarded(answer, "all of it"):
        return QUESTIONS[question](bench)
    return answer


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
