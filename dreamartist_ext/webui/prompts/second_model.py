"""A picture that a second checkpoint takes over: the refiner, or the hires pass with a checkpoint of its own.

The negatives that were put in belong to the first model's family, and to a model of another one they would be plain
text. The WebUI encodes the prompts again when it changes the model, by methods of the request `p`, and asks no script
about it: so `p` gets a class of its own, for as long as it lives. Copies of `p` keep it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

from ...hosts.a1111.families import vocabulary
from ...hosts.webuis.options import loaded_model

BATCH = "dreamartist_batch"  # attribute of `p`: the batch under way, see `Completed`


class Completed(Protocol):
    """The prompts of a batch, with what was put into them."""

    def unreadable(self) -> dict[str, list[str]]:
        """The negatives to put back, because the model that is loaded now does not know the added words.

        By the attribute of `p` that holds them; each list is as it was before anything was added.
        """

    def complete_hires(self, p: Any) -> None:
        """Put in those of the hires pass, for the model that is loaded now."""


def is_taken_over(p: Any) -> bool:
    """Whether a second checkpoint is asked for, by a WebUI that has the methods for it."""
    return hasattr(p, "setup_conds") and (getattr(p, "refiner_checkpoint_info", None) is not None or hires_is_later(p))


def hires_is_later(p: Any) -> bool:
    """Whether the hires pass has a checkpoint of its own, which is not loaded before the first pass is over."""
    return getattr(p, "hr_checkpoint_info", None) is not None and hasattr(p, "calculate_hr_conds")


def watch(p: Any, batch: Completed | None) -> None:
    """Have every model that takes over this batch see prompts that it can read; None where nothing was put in."""
    if isinstance(p, _Watching) or (batch is not None and is_taken_over(p)):
        setattr(p, BATCH, batch)
        p.__class__ = _watching(type(p))  # type: ignore[arg-type]


class _Watching:
    def setup_conds(self) -> None:
        with _readable(self):
            super().setup_conds()  # type: ignore[misc]


class _WatchingHires(_Watching):
    def calculate_hr_conds(self) -> None:
        batch: Completed | None = getattr(self, BATCH)
        if batch and self.hr_c is None and _is_loaded(self.hr_checkpoint_info):  # type: ignore[attr-defined]
            batch.complete_hires(self)
        with _readable(self):
            super().calculate_hr_conds()  # type: ignore[misc]


@lru_cache(maxsize=8)
def _watching(kind: type) -> type:
    if issubclass(kind, _Watching):
        return kind
    mixin = _WatchingHires if hasattr(kind, "calculate_hr_conds") else _Watching
    about = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (mixin, kind), about)


@contextmanager
def _readable(p: Any) -> Iterator[None]:
    """Inside, negative prompts that the loaded model cannot read are as they were typed."""
    batch: Completed | None = getattr(p, BATCH)
    typed = batch.unreadable() if batch else {}
    before = {attribute: getattr(p, attribute) for attribute in typed}
    try:
        for attribute, negatives in typed.items():
            setattr(p, attribute, negatives)
        yield
    finally:
        for attribute, negatives in before.items():
            setattr(p, attribute, negatives)


def _is_loaded(checkpoint: Any) -> bool:
    return checkpoint is not None and loaded_model().sd_checkpoint_info == checkpoint


def fits(loaded: Iterable[str], names: Iterable[str], model: Any) -> bool:
    """Whether the model reads these words as embeddings; `loaded` are the WebUI's, by their names.

    Where the WebUI takes a model from memory it keeps the words of the model before: their width tells.
    """
    width = _text_width(model)
    by_name = loaded if isinstance(loaded, Mapping) else dict.fromkeys(loaded)
    if width is None:
        return all(name in by_name for name in names)
    return all(name in by_name and getattr(by_name[name], "shape", None) in (None, width) for name in names)


def _text_width(model: Any) -> int | None:
    """As the WebUI counts it, over both encoders of SDXL; None where it cannot be told."""
    encoder = getattr(model, "cond_stage_model", None)
    parts = [e for e in getattr(encoder, "embedders", [encoder]) if hasattr(e, "encode_embedding_init_text")]
    return sum(vocabulary(part).weight.shape[1] for part in parts) or None
