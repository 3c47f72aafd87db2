"""The pictures of a training: as they are given, and as copies beside its snapshots, so that it can go on later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...engine.config import TrainConfig
from ...engine.errors import PictureError
from ...files.only_one import LOCK
from ...files.picture_files import (
    MASK_SUFFIX,
    caption_of,
    find_caption,
    find_mask,
    kept_stem,
    load_picture,
    named_caption,
    read_caption,
    shown_name,
)
from ...files.run import RunFiles

KEPT, STAGED = "pictures", "pictures.new"  # folders beside the snapshots


@dataclass(frozen=True)
class GivenPicture:
    """A picture with its mask and caption, which a browser's upload puts into folders of their own."""

    path: Path
    mask: Path | None
    caption: Path | None

    def check(self, config: TrainConfig) -> None:
        """Raises PictureError for a picture or mask that cannot be used, or a caption that is needed and missing."""
        for path in filter(None, (self.path, self.mask)):
            load_picture(path)
        if config.has_filewords:
            read_caption(self.caption) if self.caption else caption_of(self.path, config.caption)

    def copy(self, folder: Path, stem: str, config: TrainConfig) -> Path:
        """Copy all of it under another name; a caption that only the old name told is written down."""
        copied = folder / f"{stem}{self.path.suffix}"
        shutil.copyfile(self.path, copied)
        if self.mask:
            shutil.copyfile(self.mask, folder / f"{stem}{MASK_SUFFIX}{self.mask.suffix}")
        if self.caption:
            shutil.copyfile(self.caption, copied.with_suffix(".txt"))
        elif config.has_filewords and not config.caption:
            copied.with_suffix(".txt").write_text(named_caption(self.path), encoding="utf-8")
        return copied


def given_pictures(paths: Sequence[Path]) -> list[GivenPicture]:
    """The pictures among these files, in order, each with the mask `NAME_att` and the caption `NAME.txt` that are given
    or lie beside it; raises PictureError for a caption without a picture."""
    captions = {path.stem: path for path in paths if path.suffix.lower() == ".txt"}
    shown = [path for path in paths if path not in captions.values()]
    stems = {path.stem for path in shown}
    masks = {path.stem.removesuffix(MASK_SUFFIX): path for path in shown if path.stem.endswith(MASK_SUFFIX)}
    masks = {stem: mask for stem, mask in masks.items() if stem in stems}
    for stray in set(captions) - stems:
        raise PictureError(f"The caption {shown_name(captions[stray])} belongs to no picture; give it the name of one.")
    return [
        GivenPicture(path, masks.get(path.stem) or find_mask(path), captions.get(path.stem) or find_caption(path))
        for path in shown
        if path not in masks.values()
    ]


def keep_pictures(files: RunFiles, pictures: Sequence[GivenPicture], config: TrainConfig) -> None:
    """Copy pictures, masks and captions beside the snapshots, so that a later continuation finds them."""
    folder = files.folder / STAGED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, start=1):
        picture.copy(folder, f"{number:03d}-{kept_stem(picture.path.name)}", config)


def adopt_pictures(files: RunFiles) -> None:
    """The new training's pictures take the place of an earlier one's, whose steps are forgotten now as well."""
    kept = files.folder / KEPT
    shutil.rmtree(kept, ignore_errors=True)
    (files.folder / STAGED).rename(kept)


def forget_start(files: RunFiles) -> None:
    """A training that failed before its first step leaves nothing; what an earlier one of that name left stays."""
    shutil.rmtree(files.folder / STAGED, ignore_errors=True)
    if files.folder.is_dir() and {path.name for path in files.folder.iterdir()} <= {LOCK}:
        shutil.rmtree(files.folder, ignore_errors=True)
        with suppress(OSError):  # other trainings are in it
            files.folder.parent.rmdir()


def kept_pictures(files: RunFiles, folder_name: str = KEPT) -> list[Path]:
    """In the order in which they were given, without masks and captions."""
    folder = files.folder / folder_name
    found = [p for p in sorted(folder.glob("*")) if p.suffix != ".txt"] if folder.is_dir() else []
    masks = {find_mask(path) for path in found}
    return [path for path in found if path not in masks]
