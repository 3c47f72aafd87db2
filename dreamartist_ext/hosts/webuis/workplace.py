"""Where a training happens inside a WebUI: its queue, its progress, its folders and its Interrupt.

How its model is held is for the host's own room to say. The WebUI's modules are imported on use.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ...engine.errors import ModelError, SettingError
from ...files.card import CARD_SUFFIX
from ...files.formats import EMBEDDING_SUFFIXES
from ..packages import install
from .called_off import call_off_waiting
from .options import embeddings_folder

RELOAD_SECONDS = 0.5  # from "Reload UI" interrupting to its closing the page; usually a few milliseconds
CAN_TRAIN = "AUTOMATIC1111, Forge, Forge Neo, reForge, Forge Classic and SD.Next"

Lookup = tuple[Callable[[list[str]], Sequence[list[int]]], Any]  # a tokenizer, and the embeddings found by its tokens


class WebUIWorkplace(ABC):
    """What every WebUI of AUTOMATIC1111's making has in the same place."""

    def __init__(self) -> None:
        self.defaults: dict[str, Any] = {}
        self.has_cards = True

    @property
    def embeddings(self) -> Path:
        return embeddings_folder()

    @property
    def templates(self) -> Path | None:
        from modules import shared

        named = getattr(shared.cmd_opts, "textual_inversion_templates_dir", None)  # Neo has no such flag
        return Path(named) if named else self.embeddings.parent / "textual_inversion_templates"

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
                self.begin(task)
                progress.start_task(task)
                yield
        finally:
            progress.pending_tasks.pop(task, None)

    def begin(self, task: str) -> None:
        """Tell the WebUI's progress whose turn it is."""
        from modules import shared

        shared.state.begin(job=task)

    @contextmanager
    def glance(self) -> Iterator[Any]:
        from modules import call_queue

        if not self.is_in_memory() or not call_queue.queue_lock.acquire(blocking=False):
            yield None
            return
        try:
            yield self.host() if self.is_in_memory() else None
        finally:
            call_queue.queue_lock.release()

    def interrupted(self) -> bool:
        """A picture that waits is what somebody means who presses Interrupt: that is called off, and this goes on."""
        from modules import shared

        state = shared.state
        if state.interrupted and page_is_closing():
            state.interrupted = False  # "Reload UI" interrupts whatever is under way; a training needs no page
        pressed = bool(state.interrupted or state.skipped or getattr(state, "stopping_generation", False))
        if pressed and call_off_waiting():
            state.skipped = state.interrupted = state.stopping_generation = False
            return False
        return pressed

    def show(self, step: int, steps: int, text: str) -> None:
        from modules import shared

        shared.state.job_count, shared.state.job_no = 1, 0
        shared.state.sampling_steps, shared.state.sampling_step = steps, step
        shared.state.textinfo = text

    def install(self, packages: Sequence[str]) -> None:
        """Where its page may be another's than this machine's user's, as little as the WebUI installs extensions."""
        from modules import shared

        if getattr(shared.cmd_opts, "disable_extension_access", False):
            raise SettingError("this WebUI is open to other machines, and installs nothing for its pages.")
        install(packages)

    def clash(self, name: str) -> str:
        """By the look-ups that prompts go through: its tokens must not be those of another embedding."""
        for tokenize, database in self.lookups():
            tokens = tokenize([name])[0]
            found, length = database.find_embedding_at_position(tokens, 0)
            if found is None or length < len(tokens):
                continue
            if found.name.lower() != name.lower():
                return f'prompts would take "{name}" for the embedding "{found.name}"; choose another name.'
            file = getattr(found, "filename", None)
            if file and not self._is_ours(Path(str(file))):
                return f'there is an embedding "{found.name}" already: {file}.'
        return ""

    def is_one_token(self, name: str) -> bool:
        return any(len(tokenize([name])[0]) == 1 for tokenize, _ in self.lookups())

    def _is_ours(self, path: Path) -> bool:
        is_known = path.suffix.lower() in (*EMBEDDING_SUFFIXES, CARD_SUFFIX)
        return is_known and path.parent.resolve().is_relative_to(self.embeddings.resolve())

    @abstractmethod
    def is_in_memory(self) -> bool:
        """Whether `host` finds its model loaded."""

    @abstractmethod
    def host(self) -> Any:
        """The model for a training; raises ModelError when it cannot be trained. Call it inside `gpu`."""

    @abstractmethod
    def model_name(self) -> str:
        """Of the model that `host` would train, for display; nothing is loaded for it."""

    @abstractmethod
    def chosen_model(self) -> str:
        """The model that was chosen since and is loaded as soon as the loaded one is free, or nothing."""

    @abstractmethod
    def learned(self) -> None:
        """The embeddings folder has changed: prompts take what is in it now."""

    @abstractmethod
    def lookups(self) -> Sequence[Lookup]:
        """How the loaded model's prompts find embeddings; nothing where no model is loaded."""


class UntrainedWorkplace(WebUIWorkplace):
    """Where no host knows the WebUI's model: words and their files are at hand, a training says why there is none."""

    def __init__(self, webui: str) -> None:
        super().__init__()
        self._webui = webui

    @contextmanager
    def gpu(self, task: str) -> Iterator[None]:
        raise self._refusal()
        yield

    def is_in_memory(self) -> bool:
        return False

    def host(self) -> Any:
        raise self._refusal()

    def _refusal(self) -> ModelError:
        return ModelError(
            f"DreamArtist cannot train in {self._webui}; train in {CAN_TRAIN}, or with its own command line, and use "
            "the words here."
        )

    def model_name(self) -> str:
        return ""

    def chosen_model(self) -> str:
        return ""

    def learned(self) -> None:
        """Nobody knows where such a WebUI keeps them."""

    def lookups(self) -> Sequence[Lookup]:
        return ()


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
