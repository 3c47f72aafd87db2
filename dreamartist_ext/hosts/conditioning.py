"""Conditionings of every family: a tensor of hidden states, or a dict with the WebUI's own keys where there is more.

`crossattn` (B, 77 n, width) is what the U-Net attends to; `vector` (B, ...) is SDXL's pooled vector. Everything here
acts along the batch, or along the chunks of `crossattn`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..engine.host import Cond
from ..engine.transfer import to_device

CHUNK_TOKENS = 77


def hidden_states(cond: Cond) -> Tensor:
    """(B, 77 n, width)"""
    return cond["crossattn"] if isinstance(cond, dict) else cond


def mapped(cond: Cond, change: Callable[[Tensor], Tensor]) -> Cond:
    """The same kind of conditioning with every tensor changed."""
    return {key: change(value) for key, value in cond.items()} if isinstance(cond, dict) else change(cond)


def chosen(cond: Cond, rows: Sequence[int]) -> Cond:
    """The conditionings of these rows of the batch, in this order."""
    if list(rows) == list(range(len(hidden_states(cond)))):
        return cond
    places = to_device(torch.tensor(rows, dtype=torch.long), hidden_states(cond).device)
    return mapped(cond, lambda tensor: tensor[places])


def zeroed(cond: Cond, rows: Sequence[bool]) -> Cond:
    """Zeros in the marked rows of the batch."""
    if not any(rows):
        return cond

    def without(tensor: Tensor) -> Tensor:
        kept = to_device(torch.tensor([not row for row in rows]), tensor.device)
        return torch.where(kept.reshape(-1, *[1] * (tensor.dim() - 1)), tensor, torch.zeros_like(tensor))

    return mapped(cond, without)


def joined(uncond: Cond, cond: Cond, empty: Callable[[], Cond]) -> Cond:
    """One batch [uncond, cond]; the shorter one is filled with empty chunks, as the WebUI's "pad prompt" does."""
    missing = (hidden_states(cond).shape[1] - hidden_states(uncond).shape[1]) // CHUNK_TOKENS
    if missing > 0:
        uncond = _filled(uncond, empty(), missing)
    elif missing < 0:
        cond = _filled(cond, empty(), -missing)
    if isinstance(cond, dict):
        return {key: torch.cat([uncond[key], cond[key]]) for key in cond}
    return torch.cat([uncond, cond])


def _filled(cond: Cond, empty: Cond, chunks: int) -> Cond:
    states = hidden_states(cond)
    longer = torch.cat([states, hidden_states(empty).to(states).repeat(len(states), chunks, 1)], dim=1)
    return {**cond, "crossattn": longer} if isinstance(cond, dict) else longer
