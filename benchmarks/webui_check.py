"""A training in a real AUTOMATIC1111 on a GPU, started in each of several ways; one part of `benchmarks.gpu_check`.

On a machine without a GPU the WebUI computes on the CPU, with the embedded model: to try the command with.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from testbed.kinds import A1111, EVERYWHERE, NO_DOWNLOADS, ON_THE_CPU, Kind
from testbed.webui import RunningWebUI, running

from .clock import spread_of
from .memory import MEBI
from .models import PICTURE
from .results import Answer, Figure, guarded, keep, machine
from .shapes import SD15
from .trainings import differing, nothing
from .webui import NO_WEBUI, data_folder, has_webui

V1 = "/dreamartist/v1"
STEPS, TINY_STEPS = 50, 4
MOST_SECONDS = 110  # of one way, its WebUI's start included
SIDE = {"cuda": 512, "cpu": 128}


@dataclass(frozen=True)
class Way:
    """How the WebUI is started, and settings of it that have no flag."""

    flags: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


WAYS = {
    "sdp": Way(("--opt-sdp-attention",)),
    "sub-quadratic": Way(("--opt-sub-quad-attention",)),
    "medvram": Way(("--medvram",)),
    "lowvram": Way(("--lowvram",)),
    "no-half-vae": Way(("--no-half-vae",)),
    "fp32": Way(("--precision", "full", "--no-half")),
    "fp8": Way(options={"fp8_storage": "Enable"}),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), help="all if left out")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = partial(keep, path=chosen.out / "webui.json")
    if not has_webui():
        store(Answer("webui", left_out=[NO_WEBUI], run="webui", machine=about(device)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = data_folder(Path(folder) / "data", shape=SD15 if device.type == "cuda" else None)
        for name in chosen.only:
            store(measured(name, data, device))


def measured(name: str, data: Path, device: torch.device) -> Answer:
    answer = Answer(f"the WebUI, {name}", run=f"webui-{name}", machine=about(device))
    began = time.monotonic()
    with guarded(answer, name, MOST_SECONDS), started(data, WAYS[name], device) as webui:
        answer.figures += in_one(webui, name, device)
    return replace(answer, seconds=round(time.monotonic() - began, 1))


def about(device: torch.device) -> dict[str, Any]:
    return machine(device, torch.float16) | {"model": "in AUTOMATIC1111", "side": SIDE[device.type]}


def kind_on(device: torch.device) -> Kind:
    flags = "" if device.type == "cuda" else ON_THE_CPU
    return replace(A1111, flags=f"{EVERYWHERE} {flags} {NO_DOWNLOADS} --disable-console-progressbars")


@contextmanager
def started(data: Path, way: Way, device: torch.device):  # noqa: ANN201
    with running(data, "--api", *way.flags, kind=kind_on(device)) as webui:
        before = webui.get("/sdapi/v1/options") if way.options else {}
        if way.options:
            webui.post("/sdapi/v1/options", way.options)
        try:
            yield webui
        finally:  # they are kept in the folder that all ways share
            if way.options:
                webui.post("/sdapi/v1/options", {name: before[name] for name in way.options})


def in_one(webui: RunningWebUI, name: str, device: torch.device) -> list[Figure]:
    """A picture, a training, the same picture; raises RuntimeError with what the training says where it failed."""
    side = SIDE[device.type]
    draw = partial(webui.picture, "a cat", width=side, height=side)
    before, _ = draw()
    said = webui.post(f"{V1}/train", wish(side, STEPS if device.type == "cuda" else TINY_STEPS), timeout=MOST_SECONDS)
    if said["status"] != "done":
        raise RuntimeError(said["message"])
    after, _ = draw()
    figures = [
        Figure(f"a step, {name}", "", spread_of([said["seconds_per_step"]]), "s"),
        nothing(f"pixels that a picture has otherwise afterwards, {name}", differing(after, before)),
    ]
    peak = webui.get("/sdapi/v1/memory").get("cuda", {}).get("allocated", {}).get("peak")
    if peak:
        figures.insert(1, Figure(f"peak since the WebUI began, {name}", "", spread_of([peak / MEBI]), "MiB"))
    return figures


def wish(side: int, steps: int) -> dict[str, Any]:
    """What is sent to train; a new word each time would be left in the folder, so the old one is replaced."""
    settings = {"steps": steps, "width": side, "height": side, "template": "a photo of [name]"}
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    return {
        "name": "zyx",
        "pictures": [picture],
        "settings": settings,
        "overwrite": True,
        "previews": False,
        "wait": True,
    }


if __name__ == "__main__":
    main()
