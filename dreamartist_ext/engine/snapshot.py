"""The whole state of a training: taken at a step, checked, and put back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .config import TrainConfig
from .embedding import EmbeddingPair
from .errors import FileError, SettingError, TrainingError
from .host import Vectors
from .step_guard import StepGuard
from .stopping import Check


@dataclass(frozen=True)
class Snapshot:
    """All that a later run needs to go on as if it had never stopped."""

    tensors: dict[str, Tensor]
    config: str  # TrainConfig as JSON
    step: int
    fingerprint: str  # of the pictures
    model: str  # the host's identity
    checks: tuple[Check, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)  # the pair's provenance
    notice: str = ""  # what its reader should tell the user; no part of the file

    # Noise, timesteps, templates and the order of the pictures are functions of the seed and the step
    # (see `Draws`), so there is no generator's state to keep.


def pair_of(snapshot: Snapshot, name: str) -> EmbeddingPair:
    """The pair that a snapshot holds, as it would be written: without its optimizer, or the average of it."""
    config = TrainConfig.from_json(snapshot.config)
    average = "ema." if config.ema and config.save_ema else ""

    def half(prefix: str) -> Vectors:
        split = ((key.rpartition("."), tensor) for key, tensor in snapshot.tensors.items())
        return {key: tensor for (before, _, key), tensor in split if before == average + prefix}

    about = {**snapshot.about, "settings": config.published()}
    return EmbeddingPair(name, half("positive"), half("negative") or None, snapshot.step, about)


def _vectors_of(pair: EmbeddingPair) -> Iterator[tuple[str, Tensor]]:
    """("positive.clip", vectors), ..., as a snapshot calls them."""
    for prefix, half in (("positive", pair.positive), ("negative", pair.negative)):
        for key, vectors in (half or {}).items():
            yield f"{prefix}.{key}", vectors


def _averages_of(average: EmbeddingPair | None) -> Iterator[tuple[str, Tensor]]:
    for name, vectors in _vectors_of(average) if average is not None else ():
        yield f"ema.{name}", vectors


def tensors_of(
    pair: EmbeddingPair, optimizer: torch.optim.Optimizer, average: EmbeddingPair | None, guard: StepGuard
) -> dict[str, Tensor]:
    """Vectors, moments, averages and the guard's, copied; raises TrainingError rather than keep any not finite."""
    tensors = dict(_averages_of(average)) | guard.tensors()
    for name, vectors in _vectors_of(pair):
        tensors[name] = vectors
        for moment, value in optimizer.state.get(vectors, {}).items():
            tensors[f"{name}.{moment}"] = torch.as_tensor(value)
    copies = {name: t.detach().cpu().clone() for name, t in tensors.items()}
    if not all(torch.isfinite(t).all() for t in copies.values()):
        raise TrainingError(f"the vectors are no longer finite at step {pair.step}; the snapshot before it is kept.")
    return copies


@torch.no_grad()
def put_back(
    snapshot: Snapshot, pair: EmbeddingPair, optimizer: torch.optim.Optimizer, average: EmbeddingPair | None = None
) -> None:
    """Load the snapshot into the pair, its optimizer and its average. Raises FileError if it lacks a part."""
    check_complete(snapshot, pair, average)
    for name, vectors in _averages_of(average):
        vectors.copy_(snapshot.tensors[name])
    for name, vectors in _vectors_of(pair):
        vectors.copy_(snapshot.tensors[name])
        state = {m: snapshot.tensors.get(f"{name}.{m}") for m in ("step", "exp_avg", "exp_avg_sq")}
        if state["step"] is not None:
            # AdamW counts its steps on the CPU, unless it is fused
            counter = vectors.device if optimizer.defaults.get("fused") else torch.device("cpu")
            optimizer.state[vectors] = {
                m: t.to(counter, copy=True) if m == "step" else t.to(vectors, copy=True)
                for m, t in state.items()
                if t is not None
            }
    pair.step = snapshot.step


