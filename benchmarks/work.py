"""The pieces of work that are compared: steps of a training, and the least that a step could be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.latents import EncodedPictures
from dreamartist_ext.engine.names import negative_name
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training

from .clock import Work
from .models import Bench

_NAMES = count()
# Prompts of the pair and of plain inversion have one template each, so that every step does the same.
CONFIG = TrainConfig(steps=1_000_000, template="a photo of [name]", less_memory="off")


def config(**settings: Any) -> TrainConfig:
    """A name of its own: words of trainings that are under way beside each other must not meet."""
    return replace(CONFIG, name=f"word{next(_NAMES)}x", **settings)


@contextmanager
def training(
    bench: Bench,
    pictures: Sequence[TrainingPicture] | None = None,
    encoded: EncodedPictures | None = None,
    **settings: Any,
) -> Iterator[tuple[Training, Work]]:
    """A training whose first step is made, and what makes its next one. End them in the reverse order.

    encoded: the pictures' latents, where they are there already.
    """
    under_way = Training(bench.host, config(**settings), pictures or bench.pictures())
    under_way._encoded = encoded
    with closing(under_way.run()) as steps:
        next(steps)
        yield under_way, lambda: next(steps)


def repeated(step: Work, bench: Bench) -> Work:
    """As many steps as a round has."""

    def work() -> None:
        for _ in range(bench.size.steps):
            step()

    return work


def with_less_memory(work: Work, bench: Bench) -> Work:
    """The same as the setting `less_memory`, for a training that is under way beside others."""

    def less() -> None:
        with bench.host.less_memory():
            work()

    return less


def floor(bench: Bench, batch: int, decoder: bool = False) -> Work:
    """A bare forward and backward of the frozen U-Net, up to the conditioning; with the decoder too, of one picture.

    Call it inside a session.
    """
    side = bench.latent_side
    latents = torch.randn(batch, 4, side, side, generator=torch.Generator().manual_seed(0)).to(bench.device)
    timesteps = torch.full((batch,), 500, device=bench.device)
    with torch.no_grad():
        cond = bench.host.encode_prompts(["a photo of a cat"] * batch)
    parts = list(cond.values()) if isinstance(cond, dict) else [cond]
    for part in parts:
        part.requires_grad_(True)

    def work() -> None:
        for part in parts:
            part.grad = None
        prediction = bench.host.predict(latents, timesteps, cond)
        loss = prediction.square().mean()
        if decoder:
            loss = loss + bench.host.decode_latents(prediction[:1]).square().mean()
        loss.backward()

    return repeated(work, bench)


def floor_with_text(bench: Bench, under_way: Training) -> Work:
    """The floor of a pair with the text encoder, which has two prompts to encode, and the gradient on to the vectors.

    Call it inside a session in which the training is under way.
    """
    host, name = bench.host, under_way.config.name
    latents = torch.zeros(2, 4, bench.latent_side, bench.latent_side, device=bench.device)
    timesteps = torch.full((2,), 500, device=bench.device)
    vectors = [v for half in under_way.pair.named().values() for v in half.values()]

    def work() -> None:
        cond = host.encode_prompts([negative_name(name), f"a photo of {name}"])
        loss = host.predict(latents, timesteps, cond).square().mean()
        torch.autograd.grad(loss, vectors)

    return repeated(work, bench)


def free_folder(bench: Bench, name: str) -> Path:
    folder = bench.work / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
