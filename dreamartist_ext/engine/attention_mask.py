"""From a painted grey mask to a weight per latent."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from .errors import PictureError

MID_GREY = 128  # the grey of weight 1: neither less nor more than without a mask
TOP_WEIGHT = 5.0


def grey_to_weight(grey: Tensor) -> Tensor:
    """Greys 0..255, any shape, to weights: 0..127 -> 0..1 and 128..255 -> 1..5, linear in each half."""
    grey = grey.float()
    below = (grey / (MID_GREY - 1)).clamp(0, 1)
    above = ((grey - MID_GREY) / (255 - MID_GREY)).clamp(0, 1)
    return below + (TOP_WEIGHT - 1) * above


def latent_weight(grey: Tensor, height: int, width: int, source: str = "The mask") -> Tensor:
    """Weights (1, height, width) of the latents' squared error: the mean weight of the pixels under each.

    `grey` is (H, W) in 0..255. Raises PictureError, with `source` as its subject, for a mask that is black everywhere.
    """
    weight = grey_to_weight(grey)  # (H, W)
    if weight.max() <= 0:
        raise PictureError(f"{source} is black everywhere and leaves nothing to learn; paint what matters in white.")
    return adaptive_avg_pool2d(weight[None], (height, width))  # (1, h, w)
