"""A real WebUI to measure in: the embedded model for pictures, and a narrow Stable Diffusion 1 for trainings.

The original extension reads the U-Net's layers by their numbers, so it needs all four levels of Stable Diffusion.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL
from dreamartist_ext.hosts.diffusers.single_file import to_single_file
from testbed.model_folder import save_folder
from testbed.webui import WEBUI, RunningWebUI, make_data_folder, running

from .models import PICTURE
from .shapes import Shape, shaped

ORIGINAL = Path(os.environ.get("DREAMARTIST_ORIGINAL", Path.home() / "peers" / "DreamArtist-sd-webui-extension"))
SIDE = 256  # pixels, which the weights do not depend on
NO_WEBUI = f"there is no WebUI at {WEBUI.name} in the home folder; WEBUI_DIR says where else"
NO_ORIGINAL = "there is no checkout of the original extension; DREAMARTIST_ORIGINAL says where"


def has_webui() -> bool:
    return (WEBUI / "launch.py").is_file()


def has_original() -> bool:
    return (ORIGINAL / "scripts" / "dream_artist" / "cptuning.py").is_file()


def data_folder(folder: Path, with_extension: bool = True, shape: Shape | None = None) -> Path:
    """A WebUI's data folder; a model of this shape, with random weights, takes the place of the embedded one."""
    make_data_folder(folder)
    if not with_extension:
        (folder / "extensions" / "dreamartist").unlink()
    if shape is not None:
        checkpoint = folder / "models" / "Stable-diffusion" / "embedded.safetensors"
        model = save_folder(shaped(shape, "random weights", SIDE)("cpu", "fp32").parts, folder / "random")
        shutil.copytree(EMBEDDED_MODEL / "tokenizer", model / "tokenizer", dirs_exist_ok=True)
        for old in checkpoint.parent.glob("embedded*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        to_single_file(model, checkpoint)
    (folder / "picture").mkdir()
    shutil.copy(PICTURE, folder / "picture" / "teapot.png")
    scripts = folder / "extensions" / "dreamartist-bench" / "scripts"
    scripts.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("webui_probe.py"), scripts)
    return folder


@contextmanager
def webui(folder: Path, *flags: str) -> Iterator[RunningWebUI]:
    with running(folder, "--api", *flags) as started:
        yield started


def ask(started: RunningWebUI, function: str, **values: Any) -> Any:
    """Call a function of `webui_probe.py`; raises RuntimeError with what went wrong there."""
    answer = started.post(f"/dreamartist-bench/{function}", values, timeout=1800)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["result"]
