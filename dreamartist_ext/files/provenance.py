"""What the files of a pair say about where they came from: plain text by plain text.

Nothing in it names the user's picture, its folder or its caption, unless `name_pictures` is on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Protocol

from ..engine.family import family_of, widths_of
from ..engine.trainer import Training


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def checkpoint_hash(self) -> str: ...


def about_model(host: _Named, version: str) -> dict[str, str]:
    """The model's name and hash, and the version of this program."""
    return {"model": host.name, "model_hash": host.checkpoint_hash, "version": version}


def provenance_of(training: Training, given: Mapping[str, str]) -> dict[str, str]:
    """Settings, family, and the day on which the training began: the same after it is resumed on another day."""
    about = {"settings": training.config.published(), "family": family_of(widths_of(training.pair.positive))}
    if training.config.name_pictures:
        about["pictures"] = "; ".join(picture.source for picture in training.pictures)
        about["captions"] = "; ".join(picture.caption for picture in training.pictures if picture.caption)
    return {**about, "made": today(), **given, **_begun(training)}


def _begun(training: Training) -> dict[str, str]:
    return {key: value for key, value in training.pair.provenance.items() if key == "made" and training.step}


def today() -> str:
    """The day (UTC), as 2026-11-24; SOURCE_DATE_EPOCH (reproducible-builds.org) takes its place where it is set."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(given), timezone.utc) if given.isdecimal() else datetime.now(timezone.utc)
    return now.date().isoformat()
