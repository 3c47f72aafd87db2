"""Does it pay to compile the U-Net, or to record what it launches? And how long does that take at first?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from .clock import ratio
from .compiled import compiled
from .gpu import NO_GPU, ROUNDS, Way, milliseconds_of, several
from .models import Bench
from .results import Answer, Figure, guarded
from .work import repeated, training

MOST_SECONDS = {"recorded as a CUDA graph": 20, "compiled, default": 75, "compiled, reduce-overhead": 45}


def compiling(bench: Bench) -> Answer:
    """A step each way against the step as it is; the first steps' seconds beside it."""
    if bench.device.type != "cuda":
        return Answer("compiling", left_out=[NO_GPU])
    answer = Answer("compiling")
    for name, way in WAYS.items():
        with guarded(answer, name, MOST_SECONDS[name]):
            one_way(bench, name, way, answer)
    return answer


def one_way(bench: Bench, name: str, way: Way, answer: Answer) -> None:
    with bench.host.session(), training(bench) as (_, step):
        work = repeated(step, bench)
        before = several(work, bench, ROUNDS)
        exact = one_pass(bench)
        began = time.perf_counter()
        with way(bench):
            step()
            answer.values[f"seconds until the second step, {name}"] = round(time.perf_counter() - began, 1)
            inside = several(work, bench, ROUNDS)
            answer.values[f"differences, {name}"] = differences(one_pass(bench), exact)
    taken = {name: inside, "as it is": before}
    answer.figures.append(Figure(f"a step, {name}", "as it is", ratio(taken, name, "as it is", bench.device)))
    answer.values[f"milliseconds, {name}"] = [milliseconds_of(rounds, bench) for rounds in (before, inside)]


def one_pass(bench: Bench) -> tuple[Tensor, Tensor]:
    """A prediction and the gradient of its mean square, for the same noise each time."""
    side = bench.latent_side
    latents = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(0)).to(bench.device)
    states = bench.host.encode_prompts(["a cat", "a dog"]).detach().requires_grad_(True)
    prediction = bench.host.predict(latents, torch.tensor([100, 900], device=bench.device), states)
    gradient = torch.autograd.grad(prediction.square().mean(), states)[0]
    return prediction.detach().clone(), gradient.clone()


def differences(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Lengths of the differences, as shares of what they are differences of."""
    shares = [float((a - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]
    return dict(zip(("prediction", "gradient"), shares, strict=True))


def by_torch(bench: Bench, mode: str) -> object:
    return compiled(bench.host.parts.unet, mode)


@contextmanager
def recorded(bench: Bench) -> Iterator[None]:
    """Forward and backward of a pass of the pair as two CUDA graphs, for one shape only."""
    host, side = bench.host, bench.latent_side
    unet, kind = host.parts.unet, host.precision

    def bare(latents: Tensor, timesteps: Tensor, states: Tensor) -> Tensor:
        with torch.autocast("cuda", kind, cache_enabled=False):
            return unet(latents, timesteps, states).sample.float()

    with torch.no_grad():
        states = host.encode_prompts(["a", "b"])
    latents = torch.zeros(2, 4, side, side, device=bench.device).contiguous(memory_format=torch.channels_last)
    timesteps = torch.zeros(2, dtype=torch.long, device=bench.device)
    graph = torch.cuda.make_graphed_callables(bare, (latents, timesteps, states.requires_grad_(True)))

    def predict(noisy_latents: Tensor, timesteps: Tensor, cond: Tensor, _context: Tensor | None = None) -> Tensor:
        return graph(noisy_latents.contiguous(memory_format=torch.channels_last), timesteps, cond)

    host.predict = predict
    try:
        yield
    finally:
        del host.predict


WAYS: dict[str, Way] = {
    "recorded as a CUDA graph": recorded,
    "compiled, default": partial(by_torch, mode="default"),
    "compiled, reduce-overhead": partial(by_torch, mode="reduce-overhead"),
}
