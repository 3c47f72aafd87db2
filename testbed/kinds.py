"""The WebUIs that the table of cases runs in: where each lies, how it is started, and what it can load.

A new fork is a row here. None of them is part of this project; each is looked for where its variable says, or in the
home folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

EVERYWHERE = "--skip-torch-cuda-test --skip-prepare-environment --skip-install --skip-version-check"
ON_THE_CPU = "--use-cpu all --precision full --no-half --no-half-vae"
NO_DOWNLOADS = "--no-download-sd-model --do-not-download-clip"


@dataclass(frozen=True)
class Kind:
    """`marker` is pytest's; `checkpoint` is "embedded", our model, "folder", the same as the folder that it is, or
    "random", SD 1.5's layout with random weights."""

    name: str
    marker: str
    variable: str
    folder: str
    flags: str
    checkpoint: str = "embedded"

    @property
    def home(self) -> Path:
        return Path(os.environ.get(self.variable, Path.home() / self.folder))

    @property
    def arguments(self) -> list[str]:
        """Gradio 4 serves no file of Forge's own where its data are elsewhere, unless it is told to."""
        allowed = ["--gradio-allowed-path", str(self.home)] if self.marker == "forge" else []
        return [*self.flags.split(), *allowed]

    @property
    def python(self) -> str:
        return os.environ.get(self.variable.replace("_DIR", "_PYTHON"), str(self.home / "venv" / "bin" / "python"))

    @property
    def missing(self) -> str:
        """Why its tests are skipped, or nothing."""
        is_there = (self.home / "launch.py").is_file()
        return "" if is_there else f"no {self.name} at {self.home}; set {self.variable} to its folder"


A1111 = Kind(
    "AUTOMATIC1111 v1.10.1",
    "webui",
    "WEBUI_DIR",
    "stable-diffusion-webui",
    f"{EVERYWHERE} {ON_THE_CPU} {NO_DOWNLOADS} --disable-console-progressbars",
)
FORGE = Kind("Forge", "forge", "FORGE_DIR", "forge", f"{EVERYWHERE} --always-cpu")
REFORGE = Kind(
    "reForge", "reforge", "REFORGE_DIR", "reforge", f"{EVERYWHERE} {NO_DOWNLOADS} --always-cpu", checkpoint="random"
)
SDNEXT = Kind(
    "SD.Next",
    "sdnext",
    "SDNEXT_DIR",
    "sdnext",
    "--skip-all --skip-git --skip-requirements --skip-torch --use-cpu all --no-half --no-half-vae",
    checkpoint="folder",
)
KINDS = (A1111, FORGE, REFORGE)  # that come of AUTOMATIC1111's code; SD.Next has a part of their cases
