"""Pictures of a training under way: the same words and seeds at every snapshot."""

from __future__ import annotations

import io
import logging

from PIL import Image

from ...engine import preview
from ...engine.errors import FileError
from ...engine.names import negative_name
from ...engine.trainer import Training
from ...files.concepts import thumbnails
from .job import Job, PreviewRow

logger = logging.getLogger(__name__)

PREVIEW_STEPS = 20
PREVIEW_GUIDANCE = 5.0
PREVIEW_SEEDS = (1, 2, 3)
PREVIEW_SIDE = 192  # pixels, at most: every page that looks gets all of them
KEPT_PREVIEWS = 12  # rows, and the best


def add_preview(job: Job, training: Training) -> None:
    """A preview that fails, for want of memory say, costs no training: it goes on without.

    Where none are wanted, one picture is drawn, for My concepts.
    """
    try:
        with training.kept_bound():
            row = draw_row(training) if job.previews_wanted else None
            picture = row.large if row else png_bytes(draw_some(training, training.pair.negative is not None, 1)[0])
        thumbnails.keep_step(job.files, job.step, picture)
    except (RuntimeError, MemoryError, FileError) as error:
        logger.warning("no more previews of %s: %s", job.name, error)
        job.previews_wanted = False
        return
    if row is None:
        return
    rows = (*job.previews, row)
    best = [row for row in rows[:-KEPT_PREVIEWS] if row.step == job.best_step]
    job.previews = (*best, *rows[-KEPT_PREVIEWS:])


def draw_row(training: Training) -> PreviewRow:
    """Pictures of the training as it is, one at a time; call it where the training's session is open."""
    count = len(PREVIEW_SEEDS)
    alone = draw_some(training, False, count)
    pair = draw_some(training, True, count) if training.pair.negative else alone
    large = png_bytes(pair[0])
    return PreviewRow(training.step, tuple(map(small_png, pair)), tuple(map(small_png, alone)), large)


def draw_some(training: Training, with_negative: bool, count: int) -> tuple[Image.Image, ...]:
    """Pictures of the word, of the first `count` seeds."""
    encoded, name = training.encoded(), training.config.name
    shape = (encoded.latents([0]).shape[1], *encoded.sizes[0])
    negative = negative_name(name) if with_negative else ""
    return tuple(
        preview.draw(training.host, [name], [negative], [seed], shape, PREVIEW_STEPS, PREVIEW_GUIDANCE)[0]
        for seed in PREVIEW_SEEDS[:count]
    )


def small_png(picture: Image.Image) -> bytes:
    small = picture.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return png_bytes(small)


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
