"""From a painted grey mask to a weight per latent."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .errors import PictureError

MID_GREY = 128  # the grey of weight 1: neither less nor more than without a mask
TOP_WEIGHT = 5.0
ROWS = 1024  # of an attention map at a time
FLAT = 0.01  # of a mask's range: less is no shape, but noise


def grey_to_weight(grey: Tensor) -> Tensor:
    """Greys 0..255, any shape, to weights: 0..127 -> 0..1 and 128..255 -> 1..5, linear in each half."""
    grey = grey.float()
    below = (grey / (MID_GREY - 1)).clamp(0, 1)
    above = ((grey - MID_GREY) / (255 - MID_GREY)).clamp(0, 1)
    return below + (TOP_WEIGHT - 1) * above


def weight_to_grey(weight: Tensor) -> Tensor:
    """What `grey_to_weight` undoes: 0..1 -> 0..127 and 1..5 -> 128..255."""
    below = weight * (MID_GREY - 1)
    above = MID_GREY + (weight - 1) * ((255 - MID_GREY) / (TOP_WEIGHT - 1))
    return torch.where(weight <= 1, below, above)


def latent_weight(grey: Tensor, height: int, width: int, source: str = "The mask") -> Tensor:
    """Weights (1, height, width) of the latents' squared error: the mean weight of the pixels under each.

    `grey` is (H, W) in 0..255. Raises PictureError, with `source` as its subject, for a mask that is black everywhere.
    """
    weight = grey_to_weight(grey)  # (H, W)
    if weight.max() <= 0:
        raise PictureError(f"{source} is black everywhere and leaves nothing to learn; paint what matters in white.")
    return adaptive_avg_pool2d(weight[None], (height, width))  # (1, h, w)


def attention_rows(queries: Tensor, keys: Tensor, part: slice) -> Tensor:
    """Rows of softmax(Q K^T / sqrt(c)): queries and keys (n, c) -> (rows, n), each row with the sum 1."""
    return torch.softmax(queries[part].float() @ keys.float().T * queries.shape[1] ** -0.5, dim=1)


def spread(weight: Tensor, queries: Tensor, keys: Tensor, strength: float = 1.0) -> Tensor:
    """Let painted weights spread to the places that attend to them: (1, h, w) -> (1, h, w).

    Every place takes the mean weight of what it attends to, A w, in the original's idea of superimposing the VAE's
    self-attention on its mask. queries and keys (h w, c) are those of the VAE encoder's middle block. The result spans
    the range of the mask again, since a mean flattens it; `strength` mixes it with the mask as it was. What weighed
    nothing still weighs nothing, and a mask stays as it is where all places attend alike.
    """
    flat = weight.reshape(-1)
    rows = range(0, len(flat), ROWS)  # all rows at once are 1 GB at 1024x1024 pixels
    means = torch.cat([attention_rows(queries, keys, slice(i, i + ROWS)) @ flat for i in rows])
    low, span = means.min(), means.max() - means.min()
    wanted = flat.max() - flat.min()
    if span <= FLAT * wanted:
        return weight
    mixed = flat + strength * (flat.min() + (means - low) * (wanted / span) - flat)
    return torch.where(flat > 0, mixed, flat).reshape(weight.shape)
