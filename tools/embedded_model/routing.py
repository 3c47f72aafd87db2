"""Set half of the heads so that each place in the picture hears what a code says of it (parts.py), by least squares.

This needs a snapshot that `codes` has trained for a while: its queries know where in the picture they are, its keys
tell a code's vectors from words and from each other, and its mapper uses few directions of the difference of the
encoder's halves. The heads that wrote least are taken, and write nothing at first.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import one_hot
from transformers import CLIPTextModel

from . import codes
from .parts import BLOCKS, COMPONENTS, LOUD, PART, PARTS, SLOT, TAKEN, Parts, cells, keep_clear, without
from .shapes import alphas_cumprod

WATCHED = (980, 930, 850, 750, 600, 400, 200)  # timesteps of the passes that the heads are fitted to
PASSES, BATCH, TOKENS = 4, 24, 28  # of each
EVENED = 0.6  # components are divided by their spread to this power: wholly, and noise would be as loud as outlines
QUERY, KEY = 11.0, 5.5  # the size of what is looked for, and of what is found
NOWHERE = 0.5  # of that: the pull of the first token, where nothing else is looked for
VALUE = 24.0  # root mean square of what a head hears, in other heads near 1: quieter, and training goes other ways
QUERY_RIDGE, KEY_RIDGE = 1e-6, 1e-5  # of the mean square of what is given
TOLD = 3.0  # the weight of a code's vectors and the first token among all tokens


def route(folder: Path, model: Path, snapshot: Path, out: Path) -> None:
    """Write a snapshot that goes on from another's averages with its heads set, and a fresh optimizer."""
    student, data, _ = codes.restored(folder, model, snapshot)
    set_heads(student, data)
    codes.save(out, student, None, [parameter.detach().clone() for parameter in student.parameters], 0)


@torch.no_grad()
def set_heads(student: codes.Student, data: codes.Captioned, seed: int = 0) -> None:
    torch.manual_seed(seed)
    data.dice.seed(f"routing {seed}")
    _set_parts(student.codes)
    parts = student.codes.parts
    keep_clear(student.text, parts.directions)
    _even_halves(student.text)
    for name in BLOCKS:
        attention = student.unet.get_submodule(name)
        for reader in (attention.to_k, attention.to_v):
            reader.weight.copy_(without(reader.weight, parts.directions))
    encoded, vector, given, written = _watched(student, data)
    keys, spread = _keys(encoded, vector, parts.directions)
    for block, name in enumerate(BLOCKS):
        parts.heads[block] = _quietest(student.unet, name, written[name])
        for number, head in enumerate(parts.heads[block].tolist()):
            slot = TAKEN * block + number
            _set_head(student.unet.get_submodule(name), head, slot, given[name], keys, parts, spread)


def _set_parts(code: codes.Codes) -> None:
    """Components of the cells, and the directions in which the mapper itself says least."""
    seen, parts = code.seen, code.parts
    whole = cells(seen[::13]).flatten(0, 1)
    parts.middle.copy_(whole.mean(0))
    whole = (whole - parts.middle)[torch.randperm(len(whole))[:40000]]
    _, spread, components = torch.linalg.svd(whole, full_matrices=False)
    spread = spread / len(whole) ** 0.5
    parts.components.copy_(components[:COMPONENTS] / spread[:COMPONENTS, None] ** EVENED)
    numbers = parts.numbers(seen[::50])
    parts.components *= LOUD / numbers[numbers != 0].std()

    halves = code.of(seen[::11])[:, :PARTS].unflatten(-1, (2, -1))
    difference = (halves[:, :, 0] - halves[:, :, 1]) / 2
    apart = (difference - difference.mean(0)).flatten(0, 1)
    _, directions = torch.linalg.eigh(apart.T @ apart)  # the least first
    count = len(parts.directions)
    turn, _ = torch.linalg.qr(torch.randn(count, count))
    parts.directions.copy_(turn @ directions[:, :count].T)


def _even_halves(text: CLIPTextModel) -> None:
    """Let the last norm scale both halves alike: words then say nothing in their difference but what codes say."""
    norm = text.text_model.final_layer_norm if hasattr(text, "text_model") else text.final_layer_norm
    for weight in (norm.weight, norm.bias):
        weight.copy_(weight.unflatten(0, (2, -1)).mean(0).repeat(2))


