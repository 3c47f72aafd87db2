"""Does a training fit into a card of its size: 6 GB for SD 1.5? All that lies on the card, CUDA's own part included."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from dreamartist_ext.engine.memory import kept_by
from dreamartist_ext.hosts.checkpointing import checkpointed

from .clock import spread_of, wait
from .gpu import NO_GPU, in_precision
from .memory import MEBI
from .models import Bench
from .results import Answer, Figure, guarded
from .work import config, training

STEPS = 3


@dataclass(frozen=True)
class Case:
    """A step of the pair: with less memory or without, and what else it has."""

    what: str
    less: bool
    decoder_twice: bool = False  # the decoder's blocks computed twice as well
    settings: tuple[tuple[str, Any], ...] = ()


CASES = [
    Case("a step of the pair with less memory", True),
    Case("a step of the pair", False),
    Case("with reconstruction and less memory", True, settings=(("reconstruction", 1.0),)),
    Case("with reconstruction, less memory, decoder's blocks twice", True, True, (("reconstruction", 1.0),)),
    Case("with reconstruction", False, settings=(("reconstruction", 1.0),)),
]


def card(bench: Bench) -> Answer:
    """Peaks in fp16 of each case, then each on the card; and what a training leaves there."""
    if bench.device.type != "cuda":
        return Answer("card", left_out=[NO_GPU])
    answer = Answer("card")
    cases, gb = cases_of(bench), f"{bench.size.card / 1e9:g} GB"
    with in_precision(bench, torch.float16):
        answer.values["MiB without a step"] = _mebi(_now(bench.device))
        for case in cases:
            with guarded(answer, case.what):
                answer.figures.append(peak_of(bench, case, answer))
        for case in cases:
            with guarded(answer, f"{case.what} in {gb}"), at_most(bench.size.card, bench.device):
                _steps(bench, case)
                taken = _taken()
                answer.figures.append(_taken_figure(f"{case.what}, on a card of {gb}: taken at the end", taken, bench))
    with guarded(answer, "left after a training"):
        answer.figures.append(left(bench))
    with guarded(answer, "what a pass keeps"):
        answer.values["MiB kept by a pass"] = kept(bench)
    return answer


def cases_of(bench: Bench) -> list[Case]:
    """SDXL without reconstruction, which did not even fit SD 1.5's card."""
    return [case for case in CASES if not case.settings] if bench.host.parts.tokenizer_2 else CASES


def peak_of(bench: Bench, case: Case, answer: Answer) -> Figure:
    _fresh(bench.device)
    _steps(bench, case)
    statistics = {
        "allocated": torch.cuda.max_memory_allocated(bench.device),
        "reserved": torch.cuda.max_memory_reserved(bench.device),
        "taken from the card": _taken(),
    }
    answer.values.setdefault("peaks in MiB", {})[case.what] = _mebi(statistics)
    note = "fp16, weights included, by torch's allocator"
    return Figure(f"{case.what}: peak", "", spread_of([statistics["allocated"] / MEBI]), "MiB", note=note)


def _taken_figure(what: str, taken: int, bench: Bench) -> Figure:
    """Only what is taken from the card can be held against its size: CUDA's own part is on top of the allocator's."""
    return Figure(what, "", spread_of([taken / MEBI]), "MiB", aim=bench.size.card / MEBI)


def _steps(bench: Bench, case: Case) -> None:
    with ExitStack() as stack:
        if case.decoder_twice:
            stack.enter_context(checkpointed(bench.host.parts.vae.decoder))
        settings = {"less_memory": "on" if case.less else "off", **dict(case.settings)}
        _, step = stack.enter_context(training(bench, **settings))
        for _ in range(STEPS):
            step()
        wait(bench.device)


@contextmanager
def at_most(size: float, device: torch.device) -> Iterator[None]:
    """Inside, torch's allocator takes no more than so many bytes with CUDA's own part; it raises where that is too
    little."""
    _fresh(device)
    own = _taken() - torch.cuda.memory_reserved(device)
    whole = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((size - own) / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _fresh(device: torch.device) -> None:
    gc.collect()
    wait(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)


def _taken() -> int:
    """By everyone on this card, as nvidia-smi shows it."""
    free, whole = torch.cuda.mem_get_info()
    return whole - free


def _now(device: torch.device) -> dict[str, int]:
    _fresh(device)
    return {
        "allocated": torch.cuda.memory_allocated(device),
        "reserved": torch.cuda.memory_reserved(device),
        "taken from the card": _taken(),
    }


def _mebi(sizes: dict[str, int]) -> dict[str, float]:
    return {name: round(size / MEBI, 1) for name, size in sizes.items()}


def left(bench: Bench) -> Figure:
    """By the allocator, which counts what Python does not know of too."""
    levels = []
    for _ in range(3):
        with training(bench) as (_, step):
            step()
        levels.append(_now(bench.device)["allocated"])
    return Figure(
        "allocated on the card after training", "before", spread_of([float(levels[-1] - levels[-2])]), "bytes", aim=0.0
    )


def kept(bench: Bench) -> dict[str, float]:
    """What "auto" takes a pass of the pair to keep, and the peak of such a pass above what was there before."""
    size = bench.latent_side, bench.latent_side
    with bench.host.session():
        estimate = kept_by(bench.host, config(), size)
    found = {"estimated": estimate.plain, "estimated with less memory": estimate.less}
    for setting in ("off", "on"):
        with training(bench, less_memory=setting) as (_, step):
            step()
            _fresh(bench.device)
            before = torch.cuda.memory_allocated(bench.device)
            step()
            wait(bench.device)
            peak = torch.cuda.max_memory_allocated(bench.device) - before
        found[f"measured, less memory {setting}"] = peak
    return _mebi(found)
