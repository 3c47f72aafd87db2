"""`dreamartist doctor`: what is here, and what is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import rich_click as click

from .. import __version__
from ..engine.errors import first_line
from .failures import FAILURE
from .help import MODEL, command
from .options import embeddings_option
from .output import answer, json_option, printable, quiet_option, say, styled
from .paths import PATH, shown

_NEEDED = ("numpy", "Pillow", "einops", "safetensors", "diffusers", "transformers", "filelock", "tqdm")
# By the module that tells whether it is there: our extra that brings it, and for what.
_OPTIONAL = {
    "gradio": ("serve", "the page of dreamartist serve"),
    "ray": ("many", "train-many on several cores or machines"),
    "accelerate": ("accelerate", "train --processes"),
    "efficientnet_lite_pytorch": ("evaluation", "dreamartist evaluate"),
    "open_clip": ("clip", "evaluate --clip"),
}
_OK, _WARN, _BAD = "ok", "missing", "wrong"
_COLOURS = {_OK: "green", _WARN: "yellow", _BAD: "red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: state is "ok", "missing" (something optional) or "wrong" (nothing works so)."""

    what: str
    state: str
    says: str
    fix: str = ""


@command("doctor", "doctor --model ~/models/sd15.safetensors", "doctor --json")
@click.option("--model", type=PATH, panel=MODEL, help="Check this model.  [default: the embedded model]")
@embeddings_option
@json_option
@quiet_option
@click.pass_context
def doctor(ctx: click.Context, model: Path | None, embeddings: Path) -> None:
    """Check Python, torch, the device, a model, the folder and the packages, and say what to do."""
    findings = [
        Finding("dreamartist", _OK, __version__),
        Finding("python", _OK, f"{platform.python_version()} on {platform.platform(terse=True)} ({sys.executable})"),
        *_torch(),
        _model(model),
        _folder(embeddings),
        *_packages(),
    ]
    width = max(len(finding.what) for finding in findings) + 2
    for finding in findings:
        mark = styled(finding.state.ljust(8), fg=_COLOURS[finding.state])
        say(f"{finding.what.ljust(width)}{printable(finding.says)}", mark)
        if finding.fix:
            say(f"{'':{width + 8}}{finding.fix}")
    is_well = all(finding.state != _BAD for finding in findings)
    answer({"is_well": is_well, "findings": [asdict(finding) for finding in findings]})
    if not is_well:
        ctx.exit(FAILURE)


def _torch() -> list[Finding]:
    """torch, and the device that `auto` takes; a torch that is broken raises nearly anything when it is imported."""
    try:
        import torch

        found = [Finding("torch", _OK, torch.__version__)]
    except Exception as error:
        state = "is not installed" if isinstance(error, ModuleNotFoundError) else "cannot be loaded"
        return [Finding("torch", _BAD, f"{state}: {first_line(error)}", 'pip install --force-reinstall "torch>=2.1"')]
    try:
        return [*found, _device(torch)]
    except Exception as error:
        return [*found, Finding("device", _BAD, f"cannot be used: {first_line(error)}", "try --device cpu")]


def _device(torch: Any) -> Finding:
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        says = f"cuda: {torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    else:
        kind = "mps" if torch.backends.mps.is_available() else "cpu"
        says = f"{kind}: {os.cpu_count()} cores, {_memory()}; no NVIDIA GPU that this torch can use"
    torch.zeros(1, device=says.partition(":")[0]).add(1)
    return Finding("device", _OK, says)


def _memory() -> str:
    try:
        pages = {name: os.sysconf(name) for name in ("SC_PAGE_SIZE", "SC_PHYS_PAGES", "SC_AVPHYS_PAGES")}
    except (AttributeError, OSError, ValueError):  # Windows; or not said there
        return "memory unknown"
    size = pages["SC_PAGE_SIZE"] / 2**30
    return f"{pages['SC_AVPHYS_PAGES'] * size:.1f} of {pages['SC_PHYS_PAGES'] * size:.1f} GiB free"


def _model(model: Path | None) -> Finding:
    path = model or Path(__file__).parents[1] / "assets" / "model"
    called = "the embedded model" if model is None else shown(path)
    if not path.exists():
        return Finding("model", _BAD, f"there is nothing at {called}", "choose a folder or a file with --model")
    try:
        return Finding("model", _OK, f"{called}: {_family(path)}")
    except Exception as error:
        return Finding("model", _BAD, f"{called}: {first_line(error)}", "choose another with --model")


def _family(path: Path) -> str:
    """By the width of what the U-Net hears from the text encoder: needs no torch for a folder."""
    if path.is_dir():
        width = json.loads((path / "unet" / "config.json").read_text(encoding="utf-8"))["cross_attention_dim"]
    else:
        width = _width_in_file(path)
    return {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}.get(
        width, f"a Stable Diffusion of its own kind, {width} wide"
    )


def _width_in_file(path: Path) -> int:
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        raise ValueError("only .safetensors files are looked into here; train says what it is")
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    xl_key = key.replace("blocks.1.1", "blocks.4.1")
    with safe_open(path, framework="numpy") as file:
        names = set(file.keys())
        found = next((name for name in (key, xl_key) if name in names), None)
        if found is None:
            raise ValueError("it is no Stable Diffusion 1, 2 or XL checkpoint")
        return file.get_slice(found).get_shape()[1]


def _folder(embeddings: Path) -> Finding:
    from ..files.atomic import write_atomically

    place = next(folder for folder in (embeddings, *embeddings.absolute().parents) if folder.exists())
    probe = place / ".dreamartist.probe"
    try:
        write_atomically(probe, b"")
        probe.unlink()
    except Exception as error:
        return Finding("embeddings", _BAD, first_line(error), "choose another folder with --embeddings")
    state = "can be written" if place == embeddings else "will be made by the first training"
    return Finding("embeddings", _OK, f"{shown(embeddings)} {state}")


def _packages() -> list[Finding]:
    found = []
    for name in _NEEDED:
        version = _version(name)
        if version:
            found.append(Finding(name, _OK, version))
        else:
            found.append(Finding(name, _BAD, "is not installed", 'pip install "dreamartist[standalone]"'))
    for module, (extra, purpose) in _OPTIONAL.items():
        if importlib.util.find_spec(module) is not None:
            found.append(Finding(module, _OK, f"for {purpose}"))
        else:
            found.append(Finding(module, _WARN, f"for {purpose}", f'pip install "dreamartist[{extra}]"'))
    return found


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
