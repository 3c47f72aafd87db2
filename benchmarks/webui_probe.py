"""Inside the WebUI's process: steps of its own training, of the original extension and of ours, by one clock.

An extension of the benchmark's own, copied into a data folder: POST /dreamartist-bench/NAME with arguments as JSON. A
step is from one AdamW step of the embedding to the next, so that all three are cut at the same place.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastapi
import torch
from modules import call_queue, script_callbacks, sd_hijack, sd_models, shared


class _Steps:
    """Computing time at every AdamW step, and the most memory from the second on."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.before = self.peak = 0

    def seconds(self) -> list[float]:
        return [b - a for a, b in zip(self.at[1:], self.at[2:], strict=False)]


@contextmanager
def _timed() -> Iterator[_Steps]:
    steps, real = _Steps(), torch.optim.AdamW.step

    def step(optimizer: Any, *arguments: Any, **named: Any) -> Any:
        steps.at.append(time.process_time())
        return real(optimizer, *arguments, **named)

    torch.optim.AdamW.step = step
    Path("/proc/self/clear_refs").write_text("5")  # the most memory is counted anew from here
    steps.before = _status("VmRSS")
    try:
        yield steps
    finally:
        torch.optim.AdamW.step = real
        steps.peak = _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _result(steps: _Steps) -> dict[str, Any]:
    model = sd_models.model_data.sd_model
    left = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    for parameter in model.parameters():
        parameter.grad = None
    return {"seconds": steps.seconds(), "peak": steps.peak - steps.before, "gradients": left}


def ours(picture: str, steps: int, side: int, plain: bool) -> dict[str, Any]:
    from dreamartist_ext.engine.config import TrainConfig
    from dreamartist_ext.engine.trainer import Training
    from dreamartist_ext.files.pictures import load_pictures
    from dreamartist_ext.hosts.a1111.host import WebUIHost

    config = TrainConfig(name="zyx", steps=steps, use_negative=not plain, template="[name]", guidance="3")
    training = Training(WebUIHost(), config, load_pictures([Path(picture)], side, side))
    with _timed() as timed:
        list(training.run())
    return _result(timed)


def webuis(picture: str, steps: int, side: int) -> dict[str, Any]:
    """The WebUI's own textual inversion, by the function behind its button; without previews and snapshots."""
    from modules.textual_inversion import textual_inversion

    textual_inversion.create_embedding("theirs", 3, True, "*")
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
    textual_inversion.textual_inversion_templates["bench"] = _template(picture)
    folder, logs = str(Path(picture).parent), _logs(picture, "theirs")
    with _timed() as timed:
        textual_inversion.train_embedding(
            "", "theirs", "0.005", 1, 1, folder, logs, side, side, False, steps, "disabled", "0.1", False, 0, "once",
            False, 0, 0, "bench", False, False, "", "", 20, "Euler", 7, -1, side, side,
        )  # fmt: skip
    return _result(timed)


def originals(picture: str, steps: int, side: int, checkout: str) -> dict[str, Any]:
    """The original extension's training, from its own checkout."""
    sys.path.insert(0, checkout)
    import scripts.dream_artist.cptuning as original

    for name, count in (("original", 3), ("original-neg", 6)):
        original.create_embedding(name, count, True)
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
    folder, logs, template = str(Path(picture).parent), _logs(picture, "original"), _template(picture).path
    with _timed() as timed:
        original.train_embedding(
            "original", 0, "0.005", 1, folder, logs, side, side, steps, 0, 0, template, False, False, "", "", 20, 0, 7,
            -1, side, side, "3", None, True, False, False, 1.0, 1.0, 1.0, 25, 1.0, 25, 0.9, 0.999, False, 1, False,
            1e-5,
        )  # fmt: skip
    return _result(timed)


def _template(picture: str) -> Any:
    from modules.textual_inversion.textual_inversion import TextualInversionTemplate

    path = Path(picture).parents[1] / "bench-template.txt"
    path.write_text("[name]\n")
    return TextualInversionTemplate(path.name, str(path))


def _logs(picture: str, name: str) -> str:
    """Both make their folder for a day only when they save something, and write their settings into it before."""
    logs = Path(picture).parents[1] / "bench-logs"
    (logs / time.strftime("%Y-%m-%d") / name).mkdir(parents=True, exist_ok=True)
    return str(logs)


def computing() -> float:
    """Seconds that this process has computed."""
    return time.process_time()


ROUTES: dict[str, Callable[..., Any]] = {f.__name__: f for f in (ours, webuis, originals, computing)}


def _mount(_page: Any, app: fastapi.FastAPI) -> None:
    async def call(function: str, request: fastapi.Request) -> dict[str, Any]:
        values = await request.json()

        def run() -> Any:
            shared.state.begin()
            try:
                with call_queue.queue_lock:
                    return ROUTES[function](**values)
            finally:
                shared.state.end()

        try:
            return {"result": await fastapi.concurrency.run_in_threadpool(run)}
        except Exception:  # whatever a peer raises is the answer
            return {"error": traceback.format_exc()}

    app.add_api_route("/dreamartist-bench/{function}", call, methods=["POST"])


script_callbacks.on_app_started(_mount)
