"""The parts of a picture that a code's vectors speak of, and the heads of the U-Net that listen to them.

A code's six vectors stand for six parts of the picture, three rows of two. Beside what the mapper gives them, they hold
what the mapper sees in the cells of their part, in directions that nothing else uses. Half of the heads that see the
text on the U-Net's grid of 8x8 cells are for this alone: each has one of twelve slots, a cell in every part, and looks
from there at the vector of the part. Left to itself the training hears a code as one sum of all its vectors;
WORD_SPACE.md has the figures. `routing.py` sets the heads, once; the training moves them on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import unfold
from transformers import CLIPTextModel

from .captions import Said

PARTS = 6  # three rows of two
GRID = 8  # cells a side of the level where the heads are
BLOCKS = tuple(
    f"{level}.transformer_blocks.0.attn2"
    for level in (
        *("down_blocks.1.attentions.0", "mid_block.attentions.0"),
        *("up_blocks.0.attentions.0", "up_blocks.0.attentions.1"),
    )
)
TAKEN = 3  # heads of each block
SLOTS = TAKEN * len(BLOCKS)
COMPONENTS = 12  # of the 36 numbers that the mapper sees of a cell, 3x3 in four channels
LOUD = 0.75  # root mean square of what a vector says of a cell; of all else that it says it is codes.CODE_SIZE
LOOKING = 0.03  # the weight of looking right in the loss
LEAST = 1e-4  # of attention, so that a head far off does not outweigh the picture
INSIDE = 5.0  # the weight of a cell in a head's slot against one outside, where it looks at nothing

_ROW, _COLUMN = torch.arange(GRID**2) // GRID, torch.arange(GRID**2) % GRID
PART = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])[_ROW] * 2 + _COLUMN // 4  # (64,): of every cell
SLOT = torch.tensor([0, 1, 2, 1, 2, 1, 2, 0])[_ROW] * 4 + _COLUMN % 4  # (64,): each once in a part, some not
CELL = torch.full((PARTS, SLOTS), -1)  # of a slot in a part; -1 where there is none
CELL[PART, SLOT] = torch.arange(GRID**2)


def cells(seen: Tensor) -> Tensor:
    """(B, 4, 24, 24) -> (B, 64, 36)"""
    side = seen.shape[-1] // GRID
    return unfold(seen.float(), side, stride=side).transpose(1, 2)


class Parts(nn.Module):
    """What vectors say of their parts. Silent until `routing.py` sets it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        numbers = SLOTS * COMPONENTS
        self.register_buffer("middle", torch.zeros(36))
        self.register_buffer("components", torch.zeros(COMPONENTS, 36))
        self.register_buffer("directions", torch.zeros(numbers, width // 2))  # orthonormal, of the halves' difference
        self.register_buffer("heads", torch.full((len(BLOCKS), TAKEN), -1))

    @property
    def routed(self) -> bool:
        return bool(self.heads[0, 0] >= 0)

    def forward(self, seen: Tensor) -> Tensor:
        """(B, 4, 24, 24) -> (B, PARTS, width)"""
        said = self.numbers(seen) @ self.directions
        return torch.cat([said, -said], -1)

    def numbers(self, seen: Tensor) -> Tensor:
        """(B, PARTS, SLOTS * COMPONENTS), 0 where a part has no such cell"""
        of_cells = (cells(seen) - self.middle) @ self.components.T
        there = (CELL >= 0).to(of_cells)[:, :, None]
        return (of_cells[:, CELL.clamp(min=0).to(seen.device)] * there).flatten(2)


def in_both(directions: Tensor) -> Tensor:
    """(N, width): unit vectors along the difference of an encoder's two halves"""
    return torch.cat([directions, -directions], 1) / 2**0.5


def without(rows: Tensor, directions: Tensor) -> Tensor:
    """(M, width) encoder output, or weights that read it, with nothing in the directions."""
    both = in_both(directions)
    return rows - (rows @ both.T) @ both


@torch.no_grad()
def keep_clear(text: CLIPTextModel, directions: Tensor) -> None:
    """Keep the encoder from writing where the codes speak of their parts: it would say the same with and without."""
    for name, weight in text.named_parameters():
        if name.endswith(("out_proj.weight", "fc2.weight")):
            weight.copy_(without(weight.T, directions).T)
        elif name.endswith(("out_proj.bias", "fc2.bias")):
            weight.copy_(without(weight[None], directions)[0])
        elif name.endswith("embedding.weight"):
            weight.copy_(without(weight, directions))


class Looking:
    """Where the heads look in every pass of a U-Net, and the loss of their looking elsewhere."""

    def __init__(self, unet: UNet2DConditionModel, heads: Sequence[Sequence[int]]) -> None:
        self.heads = heads
        self.scores: dict[str, Tensor] = {}
        for name in BLOCKS:
            attention = unet.get_submodule(name)
            attention.get_attention_scores = self._kept(name, attention.get_attention_scores)

    def _kept(self, name: str, scores: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def keep(*given: Tensor) -> Tensor:
            self.scores[name] = scores(*given)
            return self.scores[name]

        return keep

    def loss(self, said: Said) -> Tensor:
        """The mean of -log attention on the right vector, or on the caption's first token outside a head's slot and
        where the caption has no code."""
        count, losses = len(said.ids), []
        wanted = said.ids.new_zeros(count, PARTS)
        caption, place = ((said.codes >= 0) & (said.which < PARTS)).nonzero(as_tuple=True)
        wanted[caption, said.which[caption, place]] = place
        of_cells = wanted[:, PART.to(wanted.device)]
        for block, name in enumerate(BLOCKS):
            scores = self.scores[name]
            scores = scores.view(count, -1, *scores.shape[1:]).float()
            for number, head in enumerate(self.heads[block]):
                inside = (TAKEN * block + number == SLOT).to(wanted.device)
                target = torch.where(inside, of_cells, 0)
                log = scores[:, head].gather(2, target[:, :, None])[:, :, 0].clamp(min=LEAST).log()
                losses.append(-(log * torch.where(inside, INSIDE, 1.0)).mean())
        return torch.stack(losses).mean()
