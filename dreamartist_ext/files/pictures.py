"""What is learned from: pictures with their masks and captions, framed as the settings say."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..engine.attention_mask import grey_to_weight, weight_to_grey
from ..engine.colours import WHITE, Colour, parse_colour
from ..engine.config import TrainConfig
from ..engine.errors import PictureError
from ..engine.framing import Framing, Views
from ..engine.pictures import TrainingPicture
from .picture_files import (
    MASK_SUFFIX,
    NEUTRAL,
    caption_for,
    caption_of,
    check_file,
    find_mask,
    load_picture,
    load_with_alpha,
    shown_name,
    to_pixels,
)

__all__ = ["MASK_SUFFIX", "caption_for", "find_mask", "load_picture", "to_pixels"]

Captions = Callable[[Path], str]


@dataclass(frozen=True, eq=False)
class PictureView:
    """One view of a picture file, read whenever it is needed: a thousand of them take no memory."""

    path: Path
    mask: Path | None
    framing: Framing
    whole: Framing  # takes the place of a framing that misses all that is painted
    caption: str = ""
    background: Colour = WHITE
    alpha_as_mask: bool = False

    @property
    def source(self) -> str:
        return self.path.name

    def read(self) -> tuple[Tensor, Tensor | None]:
        """See `Shown.read`; raises PictureError as `load_picture` and `framed_mask` do."""
        picture, alpha = load_with_alpha(self.path, self.background)
        greys = self._greys(self.framing, picture.size, alpha)
        misses = self.framing is not self.whole and greys is not None and not greys.any()
        framing = self.whole if misses else self.framing
        if misses:
            greys = self._greys(framing, picture.size, alpha)
        return to_pixels(framing.show(picture, Image.Resampling.LANCZOS, self.background)), greys

    def _greys(self, framing: Framing, size: tuple[int, int], alpha: Image.Image | None) -> Tensor | None:
        """The painted mask, fainter where the picture is transparent, and black beyond the picture."""
        greys = None if self.mask is None else framed_mask(self.mask, framing, size)
        if alpha is not None and self.alpha_as_mask:
            greys = fainter(greys, framed_greys(alpha, framing) / 255)
        if greys is None and framing.reaches_beyond(size):
            greys = framed_greys(Image.new("L", size, NEUTRAL[0]), framing)
        return greys


def load_mask(path: Path, width: int, height: int, picture_size: tuple[int, int] | None = None) -> Tensor:
    """Return a mask as greys (height, width) in 0..255, cropped as `load_pictures` crops.

    Raises PictureError as `framed_mask` does.
    """
    size = load_picture(path, NEUTRAL).size if picture_size is None else picture_size
    return framed_mask(path, Views(width, height).of(size, 0)[0], size)


def framed_mask(path: Path, framing: Framing, picture_size: tuple[int, int]) -> Tensor:
    """Return a mask as greys (H, W) in 0..255, framed as its picture; what is transparent in it counts as mid-grey.

    Raises PictureError as `load_picture` does, and if the mask's proportions differ from those of `picture_size`
    (width, height): it would then not cover what it was painted on.
    """
    mask = load_picture(path, NEUTRAL)
    if abs(mask.width * picture_size[1] / (mask.height * picture_size[0]) - 1) > 0.02:
        raise PictureError(
            f"The mask {shown_name(path)} is {mask.width}x{mask.height} and its picture {picture_size[0]}x"
            f"{picture_size[1]}; give both the same proportions."
        )
    return framed_greys(mask.convert("L"), framing.scaled(picture_size, mask.size))


def framed_greys(mask: Image.Image, framing: Framing) -> Tensor:
    """A mask in mode L as greys (H, W) in 0..255, black beyond the picture."""
    # Lanczos would overshoot at painted edges.
    return torch.from_numpy(np.array(framing.show(mask, Image.Resampling.BILINEAR), dtype=np.float32))


def fainter(greys: Tensor | None, share: Tensor) -> Tensor:
    """Greys whose weights are this share of what they were; weight 1 where there is no mask."""
    return weight_to_grey(share if greys is None else grey_to_weight(greys) * share)


def picture_views(
    paths: Sequence[Path],
    views: Views,
    with_masks: bool = True,
    captions: Captions = caption_for,
    background: Colour = WHITE,
    alpha_as_mask: bool = False,
) -> list[PictureView]:
    """The first view of every picture in the order given, then the second of every picture, and so on.

    A file given twice is kept once, and a file that is another's mask is not taken for a picture. Every file is read
    once, to be sure of it. Raises PictureError when one cannot be used, or when there is none.
    """
    by_picture = []
    for index, (path, mask) in enumerate(distinct_pictures(paths)):
        framings = views.of(load_picture(path).size, index)
        common = (captions(path), background, alpha_as_mask)
        painted = mask if with_masks else None
        by_picture.append([PictureView(path, painted, framing, framings[0], *common) for framing in framings])
        by_picture[-1][0].read()
    return [view for nth in zip(*by_picture, strict=True) for view in nth]


def open_pictures(paths: Sequence[Path], config: TrainConfig, picture_size: int, unit: int = 64) -> list[PictureView]:
    """The pictures as the settings want them shown; see `picture_views`.

    `picture_size` is the side in pixels where the settings leave it to the model; the sides of buckets are multiples
    of `unit`.
    """
    views = Views(
        config.width or picture_size,
        config.height or picture_size,
        unit,
        config.fit,
        config.random_crop,
        config.mirror,
        config.views_of_each,
        config.seed,
    )
    about = (parse_colour(config.background), config.transparency_as_mask)
    return picture_views(paths, views, config.use_mask, captions_for(config), *about)


def captions_for(config: TrainConfig) -> Captions:
    """Where the captions come from: nowhere, if no template has a place for them."""
    if not config.has_filewords:
        return lambda path: ""
    return lambda path: caption_of(path, config.caption)


def distinct_pictures(paths: Sequence[Path]) -> list[tuple[Path, Path | None]]:
    """Every picture once, with its mask, and without the captions of others; raises PictureError when there is none."""
    distinct: dict[str, Path] = {}
    captions = {path.with_suffix(".txt") for path in paths if path.name and path.suffix != ".txt"}
    for path in paths:
        if path in captions:
            continue
        check_file(path)
        distinct.setdefault(os.path.realpath(path), path)
    masks = {path: find_mask(path) for path in distinct.values()}
    taken = {os.path.realpath(mask) for mask in masks.values() if mask}
    pictures = [(path, masks[path]) for key, path in distinct.items() if key not in taken]
    if not pictures:
        raise PictureError("There is no picture to learn from; choose at least one.")
    return pictures


def load_pictures(paths: Sequence[Path], width: int, height: int, with_masks: bool = True) -> list[TrainingPicture]:
    """Pictures with their masks and captions, cropped about their middle to width x height, all in memory.

    Raises PictureError as `picture_views` does.
    """
    views = picture_views(paths, Views(width, height), with_masks)
    return [TrainingPicture(*view.read(), view.caption, view.source) for view in views]
