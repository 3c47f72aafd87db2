"""From a path to a model: a folder in diffusers' layout, a single-file checkpoint, or the embedded model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from ...engine.errors import ModelError, first_line
from ..families import V_MARK, ZERO_SNR_MARK, check_folder, check_tensors
from .components import Components
from .host import DiffusersHost
from .single_file import names_its_tokenizer, to_diffusers

EMBEDDED_MODEL = Path(__file__).parents[2] / "assets" / "model"
_LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    SafetensorError,
    ArithmeticError,
)
CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt")


def load_host(
    model: Path | None = None, device: str = "auto", precision: str = "auto", clip_skip: int = 1
) -> DiffusersHost:
    """Load a model for training and drawing; raises ModelError in one sentence.

    model: None for the embedded one. device: "auto", "cpu", "cuda" or "mps". precision: "auto", "fp32", "bf16", "fp16".
    clip_skip: how many layers from the end the text encoder is read, as in the WebUI; 1 leaves none out.
    """
    where = choose_device(device)
    path = EMBEDDED_MODEL if model is None else model
    try:
        path = path.resolve(strict=True)
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        raise ModelError(f"there is no model at {str(model)[:200]}.") from error
    if is_folder:
        parts = _load_folder(path, path.name)
    elif path.suffix in CHECKPOINT_SUFFIXES:
        parts = replace(_load_single_file(path), file=path)
    else:
        raise ModelError(
            f"{path.name} is not a model: give a folder in diffusers' layout, or a .safetensors or .ckpt file."
        )
    try:
        return DiffusersHost(parts, where, choose_precision(precision, where), clip_skip)
    except _LOADING_ERRORS as error:
        raise ModelError(f"the model {parts.name} cannot be used: {_sentence(error)}") from error


def training_defaults(model: Path | None = None) -> dict[str, Any]:
    """The settings that a model folder recommends in its training_defaults.json: the embedded model's is in there."""
    try:
        values = json.loads(((model or EMBEDDED_MODEL) / "training_defaults.json").read_text(encoding="utf-8"))
    except OSError:  # no recommendation
        return {}
    except (ValueError, RecursionError) as error:
        raise ModelError(f"training_defaults.json of the model is not JSON: {error}.") from error
    return values if isinstance(values, dict) else {}


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU if there is one."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted != "auto" and not there[wanted]:
        raise ModelError(f"there is no device {wanted} here that torch can use.")
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 where the device computes in it, which is several times faster, and else fp32."""
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device)[0] >= 8  # older cards only emulate it
    else:
        fast = device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.bfloat16 if fast else torch.float32


def quiet_libraries() -> None:
    """No progress bars of the libraries' own while a model loads, and only their errors."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()


def _load_folder(folder: Path, name: str) -> Components:
    is_sdxl = _check_family(folder, name)
    try:
        parts = Components(
            unet=_complete(UNet2DConditionModel, folder, "unet"),
            vae=_complete(AutoencoderKL, folder, "vae"),
            text_encoder=_complete(CLIPTextModel, folder, "text_encoder"),
            tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True),
            scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True),
            name=name,
        )
        if is_sdxl:
            parts = replace(
                parts,
                text_encoder_2=_complete(CLIPTextModelWithProjection, folder, "text_encoder_2"),
                tokenizer_2=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer_2", local_files_only=True),
            )
        _check_tokenizers(parts)
    except _LOADING_ERRORS as error:
        raise ModelError(f"the model {name} is incomplete or damaged: {_sentence(error)}") from error
    return parts


def _complete(kind: Any, folder: Path, part: str) -> Any:
    """Load one part; the libraries would fill what its file lacks with random numbers."""
    loaded, report = kind.from_pretrained(folder, subfolder=part, local_files_only=True, output_loading_info=True)
    lacking = [name for name in report["missing_keys"] if not name.endswith("position_ids")]
    lacking += [str(entry) for entry in report.get("mismatched_keys", ())]
    if lacking:
        raise ModelError(f"the model {folder.name} is incomplete: its {part} lacks {sorted(lacking)[0]}.")
    return loaded


def _check_tokenizers(parts: Components) -> None:
    for tokenizer, encoder in ((parts.tokenizer, parts.text_encoder), (parts.tokenizer_2, parts.text_encoder_2)):
        if tokenizer is None or encoder is None:
            continue
        ids = tokenizer("a photo of a cat", add_special_tokens=False).input_ids
        rows = encoder.get_input_embeddings().weight.shape[0]
        if len(set(ids)) < 4 or max(ids) >= rows:
            raise ModelError(f"the tokenizer of the model {parts.name} does not fit its text encoder.")


def _load_single_file(path: Path) -> Components:
    """With the YAML beside it, if that names a folder with tokenizer and text configuration, as our converter writes
    it; otherwise as diffusers recognises it (what it then lacks comes from the hub or from its cache)."""
    config = path.with_suffix(".yaml")
    options: dict[str, Any] = {"original_config": str(config)} if config.exists() else {}
    if path.suffix == ".safetensors" and options and names_its_tokenizer(path):
        with tempfile.TemporaryDirectory(prefix="dreamartist-") as folder:
            to_diffusers(path, Path(folder))
            return _load_folder(Path(folder), path.stem)
    shapes = _shapes(path) if path.suffix == ".safetensors" else {}
    if shapes:
        check_tensors(shapes, path.name)
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline  # slow to import, and seldom needed

    is_sdxl = any(name.startswith("conditioner.") for name in shapes)
    kind = StableDiffusionXLPipeline if is_sdxl else StableDiffusionPipeline
    options |= {} if is_sdxl else {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipeline = kind.from_single_file(str(path), **options)
    except _LOADING_ERRORS as error:
        if _is_offline(error):
            raise ModelError(
                f"{path.name} contains no tokenizer and configuration, and this machine can neither find nor download "
                "them; connect to the internet once, or give the model as a folder in diffusers' layout."
            ) from error
        raise ModelError(f"the checkpoint {path.name} could not be loaded: {_sentence(error)}") from error
    return Components(
        pipeline.unet,
        pipeline.vae,
        pipeline.text_encoder,
        pipeline.tokenizer,
        DDIMScheduler.from_config(pipeline.scheduler.config, **_schedule_marks(shapes)),
        path.stem,
        getattr(pipeline, "text_encoder_2", None),
        getattr(pipeline, "tokenizer_2", None),
    )


def _is_offline(error: BaseException | None) -> bool:
    """Whether what could not be fetched is behind an error; the libraries have many kinds of it."""
    while error is not None:
        if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The tensors' shapes by name, from the file's header; raises ModelError for a damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the checkpoint {path.name} could not be loaded: {_sentence(error)}") from error


def _schedule_marks(names: Iterable[str]) -> dict[str, Any]:
    """That the model predicts v, and that its last step is pure noise, where its marks say so."""
    marks: dict[str, Any] = {"prediction_type": "v_prediction"} if V_MARK in names else {}
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return marks | (zero if ZERO_SNR_MARK in names else {})


def _sentence(error: Exception) -> str:
    line = first_line(error)
    return line if line.endswith(".") else line + "."


def _check_family(folder: Path, name: str) -> bool:
    """Refuse what cannot be trained before anything large is read; whether it is an SDXL model."""
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        has_unet = isinstance(index, dict) and "unet" in index
        unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8")) if has_unet else {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{name} is not a Stable Diffusion folder in diffusers' layout.") from error
    if not isinstance(index, dict) or not isinstance(unet, dict):
        raise ModelError(f"{name} is not a Stable Diffusion folder in diffusers' layout.")
    check_folder(index, unet, name)
    return "text_encoder_2" in index
