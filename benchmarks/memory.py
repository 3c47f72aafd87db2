"""How much memory does a step take above the loaded model, and what is left of it afterwards?"""

from __future__ import annotations

import gc
from contextlib import nullcontext

import torch
from torch.profiler import ProfilerActivity, profile

from .clock import Work, spread_of, wait
from .models import Bench
from .results import Answer, Figure
from .work import floor, training

MEBI = 2**20
_ALLOCATION = "[memory]"  # the profiler's name for every change of the allocator's level


def memory(bench: Bench) -> Answer:
    """Peaks of one step each, and the level before and after a whole training."""
    plain, less = peak_of_step(bench), peak_of_step(bench, less=True)
    with bench.host.session():
        least = peak(floor(bench, 2), bench.device)
    before, after, gradients = around_a_training(bench)
    return Answer(
        "memory",
        [
            Figure("peak of a step of the pair", "the floor's peak", spread_of([plain / max(least, 1)])),
            Figure("peak with less memory", "without", spread_of([less / max(plain, 1)]), aim=0.40),
            Figure("gradients left after training", "", spread_of([float(gradients)]), "bytes", aim=0.0),
            Figure("allocated after training", "before", spread_of([float(after - before)]), "bytes", aim=0.0),
        ],
        values={"MiB": {"pair": plain / MEBI, "pair with less memory": less / MEBI, "floor": least / MEBI}},
    )


def peak_of_step(bench: Bench, less: bool = False) -> int:
    """Bytes above what is held between two steps."""
    inside = bench.host.less_memory() if less else nullcontext()
    with training(bench) as (_, step), inside:
        step()
        return peak(step, bench.device)


def peak(work: Work, device: torch.device) -> int:
    """The most bytes that torch's allocator held during `work`, above what it held before."""
    work()
    return _peak_on_gpu(work, device) if device.type == "cuda" else _peak_on_cpu(work)


def _peak_on_gpu(work: Work, device: torch.device) -> int:
    wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    wait(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_on_cpu(work: Work) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    return highest_level(profiler)


def highest_level(profiler: profile) -> int:
    """Bytes above the level at which the profiler began."""
    level = highest = 0
    for change in _changes(profiler):
        level += change
        highest = max(highest, level)
    return highest


def _changes(profiler: profile) -> list[int]:
    """Bytes taken and given back, in the order in which it happened."""
    events = profiler.profiler.kineto_results.events()
    found = [(event.start_ns(), event.nbytes()) for event in events if event.name() == _ALLOCATION]
    return [size for _, size in sorted(found, key=lambda event: event[0])]


def around_a_training(bench: Bench) -> tuple[int, int, int]:
    """Bytes held by tensors before and after a training, and bytes of gradients on the model."""
    _train(bench)
    before = held()
    _train(bench)
    parameters = (p for module in bench.host._modules() for p in module.parameters())
    return before, held(), sum(p.grad.nbytes for p in parameters if p.grad is not None)


def _train(bench: Bench) -> None:
    with training(bench) as (_, step):
        step()


def held() -> int:
    """Bytes of all dense tensors that Python knows of; of those that share their memory one counts."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    dense = [t.untyped_storage() for t in tensors if t.layout == torch.strided]
    return sum({storage.data_ptr(): storage.nbytes() for storage in dense}.values())
