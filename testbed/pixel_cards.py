"""Pictures with an embedding in their pixels, as AUTOMATIC1111 v1.10.1 writes them (its image_embedding.py).

Without its pattern of dots: those lie in the upper four bits, which nobody reads.
"""

from __future__ import annotations

import io
import itertools
import json
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

HEIGHT = 96


def noise() -> Iterator[int]:
    """One number after the other, as it is defined."""
    number = 0
    while True:
        number = (1664525 * number + 1013904223) % 2**32
        yield number % 255 & 15


def block(halves: np.ndarray, height: int) -> np.ndarray:
    """Numbers below 16 as colours (H, W, 3): repeated to whole columns, under the noise, and never black."""
    size = -(-len(halves) // (height * 3)) * height * 3
    numbers = np.resize(halves, size) ^ np.fromiter(itertools.islice(noise(), size), dtype=np.uint8)
    return (numbers | 0x40).reshape(height, -1, 3)


def pixel_card(content: object, shown: np.ndarray | None = None, pad: int = 0) -> Image.Image:
    """`content`: bytes, or what becomes JSON. `shown`: the picture (H, W, 3). `pad`: a black edge around all."""
    middle = np.full((HEIGHT, 40, 3), 200, dtype=np.uint8) if shown is None else shown
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    packed = np.frombuffer(zlib.compress(text, 9), dtype=np.uint8)
    column = np.zeros((len(middle), 1, 3), dtype=np.uint8)
    parts = block(packed & 15, len(middle)), column, middle, column, block(packed >> 4, len(middle))
    return Image.fromarray(np.pad(np.concatenate(parts, axis=1), ((pad, pad), (pad, pad), (0, 0))))


def saved(picture: Image.Image, form: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **how)
    return buffer.getvalue()
