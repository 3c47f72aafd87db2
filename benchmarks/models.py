"""The models that are measured: the embedded one, and shapes with random weights, at the sizes that have a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, load_host

from .sdxl import SDXL, TINY_XL, shaped_xl
from .shapes import SD15, TINY, shaped

PICTURE = EMBEDDED_MODEL.parent / "samples" / "teapot.png"


@dataclass(frozen=True)
class Size:
    """What is measured under one name. `side`: of the pictures in pixels, on a CPU and on a GPU."""

    load: Callable[[str, str], DiffusersHost]
    side: tuple[int, int]
    rounds: int
    steps: int  # per round
    growth: int  # steps over which nothing may grow
    warm: int = 1  # rounds that do not count
    card: float = 6e9  # bytes of the card that it should fit, of which CUDA takes its own part first


def _embedded(device: str, precision: str) -> DiffusersHost:
    return load_host(None, device, precision)


_sd15 = shaped(SD15, "SD 1.5 shape, random weights", 512)
SIZES = {
    "embedded": Size(_embedded, (128, 128), rounds=15, steps=3, growth=2000),
    "sd15": Size(_sd15, (256, 512), rounds=3, steps=1, growth=40, warm=0),
    "sd15-512": Size(_sd15, (512, 512), rounds=3, steps=1, growth=40, warm=0),
    "sd15-gpu": Size(_sd15, (256, 512), rounds=8, steps=3, growth=100, warm=2),
    "sdxl-gpu": Size(
        shaped_xl(SDXL, "SDXL shape, random weights", 1024),
        (256, 1024),
        rounds=4,
        steps=2,
        growth=40,
        warm=1,
        card=12e9,
    ),
    "tiny": Size(shaped(TINY, "tiny", 64), (64, 64), rounds=2, steps=1, growth=4),
    "tiny-xl": Size(shaped_xl(TINY_XL, "tiny SDXL", 64), (64, 64), rounds=2, steps=1, growth=4, card=12e9),
}
TINY_SIZES = ("tiny", "tiny-xl")  # to try everything with


@dataclass(frozen=True)
class Bench:
    """A model at one size, and what every question needs of it."""

    size: Size
    name: str
    host: DiffusersHost
    side: int  # of a picture, in pixels
    work: Path  # a folder for what a question writes

    @property
    def device(self) -> torch.device:
        return self.host.device

    @property
    def is_tiny(self) -> bool:
        return self.name in TINY_SIZES

    @property
    def latent_side(self) -> int:
        return self.side // self.host.latent_factor

    def pictures(self, count: int = 1, side: int = 0) -> list[TrainingPicture]:
        """The same picture `count` times, each slightly brighter than the one before, so that all differ."""
        first = load_pictures([PICTURE], side or self.side, side or self.side)[0]
        return [TrainingPicture(first.pixels + i / 1e4, None, first.caption, f"{i}.png") for i in range(count)]


def bench_of(name: str, device: str, precision: str, work: Path) -> Bench:
    size = SIZES[name]
    host = size.load(device, precision)
    return Bench(size, name, host, size.side[host.device.type == "cuda"], work)


def about(bench: Bench) -> dict[str, Any]:
    """What was measured, beside the machine."""
    parts = {"unet": bench.host.parts.unet, "vae": bench.host.parts.vae, "text encoder": bench.host.parts.text_encoder}
    return {
        "model": bench.host.name,
        "side": bench.side,
        "parameters": {name: sum(p.numel() for p in module.parameters()) for name, module in parts.items()},
    }
