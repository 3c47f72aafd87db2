"""Weights that lie in half precision already, for what autocast would make anew of them in every pass."""

from __future__ import annotations

import torch
from torch import nn

# What autocast multiplies in half precision. Everything else (norms, vocabularies) it computes in fp32 or only looks
# up, so that a model treated so comes to the same bits as one that lies in fp32.
MULTIPLIED = (nn.Linear, nn.Conv1d, nn.Conv2d)


def halved(model: nn.Module, kind: torch.dtype) -> None:
    """Put the weights of all linear and convolutional layers into `kind`; the model is then for autocast to it only."""
    for module in model.modules():
        if isinstance(module, MULTIPLIED):
            module.to(kind)


def computes_in(device: torch.device, precision: torch.dtype) -> bool:
    """Whether weights and text encoder follow the precision: on a GPU, where casts and fp32 cost a large part of a
    step and of a small card's memory. On a CPU the text encoder stays in fp32, as trainings there have always been."""
    return device.type == "cuda" and precision is not torch.float32
