"""The embedded model, loaded when this is imported: for processes that are forked with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.hosts.diffusers.model_files import load_host

torch.set_num_threads(1)
HOST = load_host(None)
PICTURE = Path(__file__).parents[2] / "dreamartist_ext" / "assets" / "samples" / "teapot.png"


def trained_on_the_model(out: Path, settings: TrainConfig) -> RunFiles:
    """Train to the end, from the last snapshot if there is one."""
    files = RunFiles(out, settings.name)
    training = Training(HOST, settings, load_pictures([PICTURE], settings.width, settings.height))
    with suppress(FileError):
        training.restore(files.last_snapshot())
    for _ in run_to_files(training, files):
        pass
    return files