def check_complete(snapshot: Snapshot, pair: EmbeddingPair, average: EmbeddingPair | None = None) -> None:
    """Raises FileError when a tensor is missing or has another shape than the pair's."""
    for name, vectors in _averages_of(average):
        _check_shape(snapshot, name, vectors.shape)
    for name, vectors in _vectors_of(pair):
        wanted = {"": vectors.shape}
        if snapshot.step:
            wanted |= {".step": torch.Size([]), ".exp_avg": vectors.shape, ".exp_avg_sq": vectors.shape}
        for part, shape in wanted.items():
            _check_shape(snapshot, name + part, shape)


def _check_shape(snapshot: Snapshot, name: str, shape: torch.Size) -> None:
    tensor = snapshot.tensors.get(name)
    if tensor is None or tensor.shape != shape:
        raise FileError("the snapshot is damaged: it lacks a part of what training needs.")


# What stands in a host's identity beside the weights, each with what is meant where it is not there.
_PARTS_OF_IDENTITY = (
    ("clip skip", re.compile(r" skip (\d+)"), "1"),
    ("the VAE", re.compile(r" vae (.*?)(?= skip |$)"), "of the model"),
    ("device", re.compile(r"^(cpu|cuda|mps|xpu|privateuseone)\b"), ""),
    ("precision", re.compile(r"^\S+ (?:torch\.)?((?:b?float|bf|fp)\d+)\b"), ""),
)


def _difference(old: str, new: str) -> str:
    """In words, what differs between the identities of two hosts."""
    parts = [(what, _parts_named(pattern, usual, old, new)) for what, pattern, usual in _PARTS_OF_IDENTITY]
    other = [(what, *values) for what, values in parts if values[0] != values[1]]
    if not other or _weights_in(old) != _weights_in(new):
        return "on another model, so it cannot go on with this one"
    if len(other) == 1:
        ((what, was, now),) = other
        return f"with {what} {was}, so it cannot go on with {now}"
    before, after = (" and ".join(f"{each[0]} {each[place]}" for each in other) for place in (1, 2))
    return f"with {before}, so it cannot go on with {after}"


def _parts_named(pattern: re.Pattern[str], usual: str, *identities: str) -> list[str]:
    return [found[1] if (found := pattern.search(text)) else usual for text in identities]


def _weights_in(identity: str) -> str:
    """What is left of it without its parts, each of which stands there once."""
    for _, pattern, _ in sorted(_PARTS_OF_IDENTITY, key=lambda part: part[0] == "device"):  # precision is behind that
        identity = pattern.sub("", identity, count=1)
    return identity


def _shown(value: object) -> object:
    """A setting's value in a sentence; an empty text is seen."""
    return value if value != "" else '""'


def check_same(snapshot: Snapshot, config: TrainConfig, fingerprint: str, model: str) -> None:
    """Raises SettingError unless the snapshot is of these settings (but for what does not change the vectors),
    pictures and model."""
    old = json.loads(TrainConfig.from_mapping(json.loads(snapshot.config)).to_json())
    new = json.loads(config.to_json())
    for name in new:
        free = {"save_every", "less_memory", "name_pictures", "check_every", "patience", "keep"}
        is_whole = snapshot.step >= old["steps"]  # more steps are then a training of their own, and its rate its own
        free |= {"steps"} if is_whole or not config.cosine else set()
        if name not in free and old[name] != new[name]:
            raise SettingError(
                f"this training was started with {name} {_shown(old[name])}, so it cannot go on with "
                f"{_shown(new[name])}."
            )
    if snapshot.fingerprint != fingerprint:
        raise SettingError("this training was started from another picture or mask, so it cannot go on with this one.")
    if snapshot.model != model:
        raise SettingError(f"this training was started {_difference(snapshot.model, model)}.")
    if not 0 <= snapshot.step <= config.steps:
        raise SettingError(f"this training is already at step {snapshot.step}, past {config.steps}.")
