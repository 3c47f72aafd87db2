"""What a painted mask weighs, and what becomes of it when it spreads: pictures to look at before training."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ...engine.attention_mask import TOP_WEIGHT
from ...engine.config import TrainConfig
from ...engine.errors import PictureError
from ...engine.latents import EncodedPictures
from ...files.pictures import PictureView, open_pictures
from ..workplace import TrainingHost
from .job import new_task
from .jobs import Desk
from .kept_pictures import given_pictures

ACCENT = (0.95, 0.45, 0.05)  # of what counts more than usual
LEFT_OF_NOTHING = 0.15  # of the light of what does not count at all, so that it can be told what that is
MOST_ACCENT = 0.65


def mask_previews(desk: Desk, values: Mapping[str, Any], paths: Sequence[Path]) -> tuple[bytes, bytes]:
    """PNG files of the first picture that has a mask: as painted, and spread as `spread_mask` says, or all the way
    where that is off.

    Computed as a training does, in the model's turn. Raises PictureError where nothing is painted, and what a training
    would.
    """
    config = desk.config(values)
    desk.check_idle()
    painted = [picture for picture in given_pictures(paths) if picture.mask]
    if not painted:
        raise PictureError("nothing is painted yet; paint over what matters, or give a mask beside the picture.")
    painted[0].check(config)
    config = replace(config, use_mask=True, random_crop=0.0, mirror=False, spread_mask=config.spread_mask or 1.0)
    with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
        path = painted[0].copy(Path(folder), "picture", config)
        with desk.workplace.gpu(new_task()):
            host = desk.workplace.host()
            (view,) = open_pictures([path], config, host.picture_size, host.size_unit)
            return _weighed(host, replace(config, spread_mask=0.0), view), _weighed(host, config, view)


def _weighed(host: TrainingHost, config: TrainConfig, view: PictureView) -> bytes:
    with host.session():
        weights = EncodedPictures(host, config, [view]).weights([0])
    assert weights is not None
    buffer = io.BytesIO()
    shaded(view.read()[0], weights[0].cpu()).save(buffer, "PNG")
    return buffer.getvalue()


def shaded(pixels: Tensor, weight: Tensor) -> Image.Image:
    """pixels (3, H, W) in [-1, 1] and weights (1, h, w) in 0..5: dark where it counts less, orange where more."""
    wide = interpolate(weight[None].float(), pixels.shape[1:], mode="bilinear")[0]  # (1, H, W)
    light = LEFT_OF_NOTHING + (1 - LEFT_OF_NOTHING) * wide.clamp(max=1)
    share = MOST_ACCENT * ((wide - 1) / (TOP_WEIGHT - 1)).clamp(0, 1)
    shown = (pixels + 1) / 2 * light * (1 - share) + torch.tensor(ACCENT)[:, None, None] * share
    return Image.fromarray(np.uint8(shown.clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()))
