"""The noise schedule of AUTOMATIC1111's loaded model: what pictures are drawn with, and what the checkpoint says.

The WebUI (v1.10.1) reads no marks in a checkpoint: its settings alone decide. Its modules are imported inside
functions, so that this file can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ...engine.errors import ModelError
from ...engine.noise import NoiseSchedule, PredictionType
from ..families import V_MARK, ZERO_SNR_MARK, check_not_flux

NO_SIGNAL = 1e-6  # abar of a last step that is nothing but noise; the WebUI's own number for it is 4.9e-8


def tensor_names(path: Path) -> frozenset[str]:
    """Of a .safetensors file, from its header; nothing of another file, or of one that is gone."""
    if path.suffix != ".safetensors":
        return frozenset()
    try:
        with safe_open(path, framework="pt") as file:
            return frozenset(file.keys())
    except (OSError, SafetensorError):  # it is loaded, whatever has become of the file
        return frozenset()


def check_file(path: Path, model: Any) -> None:
    """Raises ModelError where the file says something else than the WebUI made of it: it loads what it does not know
    as Stable Diffusion 1, and reads no marks of v-prediction."""
    names = tensor_names(path)
    check_not_flux(names, path.name)
    if V_MARK in names and model.parameterization != "v":
        raise ModelError(
            f"{path.name} predicts v, but the WebUI takes its predictions for noise and draws noise with it; copy "
            f"sd_xl_base.yaml, from the WebUI's generative-models, beside it as {path.stem}.yaml, write VScaling there "
            "instead of EpsScaling, and load it again."
        )


def schedule_of(model: Any, device: torch.device, path: Path) -> NoiseSchedule:
    """What the WebUI draws pictures with; zero terminal SNR also where the checkpoint alone says so."""
    from modules import sd_models

    abar = _drawn_with(model)
    if is_marked(path) and not ends_in_noise(abar):
        abar = sd_models.rescale_zero_terminal_snr_abar(abar)
    kind = PredictionType.V if model.parameterization == "v" else PredictionType.EPSILON
    return NoiseSchedule(abar.to(device), kind)


def schedule_remark(model: Any, path: Path) -> str:
    """One sentence where pictures are drawn with another schedule than the checkpoint says, or nothing."""
    if not is_marked(path) or ends_in_noise(_drawn_with(model)):
        return ""
    return (
        f"{path.name} was made for zero terminal SNR, and that is how it is trained on; for pictures, set Settings > "
        'Sampler parameters > "Noise schedule for sampling" to Zero Terminal SNR.'
    )


def is_marked(path: Path) -> bool:
    return ZERO_SNR_MARK in tensor_names(path)


def ends_in_noise(abar: torch.Tensor) -> bool:
    return float(abar[-1]) < NO_SIGNAL


def _drawn_with(model: Any) -> torch.Tensor:
    """abar_t, (T,) float32, as it is put on the model before each picture: the settings may round it to half precision
    or take the signal from its last step."""
    from modules import sd_models

    with _own_schedule(model):
        sd_models.apply_alpha_schedule_override(model)
        return model.alphas_cumprod.detach().float().clone()


@contextmanager
def _own_schedule(model: Any) -> Iterator[None]:
    before = model.alphas_cumprod
    try:
        yield
    finally:
        model.alphas_cumprod = before
