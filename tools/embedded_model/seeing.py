"""A U-Net whose every level sees the text, and which draws exactly as before: a start for a training of the whole.

The first level, where details are, gets the blocks that Stable Diffusion's own first level has: attention to itself and
to the text. Their last layers begin at zero (as in ControlNet, arXiv 2302.05543), so that nothing changes at first.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel


def seeing_unet(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same U-Net with attention at every level; the given one itself where it has that already."""
    config = dict(unet.config)
    levels = len(config["block_out_channels"])
    config |= {
        "down_block_types": ("CrossAttnDownBlock2D",) * levels,
        "up_block_types": ("CrossAttnUpBlock2D",) * levels,
    }
    if tuple(unet.config.down_block_types) == config["down_block_types"]:
        return unet
    wide = UNet2DConditionModel.from_config(config)
    known = unet.state_dict()
    with torch.no_grad():
        for name, target in wide.state_dict().items():
            if name in known:
                target.copy_(known[name])
            elif ".proj_out." in name:
                target.zero_()
    return wide
