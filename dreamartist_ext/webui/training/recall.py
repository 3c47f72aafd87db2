"""Trainings as they lie on disk, for a page that was not there when they went on: after a reload or another day."""

from __future__ import annotations

import base64
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...engine.config import TrainConfig
from ...engine.embedding import pair_id
from ...engine.errors import DreamArtistError, FileError
from ...engine.snapshot import pair_of
from ...engine.stopping import is_over, lacks_check
from ...files.below import is_file
from ...files.concepts import thumbnails
from ...files.concepts.index import trainings
from ...files.picture_files import find_caption, find_mask, read_caption
from ...files.run import RunFiles
from ...files.storage import find_embedding, load_pair
from .job import Job, PreviewRow, Status
from .kept_pictures import KEPT, STAGED, kept_pictures
from .picture_tray import picture_item
from .preview_plan import kept_plan

SHOWN_STEPS = 24
SHOWN_PICTURES = 8


def trainings_in(embeddings: Path) -> list[str]:
    """Names of the trainings that left a snapshot, the newest first."""
    found = [path for name in trainings(embeddings) if is_file(path := RunFiles(embeddings, name).snapshot)]
    newest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in newest]


def recalled(files: RunFiles) -> Job | None:
    """The training of this name as it lies on disk, or None where there is none that can be read."""
    try:
        changed = files.snapshot.stat().st_mtime_ns
        used = used_step(files)
        return _recalled(files, changed, -1 if used is None else used)
    except (OSError, DreamArtistError):
        return None


@lru_cache(maxsize=8)
def _recalled(files: RunFiles, changed: int, used: int) -> Job:
    snapshot = files.last_snapshot()
    config = TrainConfig.from_json(snapshot.config)
    state = config, snapshot.step, snapshot.checks
    job = Job(config, files, step=snapshot.step, checks=tuple(snapshot.checks), notice=snapshot.notice)
    job.created = changed / 1e9
    job.best_step = files.best_step(snapshot.checks)
    job.is_recalled = True
    ended = is_over(*state) and not lacks_check(*state)
    if used >= 0:
        job.used_step, job.status = used, Status.DONE if ended else Status.STOPPED
        job.message = f"{config.name} is there: type {config.name} in a prompt."
        if not ended:
            job.message = f"{config.name} was stopped at step {snapshot.step} of {config.steps}, and kept."
    else:
        job.status = Status.PAUSED
        job.message = f"{config.name} is paused at step {snapshot.step} of {config.steps}."
    job.previews = _drawings(files)
    return job


def used_step(files: RunFiles) -> int | None:
    """The step on disk whose pair the embeddings folder has, or None where it has none of this training."""
    try:
        pair = load_pair(files.out, files.name)
    except DreamArtistError:
        return None
    return pair.step if pair.step and _is_own(files, pair_id(pair), pair.step) else None


def is_kept(files: RunFiles) -> bool:
    """Whether the training was stopped and its pair kept: a pair of it is in use, and nothing was learned since."""
    path = find_embedding(files.out, files.name)
    try:
        written = 0 if path is None else path.stat().st_mtime_ns
        return written >= files.snapshot.stat().st_mtime_ns and used_step(files) is not None
    except OSError:  # it goes at this moment
        return False


def _is_own(files: RunFiles, known: str, step: int) -> bool:
    """The last step need not be among those on disk to choose from: the snapshot has it."""
    if step in files.kept_steps():
        return pair_id(load_pair(files.folder, files.step_stem(step))) == known
    snapshot = files.last_snapshot()
    return snapshot.step == step and pair_id(pair_of(snapshot, files.name)) == known


def _drawings(files: RunFiles) -> tuple[PreviewRow, ...]:
    rows, captions = [], kept_plan(files).captions(files.name)
    for step in files.kept_steps()[-SHOWN_STEPS:]:
        picture = files.folder / f"{files.step_stem(step)}{thumbnails.SUFFIX}"
        if picture.is_file():
            rows.append(PreviewRow(step, (picture.read_bytes(),), (), captions=captions))
    return tuple(rows)


def pictures_html(job: Job) -> str:
    """What it is learned from, small."""
    shown, count = _small_pictures(job.files) if job.files else ([], 0)
    more = f"<span>and {count - SHOWN_PICTURES} more</span>" if count > SHOWN_PICTURES else ""
    codes = [base64.b64encode(small).decode() for small in shown]
    images = [f'<img src="data:image/jpeg;base64,{code}" alt="a picture that it is learned from">' for code in codes]
    return "".join(images) + more


def _small_pictures(files: RunFiles) -> tuple[list[bytes], int]:
    """The first SHOWN_PICTURES of them, small, and how many there are. At this moment they may be on their way into
    STAGED, or from there to KEPT."""
    for folder in (STAGED, KEPT):
        with suppress(OSError):
            paths = kept_pictures(files, folder)
            if small := [each for path in paths[:SHOWN_PICTURES] if (each := _small_or_nothing(path))]:
                return small, len(paths)
    return [], 0


def _small_or_nothing(path: Path) -> bytes:
    with suppress(OSError, FileError):
        return _small(path, path.stat().st_mtime_ns)
    return b""


def first_picture(job: Job) -> bytes:
    """The first picture that it is learned from, as a small JPEG file, or nothing."""
    paths = kept_pictures(job.files) if job.files else []
    return _small_or_nothing(paths[0]) if paths else b""


@lru_cache(maxsize=64)
def _small(path: Path, _changed: int) -> bytes:
    return thumbnails.small_jpeg(path.read_bytes())


def tray_of(files: RunFiles) -> list[dict[str, Any]]:
    """The pictures of a training, with masks and captions, for the form; raises FileError."""
    items = []
    try:
        for path in kept_pictures(files):
            caption = find_caption(path)
            items.append(picture_item(path, find_mask(path), read_caption(caption) if caption else ""))
    except OSError as error:
        raise FileError(f"the pictures of {files.name} could not be read: {error.strerror or error}.") from error
    return items
