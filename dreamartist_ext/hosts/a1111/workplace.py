"""Where a training happens inside AUTOMATIC1111: its queue, its progress and its embeddings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...files.card import CARD_SUFFIX
from ...files.formats import EMBEDDING_SUFFIXES

if TYPE_CHECKING:
    from .host import WebUIHost

RELOAD_SECONDS = 0.5  # from "Reload UI" interrupting to its closing the page; usually a few milliseconds


class WebUIWorkplace:
    """Inside AUTOMATIC1111; the WebUI's modules are imported on use."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}

    @property
    def embeddings(self) -> Path:
        from modules import shared

        return Path(shared.cmd_opts.embeddings_dir)

    @property
    def templates(self) -> Path | None:
        from modules import shared

        return Path(shared.cmd_opts.textual_inversion_templates_dir)

    @contextmanager
    def gpu(self, task: str) -> Iterator[None]:
        """In the WebUI's own queue: pictures asked for meanwhile wait, and its progress knows the task."""
        from modules import call_queue, progress, shared

        progress.add_task_to_queue(task)
        try:
            with call_queue.queue_lock, ExitStack() as afterwards:
                # each of them whatever the others raise: `begin` and `end` also empty the GPU's cache
                afterwards.callback(_put_at_rest, shared.state)
                afterwards.callback(shared.state.end)
                afterwards.callback(progress.finish_task, task)
                shared.state.begin(job=task)
                progress.start_task(task)
                yield
        finally:
            progress.pending_tasks.pop(task, None)

    @contextmanager
    def glance(self) -> Iterator[WebUIHost | None]:
        from modules import call_queue, sd_models

        if sd_models.model_data.sd_model is None or not call_queue.queue_lock.acquire(blocking=False):
            yield None
            return
        try:
            yield self.host()
        finally:
            call_queue.queue_lock.release()

    def host(self) -> WebUIHost:
        from .host import WebUIHost

        return WebUIHost()

    def model_name(self) -> str:
        from modules import sd_models

        model = sd_models.model_data.sd_model
        return str(model.sd_checkpoint_info.name_for_extra) if model is not None else ""

    def chosen_model(self) -> str:
        from modules import sd_models, shared

        loaded = getattr(sd_models.model_data.sd_model, "sd_checkpoint_info", None)
        chosen = sd_models.get_closet_checkpoint_match(shared.opts.sd_model_checkpoint)
        is_other = loaded is not None and chosen is not None and chosen.filename != loaded.filename
        return str(chosen.name_for_extra) if is_other else ""

    def interrupted(self) -> bool:
        from modules import shared

        state = shared.state
        if state.interrupted and page_is_closing():
            state.interrupted = False  # "Reload UI" interrupts whatever is under way; a training needs no page
        return bool(state.interrupted or state.skipped or state.stopping_generation)

    def show(self, step: int, steps: int, text: str) -> None:
        from modules import shared

        shared.state.job_count, shared.state.job_no = 1, 0
        shared.state.sampling_steps, shared.state.sampling_step = steps, step
        shared.state.textinfo = text

    def learned(self) -> None:
        from .embeddings import reload_embeddings

        reload_embeddings()

    def clash(self, name: str) -> str:
        """By the look-up that prompts go through: its tokens must not be those of another embedding."""
        from modules import sd_hijack, sd_models

        model = sd_models.model_data.sd_model
        encoder = getattr(model, "cond_stage_model", None)
        if encoder is None or not hasattr(encoder, "tokenize"):
            return ""
        tokens = encoder.tokenize([name])[0]
        found, length = sd_hijack.model_hijack.embedding_db.find_embedding_at_position(tokens, 0)
        if found is None or length < len(tokens):
            return ""
        if found.name.lower() == name.lower():
            path = Path(str(found.filename or ""))
            is_ours = path.suffix.lower() in (
                *EMBEDDING_SUFFIXES,
                CARD_SUFFIX,
            ) and path.parent.resolve().is_relative_to(self.embeddings.resolve())
            return "" if is_ours or not found.filename else f'there is an embedding "{found.name}" already: {path}.'
        return f'prompts would take "{name}" for the embedding "{found.name}"; choose another name.'


def _put_at_rest(state: Any) -> None:
    """As the WebUI's own wrapper does: the next picture must not be interrupted by this one's click."""
    state.skipped = state.interrupted = state.stopping_generation = False
    state.job, state.job_count = "", 0


def page_is_closing() -> bool:
    """Whether "Reload UI" closes the WebUI's page now, or within a moment: it interrupts first."""
    from modules import shared

    deadline = time.monotonic() + RELOAD_SECONDS
    while not getattr(getattr(shared.demo, "server", None), "should_exit", False):
        if time.monotonic() >= deadline:
            return False
        time.sleep(RELOAD_SECONDS / 50)
    return True
