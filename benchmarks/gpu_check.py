"""All that waits for a GPU, in one command: `python -m benchmarks.gpu_check`, which `make gpu-check` runs.

Each part is a process of its own with its own time limit. What fails or is cut off is noted, and the rest goes on.
Tables and figures are in the folder `--out` after every part: gpu-check.md, and a JSON file for each size.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from dreamartist_ext.files.storage import write_atomically

from .page import rows_of
from .results import read

ROOT = Path(__file__).parents[1]
TABLE = "gpu-check.md"
SHORTEST = 20.0  # seconds; with less no part is begun
TO_END = 10.0  # seconds that a part has to put away what it has when its time is up


@dataclass(frozen=True)
class Part:
    """Questions of `python -m benchmarks` at one size, or of `benchmarks.webui_check`; `seconds` at most."""

    size: str
    questions: tuple[str, ...]
    seconds: float

    @property
    def command(self) -> list[str]:
        module = "benchmarks.webui_check" if self.size == WEBUI else "benchmarks"
        size = [] if self.size == WEBUI else ["--size", self.size]
        return [sys.executable, "-m", module, *size, "--only", *self.questions]

    def __str__(self) -> str:
        return f"{self.size}: {', '.join(self.questions)}"


WEBUI = "webui"
# What an issue asks for comes first: a run may be cut off. 510 seconds where everything takes as long as it may.
ON_A_GPU = [
    Part("sd15-gpu", ("trainings", "refusal", "card"), 110),
    Part("sdxl-gpu", ("trainings", "refusal", "card"), 190),
    Part("sd15-gpu", ("compiling",), 100),
    Part("sd15-gpu", ("step", "memory", "gpu"), 110),
]
IN_THE_WEBUI = [Part(WEBUI, ("sdp", "sub-quadratic", "medvram", "lowvram", "no-half-vae", "fp32", "fp8"), 400)]
TINY = [
    Part("tiny", ("trainings", "refusal", "card", "compiling"), 300),
    Part("tiny-xl", ("trainings", "refusal", "card"), 300),
]


def parts_for(size: str, has_webui: bool) -> list[Part]:
    """`size`: full or tiny, or auto, which is full where there is a GPU."""
    is_full = size == "full" or (size == "auto" and torch.cuda.is_available())
    return [*(ON_A_GPU if is_full else TINY), *(IN_THE_WEBUI if has_webui else [])]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("auto", "full", "tiny"), default="auto", help="full: SD 1.5's and SDXL's")
    parser.add_argument("--minutes", type=float, default=8.5, help="of all parts together")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or "build/gpu-check"))
    parser.add_argument("--only", nargs="+", help="sizes, such as sd15-gpu or webui; all if left out")
    chosen = parser.parse_args(arguments)
    webui = os.environ.get("WEBUI_DIR")
    parts = [part for part in parts_for(chosen.size, bool(webui)) if part.size in (chosen.only or part.size)]
    missing = [] if webui else ["in a real WebUI: WEBUI_DIR does not say where one is"]
    for part in parts:  # figures of an earlier run would stand under today's date
        (chosen.out / f"{part.size}.json").unlink(missing_ok=True)
    notes = run(parts, chosen.out, 60 * chosen.minutes, missing)
    print((chosen.out / TABLE).read_text(encoding="utf-8"))
    return 0 if notes == missing and all(read(chosen.out / f"{part.size}.json") for part in parts) else 1


def run(parts: Sequence[Part], out: Path, seconds: float, missing: Sequence[str] = ()) -> list[str]:
    """Each part after the other; the table is written after every one. Returns what is missing, and what went wrong
    with a part as a whole; what went wrong inside of one is with its figures."""
    out.mkdir(parents=True, exist_ok=True)
    notes = list(missing)
    sizes = list(dict.fromkeys(part.size for part in parts))
    ends = time.monotonic() + seconds
    for part in parts:
        left = min(part.seconds, ends - time.monotonic())
        print(f"{part} ...", flush=True)
        note = finished(part, out, left) if left >= SHORTEST else f"{part}: no time was left for it"
        if note:
            notes.append(note)
            print(note, flush=True)
        write_atomically(out / TABLE, table(sizes, out, notes).encode())
    return notes


def finished(part: Part, out: Path, seconds: float) -> str:
    """Run it; what went wrong with it as a whole, or nothing. Its answers are in `out`, also of a part cut off."""
    log = out / f"{part.size}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*part.command, "--out", str(out)], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return f"{part}: cut off after {seconds:.0f} seconds"
    return f"{part}: ended with {code}; {last_line(log)}" if code else ""


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"


def table(sizes: Sequence[str], out: Path, notes: Sequence[str]) -> str:
    """All figures that are there, size by size, and below what is missing."""
    lines = ["# What a check for a GPU found", "", where(), ""]
    for size in sizes:
        if answers := read(out / f"{size}.json"):
            lines += [f"## {size}", "", *rows_of(answers), ""]
    if notes:
        lines += ["## Not measured", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)


def where() -> str:
    if not torch.cuda.is_available():
        return "On a CPU, so nothing here says anything about a GPU."
    about = torch.cuda.get_device_properties(0)
    return f"On one {about.name} with {about.total_memory / 2**30:.0f} GiB, torch {torch.__version__}."


if __name__ == "__main__":
    sys.exit(main())
