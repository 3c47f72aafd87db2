"""What pays on a GPU: half precision, fused attention, channels_last, weights that lie in half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from dreamartist_ext.hosts.precision import computes_in, halved

from .clock import Seconds, Work, ratio, seconds_of, spread_of, taking_turns
from .models import Bench
from .results import Answer, Figure, guarded
from .step import FLOOR
from .work import floor, repeated, training

NO_GPU = "there is no GPU here"
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
ROUNDS = 3
MOST_SECONDS = 15  # of one way
Way = Callable[[Bench], AbstractContextManager[None]]


def gpu(bench: Bench) -> Answer:
    """A step each way against the step as it is, and what a step costs beyond its floor in fp16."""
    if bench.device.type != "cuda":
        return Answer("gpu", left_out=[NO_GPU])
    answer = Answer("gpu")
    with guarded(answer, "floors in fp16"):
        answer.figures += floors(bench, "fp16")
    compared(bench, WAYS, answer)
    return answer


def compared(bench: Bench, ways: Mapping[str, Way], answer: Answer, rounds: int = ROUNDS) -> None:
    """Each way after the step as it is, both by their own rounds; above 1 it costs more. Milliseconds beside it."""
    milliseconds = answer.values.setdefault("ms", {})
    for name, way in ways.items():
        with guarded(answer, name, MOST_SECONDS), bench.host.session(), training(bench) as (_, step):
            work = repeated(step, bench)
            before = several(work, bench, rounds)
            with way(bench):
                inside = several(work, bench, rounds)
            taken = {name: inside, "as it is": before}
            answer.figures.append(Figure(f"a step, {name}", "as it is", ratio(taken, name, "as it is", bench.device)))
            milliseconds[name] = milliseconds_of(inside, bench)
            milliseconds.setdefault("as it is", []).append(milliseconds_of(before, bench))


def several(work: Work, bench: Bench, rounds: int) -> list[Seconds]:
    """Rounds of one work, after those that do not count."""
    for _ in range(max(bench.size.warm, 1)):
        work()
    return [seconds_of(work, bench.device) for _ in range(rounds)]


def milliseconds_of(rounds: list[Seconds], bench: Bench) -> float:
    """Of one step, on the wall."""
    return 1000 * spread_of([seconds.wall / bench.size.steps for seconds in rounds]).median


def floors(bench: Bench, precision: str) -> list[Figure]:
    """Steps against their floors in another precision."""
    with (
        in_precision(bench, PRECISIONS[precision]),
        bench.host.session(),
        training(bench) as (_, pair),
        training(bench, use_negative=False) as (_, plain),
    ):
        works = {
            "floor 2": floor(bench, 2),
            "pair": repeated(pair, bench),
            "floor 1": floor(bench, 1),
            "plain": repeated(plain, bench),
        }
        taken = taking_turns(works, ROUNDS, bench.device, max(bench.size.warm, 1))
    pair_to_floor, plain_to_floor = (
        ratio(taken, what, base, bench.device) for what, base in (("pair", "floor 2"), ("plain", "floor 1"))
    )
    return [
        Figure(f"a step of the pair, {precision}", f"{FLOOR}, batch 2", pair_to_floor, aim=1.10),
        Figure(f"a step of plain inversion, {precision}", f"{FLOOR}, batch 1", plain_to_floor, aim=1.05),
    ]


@contextmanager
def in_precision(bench: Bench, precision: torch.dtype) -> Iterator[None]:
    """The host as if it had been made with this precision, but that weights are no more exact than they were."""
    host = bench.host
    before = host.precision
    _set_precision(host, precision)
    try:
        yield
    finally:
        _set_precision(host, before)


def _set_precision(host: Any, precision: torch.dtype) -> None:
    host.precision = precision
    host._is_halved = computes_in(host.device, precision)
    if host.device.type == "cuda":
        for module in _halves(host):
            halved(module, precision)


def _halves(host: Any) -> list[nn.Module]:
    """What lies in half precision on a GPU."""
    return [host.parts.unet, *(encoder.model for encoder in host.encoders)]


@contextmanager
def with_tf32(bench: Bench) -> Iterator[None]:
    """fp32 with 10 bits in products of matrices as well, not in convolutions only, which is torch's default."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with in_precision(bench, torch.float32):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def cast_in_every_pass(bench: Bench) -> Iterator[None]:
    """Weights that lie in fp32, of which autocast makes half ones each time."""
    host = bench.host
    for module in _halves(host):
        halved(module, torch.float32)
    try:
        yield
    finally:
        _set_precision(host, host.precision)


@contextmanager
def text_in_fp32(bench: Bench) -> Iterator[None]:
    """The text encoder without half precision, as it is on a CPU."""
    host = bench.host
    for encoder in host.encoders:
        encoder.model.float()
    host._is_halved = False
    try:
        yield
    finally:
        _set_precision(host, host.precision)


@contextmanager
def without_autocast(bench: Bench) -> Iterator[None]:
    """Norms and everything else in half precision too. For random weights only, whose norms half precision holds."""
    host, kind = bench.host, bench.host.precision
    unet = host.parts.unet

    def predict(noisy_latents: Tensor, timesteps: Tensor, cond: Tensor, _context: Tensor | None = None) -> Tensor:
        latents = noisy_latents.to(kind).contiguous(memory_format=torch.channels_last)
        return unet(latents, timesteps, cond.to(kind)).sample.float()

    unet.to(kind)
    host.predict = predict
    try:
        yield
    finally:
        del host.predict
        unet.float()
        _set_precision(host, kind)


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
    hook = unet.conv_in.register_forward_pre_hook(lambda _module, inputs: (inputs[0].contiguous(),))
    try:
        yield
    finally:
        hook.remove()
        unet.to(memory_format=torch.channels_last)


# What might change how we train comes first: a run may be cut off.
WAYS: dict[str, Way] = {
    "norms in half precision too": without_autocast,
    "weights cast in every pass": cast_in_every_pass,
    "fp16": partial(in_precision, precision=PRECISIONS["fp16"]),
    "fp32": partial(in_precision, precision=PRECISIONS["fp32"]),
    "without channels_last": channels_first,
    "without fused attention": plain_attention,
    "text encoder in fp32": text_in_fp32,
    "fp32 with TF32": with_tf32,
    "bf16": partial(in_precision, precision=PRECISIONS["bf16"]),
}
