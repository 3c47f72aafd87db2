"""python -m benchmarks.alone: one training in a process of its own, its steps or its memory as a line of JSON.

Ours, or that of a script which makes its own: both are cut at the same place, AdamW's step, and both have loaded their
model when they make their AdamW.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from dreamartist_ext.engine.config import TrainConfig

from .memory import highest_level


class Cuts:
    """Computing time at every step, or the most bytes above those that were held when the optimizer was made."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.peak = 0

    @property
    def seconds(self) -> list[float]:
        """Of each step but the first two, which are longer."""
        return [b - a for a, b in zip(self.at[1:], self.at[2:], strict=False)]


@contextmanager
def cut(memory: bool) -> Iterator[Cuts]:
    """Steps of every AdamW inside; with `memory` the profiler watches torch's allocator, which makes them longer."""
    kind, cuts = torch.optim.AdamW, Cuts()
    make, real = kind.__init__, kind.step
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True) if memory else None

    def made(optimizer: Any, *arguments: Any, **named: Any) -> None:
        if profiler is not None and profiler.profiler is None:
            profiler.start()
        make(optimizer, *arguments, **named)

    def step(optimizer: Any, *arguments: Any, **named: Any) -> Any:
        cuts.at.append(time.process_time())
        return real(optimizer, *arguments, **named)

    kind.__init__, kind.step = made, step  # type: ignore[method-assign]
    try:
        yield cuts
    finally:
        kind.__init__, kind.step = make, real  # type: ignore[method-assign]
        if profiler is not None and profiler.profiler is not None:
            profiler.stop()
            cuts.peak = highest_level(profiler)


def run_script(script: Path, arguments: Sequence[str], memory: bool = False) -> Cuts:
    """What `python script arguments` does, in this process."""
    before, sys.argv = sys.argv, [str(script), *arguments]
    try:
        with cut(memory) as cuts:
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
    return cuts


def run_ours(model: Path, picture: Path, side: int, config: TrainConfig, memory: bool = False) -> Cuts:
    """Our training of this picture on a model in diffusers' folder layout, on the CPU in fp32."""
    from dreamartist_ext.engine.trainer import Training
    from dreamartist_ext.files.pictures import load_pictures
    from dreamartist_ext.hosts.diffusers.model_files import load_host

    host, pictures = load_host(model, "cpu", "fp32"), load_pictures([picture], side, side)
    with cut(memory) as cuts:
        for _ in Training(host, config, pictures).run():
            pass
    return cuts


def config_of(kind: str, steps: int, less: bool) -> TrainConfig:
    return TrainConfig(
        name="zyx",
        steps=steps,
        use_negative=kind == "pair",
        template="[name]",
        guidance="3",
        less_memory="on" if less else "off",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="One training; what is not known here goes to the script.")
    parser.add_argument("kind", choices=("pair", "plain", "script"))
    for name in ("--memory", "--less"):
        parser.add_argument(name, action="store_true")
    for name in ("--script", "--model", "--picture"):
        parser.add_argument(name, type=Path)
    for name in ("--side", "--steps"):
        parser.add_argument(name, type=int)
    wanted, rest = parser.parse_known_args()
    if wanted.kind == "script":
        cuts = run_script(wanted.script, rest, wanted.memory)
    else:
        config = config_of(wanted.kind, wanted.steps, wanted.less)
        cuts = run_ours(wanted.model, wanted.picture, wanted.side, config, wanted.memory)
    print(json.dumps({"seconds": cuts.seconds, "peak": cuts.peak, "torch": torch.__version__}))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
