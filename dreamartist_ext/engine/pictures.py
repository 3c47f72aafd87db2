"""A picture to learn from, as the training sees it, and a fingerprint of all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Shown(Protocol):
    """A picture to learn from, as the training sees it."""

    @property
    def caption(self) -> str: ...

    @property
    def source(self) -> str:
        """The file's name."""

    def read(self) -> tuple[Tensor, Tensor | None]:
        """Pixels (3, H, W) in [-1, 1], and mask greys (H, W) in 0..255 or None."""


@dataclass(frozen=True, eq=False)
class TrainingPicture:
    """`pixels` (3, H, W) in [-1, 1]; `mask` (H, W) greys in 0..255 or None; `source` is the file's name."""

    pixels: Tensor
    mask: Tensor | None
    caption: str
    source: str

    def read(self) -> tuple[Tensor, Tensor | None]:
        return self.pixels, self.mask


class Fingerprint:
    """A SHA-256 over pixels, masks and captions, in order: it changes when any of them does."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, pixels: Tensor, mask: Tensor | None, caption: str) -> None:
        for values in (pixels, mask):
            self._digest.update(f"{None if values is None else tuple(values.shape)};".encode())
            if values is not None:
                self._digest.update(values.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())
        text = caption.encode("utf-8")
        self._digest.update(f"{len(text)};".encode() + text)

    def hex(self) -> str:
        return self._digest.hexdigest()


def fingerprint(pictures: Sequence[Shown]) -> str:
    """The `Fingerprint` of all of them, read anew."""
    digest = Fingerprint()
    for picture in pictures:
        digest.add(*picture.read(), picture.caption)
    return digest.hex()
