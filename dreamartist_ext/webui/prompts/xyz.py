"""Axes of the WebUI's X/Y/Z plot: how strong the negatives are, with or without them, and as of which step.

A cell of the plot is a copy of the picture's settings `p`. Whatever an axis changes, it changes on that copy.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from types import ModuleType
from typing import Any

from ...engine.embedding import EmbeddingPair
from ...engine.errors import SettingError
from ...engine.names import negative_name
from ...files.run import RunFiles
from ...files.storage import embedding_files, find_embedding, load_pair
from ...hosts.webuis.options import embeddings_folder
from ...hosts.webuis.words import CACHES
from ..running import standing_for
from .prompt_hook import holds

PAIR, POSITIVE_ONLY = "pair", "positive only"
STRENGTH = "dreamartist_strength"  # attribute of `p` that the prompt hook takes before its own
_IS_POSITIVE_ONLY = "dreamartist_positive_only"
_VECTORS = "dreamartist_vectors"
_HASHES = "dreamartist_hashes"  # of the files that these come from, for the infotext
_STEPS = "dreamartist_steps"
_LINE = "DreamArtist step"  # of the infotext


def register(scripts: Any) -> None:
    """Add our axes to the X/Y/Z plot, where they are not there already; `scripts` is the WebUI's module."""
    for module in plot_modules(scripts):
        known = {option.label for option in module.axis_options}
        module.axis_options.extend(axis for axis in axes(module.AxisOption) if axis.label not in known)


def plot_modules(scripts: Any) -> list[ModuleType]:
    """Every "Reload UI" runs the plot's script anew, as a module of its own."""
    modules = {id(data.module): data.module for data in scripts.scripts_data}
    return [module for module in modules.values() if hasattr(module, "axis_options") and hasattr(module, "AxisOption")]


def axes(axis_option: Callable[..., Any]) -> list[Any]:
    """`axis_option` is the plot's class: label, type of a value, what to do with `p`, and more by name."""
    made = [
        axis_option("[DreamArtist] Negative strength", float, apply_strength, confirm=check_strengths),
        axis_option(
            "[DreamArtist] Pair or positive only", str, apply_half, confirm=check_halves, choices=lambda: list(HALVES)
        ),
    ]
    if standing_for() is not None:
        made.append(
            axis_option("[DreamArtist] Concept step", str, apply_step, confirm=check_steps, choices=step_choices)
        )
    return made


HALVES = (PAIR, POSITIVE_ONLY)


def apply_strength(p: Any, value: float, _values: Sequence[float]) -> None:
    if not getattr(p, _IS_POSITIVE_ONLY, False):
        setattr(p, STRENGTH, float(value))


def check_strengths(_p: Any, values: Sequence[float]) -> None:
    for value in values:
        if not 0 <= value <= 2:
            raise SettingError(f"the negative's strength must be from 0 to 2, got {value:g}.")


def apply_half(p: Any, value: str, _values: Sequence[str]) -> None:
    """Whatever the other axes say: "positive only" is that."""
    if value == POSITIVE_ONLY:
        setattr(p, STRENGTH, 0.0)
        setattr(p, _IS_POSITIVE_ONLY, True)


def check_halves(_p: Any, values: Sequence[str]) -> None:
    for value in values:
        if value not in HALVES:
            raise SettingError(f'write "{PAIR}" or "{POSITIVE_ONLY}", got "{value}".')


def step_choices() -> list[str]:
    """ "mycat 100", "mycat 200", ... of every concept that is in use."""
    return [f"{files.name} {step}" for files in trained() for step in files.kept_steps()]


def trained() -> list[RunFiles]:
    """The words in use that have steps to choose from."""
    folder = embeddings_folder()
    concepts = (RunFiles(folder, path.stem) for path in embedding_files(folder))
    return [files for files in concepts if files.folder.is_dir()]


def steps_at(value: str) -> list[tuple[RunFiles, int]]:
    """The training and step of "mycat 100", or every concept's of "100"; raises SettingError when there is none."""
    match = re.fullmatch(r"(?:(\S+)\s+)?(\d{1,9})", value.strip())
    if match is None:
        raise SettingError(f'write a name and a step, such as "mycat 100", got "{value}".')
    name, step = match[1], int(match[2])
    concepts = [files for files in trained() if name is None or files.name.lower() == name.lower()]
    found = [files for files in concepts if step in files.kept_steps()]
    if not found:
        raise SettingError(f"{name or 'no concept'} {'has no' if name else 'has a'} saved step {step}.")
    return [(files, step) for files in found]


def pair_at(files: RunFiles, step: int) -> EmbeddingPair:
    """Raises FileError."""
    pair = load_pair(files.folder, files.step_stem(step))
    pair.name = files.name
    return pair


def hashes_at(files: RunFiles, step: int) -> dict[str, str]:
    """The SHA-256 of each half's file, by its word: what an infotext says of an embedding."""
    stem = files.step_stem(step)
    found = {files.name: find_embedding(files.folder, stem)}
    found[negative_name(files.name)] = find_embedding(files.folder, negative_name(stem))
    return {word: hashlib.sha256(path.read_bytes()).hexdigest() for word, path in found.items() if path is not None}


def check_steps(_p: Any, values: Sequence[str]) -> None:
    for value in values:
        for files, step in steps_at(value):
            pair_at(files, step)


def apply_step(p: Any, value: str, _values: Sequence[str]) -> None:
    """The prompts of this cell are encoded with the vectors of that step; files and other cells know nothing of it."""
    found = steps_at(value)
    vectors = {word: half for files, step in found for word, half in pair_at(files, step).named().items()}
    hashes = {word: digest for files, step in found for word, digest in hashes_at(files, step).items()}
    steps = {files.name: step for files, step in found}
    for name, added in ((_VECTORS, vectors), (_HASHES, hashes), (_STEPS, steps)):
        setattr(p, name, {**getattr(p, name, {}), **added})
    for cache in CACHES:  # cells share these, and they know prompts by their text alone
        if hasattr(p, cache):
            setattr(p, cache, [None] * len(getattr(p, cache)))
    p.extra_generation_params = dict(p.extra_generation_params)
    p.__class__ = encoding_class(p.__class__)


def _registered(p: Any) -> AbstractContextManager[None]:
    stand_for = standing_for()
    return stand_for(getattr(p, _VECTORS), getattr(p, _HASHES)) if stand_for is not None else nullcontext()


def _say_steps(p: Any) -> None:
    """Into the infotext: of the words that are in the prompts of this batch, and of no others."""
    prompts = [prompt for name in ("prompts", "hr_prompts") for prompt in getattr(p, name, None) or ()]
    steps = getattr(p, _STEPS).items()
    said = ", ".join(f"{name} {step}" for name, step in steps if any(holds(prompt, name) for prompt in prompts))
    p.extra_generation_params.pop(_LINE, None)
    if said:
        p.extra_generation_params[_LINE] = said


@lru_cache(maxsize=8)
def encoding_class(kind: Any) -> Any:
    """The same kind of settings, which encodes its prompts with its own vectors."""
    if hasattr(kind, "encodes_with_own_vectors"):
        return kind

    class WithOwnVectors(kind):
        encodes_with_own_vectors = True

        def setup_conds(self) -> None:
            _say_steps(self)
            with _registered(self):
                super().setup_conds()

        def calculate_hr_conds(self) -> None:
            with _registered(self):
                super().calculate_hr_conds()

    WithOwnVectors.__name__, WithOwnVectors.__qualname__ = kind.__name__, kind.__qualname__
    return WithOwnVectors
