"""A wider text encoder that says exactly the same: the start of an inhabited word space.

Net2Net (arXiv 1511.05641): every feature is there twice, [x, x], and what reads it halves its weights. The norm of a
doubled vector is the doubled norm, and twice as many heads of the same width attend as before. So every prompt keeps
its meaning, while a vector gets a half in which no word has ever said anything: the difference of its two copies. The
encoder's layers do not see that difference and hand it through. `straight` lets the U-Net read it: a learned word then
has a way to the cross-attention that known words leave alone.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

TEXT_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "projection_dim")
READERS = ("attn2.to_k.weight", "attn2.to_v.weight")


def widened_text_encoder(text: CLIPTextModel) -> CLIPTextModel:
    """The same encoder with every width doubled; its output is [x, x] where the given one's is x."""
    config = text.config.to_dict()
    wide = CLIPTextModel(CLIPTextConfig(**{**config, **{name: 2 * config[name] for name in TEXT_SIZES}}))
    with torch.no_grad():
        for name, target in wide.state_dict().items():
            source = text.state_dict()[name]
            if source.shape != target.shape:
                target.copy_(_doubled(source, table="embedding" in name))
    return wide


def _doubled(weight: Tensor, table: bool) -> Tensor:
    """(n,) -> (2 n,); a table's (rows, n) -> (rows, 2 n); a linear layer's (m, n) -> (2 m, 2 n)"""
    if weight.dim() == 1:
        return weight.repeat(2)
    return weight.repeat(1, 2) if table else weight.repeat(2, 2) / 2


def widened_unet(unet: UNet2DConditionModel, straight: float = 0.0) -> UNet2DConditionModel:
    """The same U-Net on an encoder of double width; `straight` is how loudly it reads the difference of the copies.

    K (a + b) / 2 + straight K (a - b): with a = b, as every known word has it, the second part is nothing.
    """
    config = dict(unet.config) | {"cross_attention_dim": 2 * unet.config.cross_attention_dim}
    wide = UNet2DConditionModel.from_config(config)
    with torch.no_grad():
        for name, target in wide.state_dict().items():
            source = unet.state_dict()[name]
            if name.endswith(READERS):
                source = torch.cat([source * (0.5 + straight), source * (0.5 - straight)], 1)
            target.copy_(source)
    return wide
