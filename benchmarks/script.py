"""Against diffusers' textual_inversion.py, run from its own checkout: its steps and its memory beside ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from testbed.model_folder import save_folder

from .clock import spread_of
from .models import PICTURE, Bench
from .peers import SIDE, STEPS, Taken, faster, median
from .results import Answer, Figure
from .shapes import NARROW, shaped, tokenizer_of

CHECKOUT = Path(os.environ.get("DREAMARTIST_DIFFUSERS", Path.home() / "peers" / "diffusers"))
PYTHON = os.environ.get("DREAMARTIST_DIFFUSERS_PYTHON", sys.executable)
SCRIPT = CHECKOUT / "examples" / "textual_inversion" / "textual_inversion.py"
NEEDED = ("accelerate", "torchvision", "tensorboard")  # by the script, not by us
NO_SCRIPT = "diffusers' textual_inversion.py: there is no checkout; DREAMARTIST_DIFFUSERS says where"
NO_PACKAGES = f"diffusers' textual_inversion.py: it wants {', '.join(NEEDED)}; DREAMARTIST_DIFFUSERS_PYTHON says where"
TINY = "diffusers' textual_inversion.py: with a tiny model there is nothing to compare"
MODEL = "SD 1's layers a fifth as wide, random weights, 256x256 pixels, fp32"
ROWS = 49_408  # of Stable Diffusion 1's table of tokens
FEWER_ROWS = 2_876  # of the embedded model's
ROUNDS = 2
STEPS_OF_PEAK = 3  # the optimizer has its moments from the first on
OURS = {"pair": "a pair", "plain": "a word"}
KINDS = (*OURS, "script")


@dataclass(frozen=True)
class Way:
    """In which memory is measured. `less`: ours with its setting "less memory", the script with its checkpointing."""

    rows: int  # of the table of tokens
    less: bool = False

    def __str__(self) -> str:
        rows = f"{self.rows:,} rows of tokens"
        return f"{rows}, both checkpointed" if self.less else rows


WAYS = (Way(ROWS), Way(ROWS, less=True), Way(FEWER_ROWS))
Peaks = dict[Way, dict[str, int]]  # by way and kind, in bytes


def script(bench: Bench) -> Answer:
    """Trainings of the same picture in turns, each in a process of its own, all with the same Python and torch."""
    reason = TINY if bench.is_tiny else missing()
    if reason:
        return Answer("script", left_out=[reason])
    folders = {rows: write_files(bench.work / f"script-{rows}", rows) for rows in (ROWS, FEWER_ROWS)}
    taken: Taken = {kind: [] for kind in KINDS}
    for number in range(ROUNDS):
        for kind in KINDS if number % 2 else reversed(KINDS):
            taken[kind].append(training(folders[ROWS], kind))
    peaks = {way: {kind: peak_of(folders[way.rows], kind, way) for kind in KINDS} for way in WAYS}
    return Answer("script", figures(taken, peaks), values=summary(taken, peaks))


def missing() -> str:
    """Why the script cannot be run, or nothing."""
    if not SCRIPT.is_file():
        return NO_SCRIPT
    asked = [PYTHON, "-c", f"import diffusers, {', '.join(NEEDED)}"]
    return NO_PACKAGES if subprocess.run(asked, capture_output=True, check=False).returncode else ""


def write_files(folder: Path, rows: int) -> Path:
    """The model in diffusers' layout, and a folder that holds nothing but the picture. Returns `folder`."""
    tokenizer = tokenizer_of(rows, folder / "tokenizer")
    model = save_folder(shaped(NARROW, "narrow", SIDE, tokenizer)("cpu", "fp32").parts, folder / "model")
    shutil.copytree(tokenizer, model / "tokenizer", dirs_exist_ok=True)
    (folder / "pictures").mkdir()
    shutil.copy(PICTURE, folder / "pictures" / PICTURE.name)
    return folder


def peak_of(folder: Path, kind: str, way: Way) -> int:
    return int(training(folder, kind, STEPS_OF_PEAK, way)["peak"])


def training(folder: Path, kind: str, steps: int = STEPS, way: Way | None = None) -> dict[str, Any]:
    """Seconds of its steps, or, of a way to measure memory, its peak in bytes.

    Raises RuntimeError with what a training that failed has said.
    """
    less = way is not None and way.less
    command = [PYTHON, "-m", "benchmarks.alone", kind, *(["--memory"] if way else [])]
    command += script_arguments(folder, steps, less) if kind == "script" else our_arguments(folder, steps, less)
    threads = str(torch.get_num_threads())
    own = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    root = Path(__file__).parents[1]
    ended = subprocess.run(command, cwd=root, env=os.environ | own, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr[-2000:])
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def our_arguments(folder: Path, steps: int, less: bool) -> list[str]:
    picture = folder / "pictures" / PICTURE.name
    given = f"--model {folder / 'model'} --picture {picture} --side {SIDE} --steps {steps}".split()
    return [*given, *(["--less"] if less else [])]


def script_arguments(folder: Path, steps: int, less: bool) -> list[str]:
    """Three vectors, as ours has, at batch 1; nothing is saved before the end."""
    given = {
        "script": SCRIPT,
        "pretrained_model_name_or_path": folder / "model",
        "train_data_dir": folder / "pictures",
        "output_dir": folder / "out",
        "placeholder_token": "<zyx>",
        "initializer_token": "a",
        "num_vectors": 3,
        "resolution": SIDE,
        "train_batch_size": 1,
        "max_train_steps": steps,
        "mixed_precision": "no",
    }
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return [*words, *(["--gradient_checkpointing"] if less else [])]


def figures(taken: Taken, peaks: Peaks) -> list[Figure]:
    found = []
    for kind, ours in OURS.items():
        what = "a step of diffusers' textual_inversion.py"
        found.append(Figure(what, f"ours of {ours}", faster(taken, "script", kind), note=MODEL))
    for way, of in peaks.items():
        for kind, ours in OURS.items():
            share = spread_of([of[kind] / max(of["script"], 1)])
            aim = 0.5 if way.rows == ROWS else None
            found.append(Figure(f"our peak memory, {ours} ({way})", "that script's", share, aim=aim))
    return found


def summary(taken: Taken, peaks: Peaks) -> dict[str, Any]:
    own = {
        kind: {
            "seconds a step": [round(median(run["seconds"]), 4) for run in runs],
            "peak MiB": {str(way): round(of[kind] / 2**20, 1) for way, of in peaks.items()},
        }
        for kind, runs in taken.items()
    }
    return own | {"torch": taken["script"][0]["torch"]}
