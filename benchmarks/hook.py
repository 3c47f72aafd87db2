"""Does the hook slow a picture down, against its negative typed by hand?"""

from __future__ import annotations

from collections.abc import Callable

import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair
from testbed.embedded import WIDTH
from testbed.webui import RunningWebUI

from .clock import spread_of
from .models import Bench
from .results import Answer, Figure
from .webui import NO_WEBUI, ask, data_folder, has_webui, webui

ROUNDS, STEPS = 8, 20
OFF = {"alwayson_scripts": {"DreamArtist": {"args": [False, 1.0]}}}


def hook(bench: Bench) -> Answer:
    """The same picture of a learned word in turns: completed by the hook, and typed with the hook off."""
    if bench.is_tiny or not has_webui():
        return Answer("hook", left_out=[NO_WEBUI])
    folder = data_folder(bench.work / "hook")
    generator = torch.Generator().manual_seed(1)
    halves = [{"clip": torch.randn(count, WIDTH, generator=generator) * 0.5} for count in (3, 6)]
    save_pair(EmbeddingPair("myword", *halves), folder / "embeddings")
    with webui(folder) as started:
        with_hook, by_hand, same = in_turns(started)
    ratio = spread_of([a / b for a, b in zip(with_hook[1:], by_hand[1:], strict=True)])
    note = "" if same else "the pictures differ"
    figure = Figure("a picture of a learned word", "its negative typed by hand, hook off", ratio, aim=1.02, note=note)
    seconds = {"hook": spread_of(with_hook).median, "by hand": spread_of(by_hand).median}
    return Answer("hook", [figure], values={"seconds": seconds})


def in_turns(started: RunningWebUI) -> tuple[list[float], list[float], bool]:
    """Computing seconds of the WebUI's process for each way, and whether the pictures are equal; seeds differ by round,
    so that nothing is kept from the round before."""
    size = {"steps": STEPS, "width": 128, "height": 128}
    ways: dict[str, Callable[[int], bytes]] = {
        "hook": lambda seed: started.picture("a photo of myword", "", seed=seed, **size)[0],
        "hand": lambda seed: started.picture("a photo of myword", "myword-neg", seed=seed, **size, **OFF)[0],
    }
    taken: dict[str, list[float]] = {"hook": [], "hand": []}
    same = True
    for number in range(ROUNDS):
        pictures = {}
        for name in list(ways) if number % 2 else list(reversed(ways)):
            before = ask(started, "computing")
            pictures[name] = ways[name](number)
            taken[name].append(ask(started, "computing") - before)
        same = same and pictures["hook"] == pictures["hand"]
    return taken["hook"], taken["hand"], same
