"""The evaluation's pictures, drawn on a host."""

from __future__ import annotations

from typing import Protocol

from ..hosts.artist import Artist, DrawingHost
from .pictures import Studio

AT_ONCE_PIXELS = 8 * 128 * 128  # of a batch; larger pictures are drawn one by one


class NamedHost(DrawingHost, Protocol):
    @property
    def name(self) -> str:
        """The model's."""


def studio_of(host: NamedHost) -> Studio:
    """Larger pictures are drawn fewer at once, so that they fit where a training fits."""
    artist = Artist(host)
    return Studio(
        lambda batch, on_step: artist(
            *(batch.prompts, batch.negative_prompts, batch.seeds, batch.guidance, batch.steps, batch.embeddings),
            *(batch.start, batch.strength, on_step),
        ),
        host.identity(),
        host.name,
        max(1, AT_ONCE_PIXELS // host.picture_size**2),
    )