def _watched(
    student: codes.Student, data: codes.Captioned
) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """From passes over training pictures: encoder output (N, tokens, width), which vector of a code stands at each
    token (-1: none), what each block's queries are made of (N, 64, channels), and what its heads write, likewise."""
    given: dict[str, list[Tensor]] = {name: [] for name in BLOCKS}
    written: dict[str, list[Tensor]] = {name: [] for name in BLOCKS}
    handles = []
    for name in BLOCKS:
        attention = student.unet.get_submodule(name)

        def keep_given(_module: nn.Module, inputs: tuple, name: str = name) -> None:
            given[name].append(inputs[0].float())

        def keep_written(_module: nn.Module, inputs: tuple, name: str = name) -> None:
            written[name].append(inputs[0].float())

        handles += [
            attention.to_q.register_forward_pre_hook(keep_given),
            attention.to_out[0].register_forward_pre_hook(keep_written),
        ]
    encoded, vector, abar = [], [], alphas_cumprod()
    try:
        for timestep in WATCHED:
            for _ in range(PASSES):
                latents, lines = data.next(BATCH)
                said = student.captions(lines, TOKENS)
                encoded.append(student.encode(said))
                vector.append(torch.where(said.codes >= 0, said.which, -1))
                a = abar[timestep]
                noisy = a.sqrt() * latents + (1 - a).sqrt() * torch.randn_like(latents)
                student.unet(noisy, torch.full((len(latents),), timestep), encoded[-1])
    finally:
        for handle in handles:
            handle.remove()
    return (
        torch.cat(encoded),
        torch.cat(vector),
        {name: torch.cat(parts) for name, parts in given.items()},
        {name: torch.cat(parts) for name, parts in written.items()},
    )


def _ridge(given: Tensor, wanted: Tensor, share: float) -> Tensor:
    """(N, M), (N, K) -> (M, K)"""
    held = share * given.square().sum() / given.shape[1] * torch.eye(given.shape[1])
    return torch.linalg.solve(given.T @ given + held, given.T @ wanted)


def _keys(encoded: Tensor, vector: Tensor, directions: Tensor) -> tuple[Tensor, float]:
    """(width, PARTS + 1): weights that tell which vector a token is, last the first token of all; and the root mean
    square of what vectors say in the directions, along each."""
    wanted = one_hot(torch.where((vector >= 0) & (vector < PARTS), vector, PARTS + 1), PARTS + 2).float()
    wanted[:, 0, PARTS] = 1
    wanted, is_code = wanted[..., : PARTS + 1].flatten(0, 1), (vector >= 0).flatten()
    given = encoded.float().flatten(0, 1)
    one, other = given.unflatten(1, (2, -1)).unbind(1)
    said = (one - other) @ directions.T
    spread = said[is_code].square().mean().sqrt().item()
    weight = torch.where(wanted.any(1), TOLD, 1.0)[:, None]
    keys = _ridge(without(given, directions) * weight, wanted * weight, KEY_RIDGE)
    return without(keys.T, directions).T, spread


def _quietest(unet: UNet2DConditionModel, name: str, written: Tensor) -> Tensor:
    """(TAKEN,): the heads of a block that add least to the picture."""
    attention = unet.get_submodule(name)
    out = attention.to_out[0].weight.unflatten(1, (attention.heads, -1))
    heads = written.unflatten(-1, (attention.heads, -1))
    loud = torch.stack([(heads[..., h, :] @ out[:, h].T).square().mean() for h in range(attention.heads)])
    return loud.argsort()[:TAKEN]


def _set_head(
    attention: nn.Module, head: int, slot: int, given: Tensor, keys: Tensor, parts: Parts, spread: float
) -> None:
    """In a head's slot, look at the vector of each cell's part; elsewhere at the first token. Hear what that vector
    says of the slot."""
    inside = (slot == SLOT).nonzero().flatten()
    wanted = torch.zeros(len(SLOT), PARTS)
    wanted[inside, PART[inside]] = 1
    rows = given.flatten(0, 1)
    looks = _ridge(rows, wanted.repeat(len(given), 1), QUERY_RIDGE)
    peak = (given[:, inside] @ looks)[:, torch.arange(len(inside)), PART[inside]].mean()
    always = _ridge(rows, torch.ones(len(rows), 1), QUERY_RIDGE)
    looks = torch.cat([looks / peak, NOWHERE * always], 1)
    size = attention.to_q.weight.shape[0] // attention.heads
    of_head = slice(size * head, size * (head + 1))
    for layer in (attention.to_q, attention.to_k, attention.to_v):
        layer.weight[of_head] = 0
    attention.to_q.weight[of_head][: PARTS + 1] = QUERY * looks.T
    attention.to_k.weight[of_head][: PARTS + 1] = KEY * keys.T
    heard = parts.directions[COMPONENTS * slot : COMPONENTS * (slot + 1)]
    attention.to_v.weight[of_head][:COMPONENTS] = VALUE / spread * torch.cat([heard, -heard], 1)
    attention.to_out[0].weight[:, of_head] = 0
