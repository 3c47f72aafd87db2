"""CLIP, from weights that are on this machine already."""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ..engine.errors import FileError, ModelError, SettingError

DEFAULT_MODEL = "ViT-L-14-quickgelu"  # OpenAI's ViT-L-14.pt, which the WebUI keeps in models/CLIP for its interrogator
BATCH = 16
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipNet:
    """CLIP (arXiv 2103.00020) by open_clip. Pictures and texts come out as directions that can be compared."""

    def __init__(self, weights: Path, model: str = DEFAULT_MODEL) -> None:
        """Raises SettingError without open_clip or for an unknown model, FileError or ModelError for weights that are
        missing or another model's. Nothing is ever fetched."""
        try:
            import open_clip
        except ImportError as error:
            raise SettingError(
                "CLIP needs the package open_clip_torch, which is not installed.", "open_clip"
            ) from error
        about = open_clip.get_model_config(model)
        if about is None or "hf_tokenizer_name" in about.get("text_cfg", {}):
            raise SettingError(f"{model[:80]} is not a CLIP model that open_clip makes without fetching something.")
        tensors = read_weights(weights)
        with without_warnings():
            self.network: Any = open_clip.create_model(model, pretrained=None)
        try:
            self.network.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            raise ModelError(
                f"{weights.name} is not the weights of {model}; name the model that it is.", "model of CLIP"
            ) from error
        self.network.float().eval().requires_grad_(False)
        self.tokenize = open_clip.get_tokenizer(model)
        size = about["vision_cfg"]["image_size"]
        self.side = size if isinstance(size, int) else size[0]
        self.name = f"CLIP {model}"

    @torch.no_grad()
    def pictures(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1], square, of any size -> (N, D) of unit length"""
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        scaled = interpolate((pictures + 1) / 2, self.side, mode="bicubic", antialias=True).clamp(0, 1)
        normed = (scaled - mean) / std
        return torch.cat([normalize(self.network.encode_image(part), dim=1) for part in normed.split(BATCH)])

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Tensor:
        """(N, D) of unit length"""
        return normalize(self.network.encode_text(self.tokenize(list(prompts))), dim=1)


@contextmanager
def without_warnings() -> Iterator[None]:
    """open_clip logs that a model has no weights yet; these come a moment later."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


# Numbers that OpenAI's archives hold beside the weights.
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, a .pt or .bin with plain tensors, or OpenAI's own .pt; raises FileError."""
    if not path.is_file():
        raise FileError(f"there are no CLIP weights at {str(path)[:200]}; give their file.", "weights of CLIP")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if _is_script(path):
            content = torch.jit.load(str(path), map_location="cpu").state_dict()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise FileError(f"{path.name} is damaged, or holds no CLIP weights.") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {key.removeprefix("module."): v.float() for key, v in tensors.items() if key not in _NOT_WEIGHTS}


def _is_script(path: Path) -> bool:
    """OpenAI's own files are TorchScript."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
