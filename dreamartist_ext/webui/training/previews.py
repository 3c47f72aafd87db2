"""Pictures of a training under way: the same words and seeds at every check."""

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
from .preview_plan import USUAL, PreviewPlan

logger = logging.getLogger(__name__)

PREVIEW_STEPS = 20
PREVIEW_GUIDANCE = 5.0
PREVIEW_SIDE = 192  # pixels, at most: every page that looks gets all of them
KEPT_PREVIEWS = 12  # rows, and the best


def add_preview(job: Job, training: Training) -> None:
    """A preview that fails, for want of memory say, costs no training: it goes on without.

    Where none are wanted, one picture is drawn, for My concepts.
    """
    try:
        with training.kept_bound():
            row = draw_row(training, job.plan) if job.previews_wanted else None
            first = PreviewPlan(job.plan.prompts[:1], job.plan.seeds[:1])
            with_negative = training.pair.negative is not None
            picture = row.large if row else png_bytes(draw_some(training, with_negative, first)[0])
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


def draw_row(training: Training, plan: PreviewPlan = USUAL) -> PreviewRow:
    """Pictures of the training as it is, one at a time; call it where the training's session is open."""
    alone = draw_some(training, False, plan)
    pair = draw_some(training, True, plan) if training.pair.negative else alone
    captions, small = plan.captions(training.config.name), tuple(map(small_png, pair))
    return PreviewRow(training.step, small, tuple(map(small_png, alone)), png_bytes(pair[0]), captions)


def draw_some(training: Training, with_negative: bool, plan: PreviewPlan) -> tuple[Image.Image, ...]:
    """Every picture of the plan."""
    encoded, name = training.encoded(), training.config.name
    shape = (encoded.latents([0]).shape[1], *encoded.sizes[0])
    negative = negative_name(name) if with_negative else ""
    return tuple(
        preview.draw(training.host, [prompt], [negative], [seed], shape, PREVIEW_STEPS, PREVIEW_GUIDANCE)[0]
        for prompt, seed in plan.pictures(name)
    )


def small_png(picture: Image.Image) -> bytes:
    small = picture.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return png_bytes(small)


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
