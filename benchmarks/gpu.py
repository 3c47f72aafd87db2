"""What pays on a GPU: half precision, fused attention, channels_last, torch.compile; and does SD 1.5 fit into 6 GB?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from diffusers.models.attention_processor import AttnProcessor

from .clock import ratio, spread_of, taking_turns
from .memory import peak_of_step
from .models import Bench
from .results import Answer, Figure
from .work import repeated, training

NO_GPU = "there is no GPU here"
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
SIX_GB = 6e9
Way = Callable[[Bench], AbstractContextManager[None]]


def gpu(bench: Bench) -> Answer:
    """A step each way against the step as it is, and the memory of one with "less memory" on, weights included."""
    if bench.device.type != "cuda":
        return Answer("gpu", left_out=[NO_GPU])
    answer = Answer("gpu", compared(bench, WAYS))
    if bench.name == "sd15":
        with in_precision(bench, torch.float16):
            parts = bench.host._modules()
            weights = sum(p.nbytes for module in parts for p in module.parameters())
            used = float(weights + peak_of_step(bench, less=True))
        answer.figures.append(
            Figure("weights and a step, fp16, less memory", "", spread_of([used]), "bytes", aim=SIX_GB)
        )
    return answer


def compared(bench: Bench, ways: dict[str, Way]) -> list[Figure]:
    """Each way in turns with the step as it is; above 1 it costs more."""
    with bench.host.session(), training(bench) as (_, step):
        works = {"as it is": repeated(step, bench)}
        for name, way in ways.items():
            works[name] = within(repeated(step, bench), way, bench)
        taken = taking_turns(works, bench.size.rounds, bench.device)
    return [Figure(f"a step, {name}", "as it is", ratio(taken, name, "as it is", bench.device)) for name in ways]


def within(work: Callable[[], object], way: Way, bench: Bench) -> Callable[[], None]:
    def inside() -> None:
        with way(bench):
            work()

    return inside


@contextmanager
def in_precision(bench: Bench, precision: torch.dtype) -> Iterator[None]:
    before, bench.host.precision = bench.host.precision, precision
    try:
        yield
    finally:
        bench.host.precision = before


@contextmanager
def plain_attention(bench: Bench) -> Iterator[None]:
    """Softmax of a whole matrix instead of torch's fused kernel."""
    unet = bench.host.parts.unet
    before = dict(unet.attn_processors)
    unet.set_attn_processor(AttnProcessor())
    try:
        yield
    finally:
        unet.set_attn_processor(before)


@contextmanager
def channels_first(bench: Bench) -> Iterator[None]:
    unet = bench.host.parts.unet
    unet.to(memory_format=torch.contiguous_format)
    try:
        yield
    finally:
        unet.to(memory_format=torch.channels_last)


@contextmanager
def compiled(bench: Bench) -> Iterator[None]:
    """The compiled U-Net is kept for the next round: the first one, which compiles, does not count."""
    unet = bench.host.parts.unet
    own = vars(unet).setdefault("_benchmark_forward", torch.compile(type(unet).forward))
    unet.forward = own.__get__(unet)
    try:
        yield
    finally:
        del unet.forward


WAYS: dict[str, Way] = {
    "bf16": lambda bench: in_precision(bench, PRECISIONS["bf16"]),
    "fp16": lambda bench: in_precision(bench, PRECISIONS["fp16"]),
    "without fused attention": plain_attention,
    "without channels_last": channels_first,
    "with torch.compile": compiled,
}
