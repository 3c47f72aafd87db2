"""A Stable Diffusion v1-type model between diffusers' folder and the WebUI's single file.

The weights in the single file have their original ("ldm") names. A YAML file beside it gives the sizes. A folder beside
it, which the YAML names by an absolute path, has the text encoder's configuration and the tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from ...engine.errors import FileError, ModelError
from ...files.atomic import write_all_atomically
from .ldm_config import (
    CLIP_EMBEDDER,
    MODEL_INDEX,
    SCHEDULER_DEFAULTS,
    UNET_DEFAULTS,
    UNET_MODEL,
    VAE_DEFAULTS,
    Config,
    diffusers_configs,
    ldm_config,
)
from .ldm_names import text_names, unet_names, vae_names

Tensors = dict[str, Tensor]
UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."
POSITIONS = "text_model.embeddings.position_ids"  # a buffer that only old files have
TOKENIZER_FILES = ("vocab.json", "merges.txt")
TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# What transformers of every version reads; the rest of a newer config.json is left out of the WebUI's folder.
TEXT_CONFIG = (
    "architectures model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
    "max_position_embeddings hidden_act layer_norm_eps projection_dim bos_token_id eos_token_id pad_token_id"
)
VAE_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # diffusers before 0.15


def to_single_file(folder: Path, out: Path) -> None:
    """Write `out` (.safetensors), the YAML of the same name and the folder `<name>.clip`, all or nothing.

    Raises ModelError when ldm's code would not build the same network, FileError when writing fails.
    """
    if out.suffix != ".safetensors":
        raise FileError(f"the single file must be named .safetensors, got {out.name}.")
    unet = UNET_DEFAULTS | _read_json(folder / "unet" / "config.json")
    vae = VAE_DEFAULTS | _read_json(folder / "vae" / "config.json")
    text = _read_json(folder / "text_encoder" / "config.json")
    schedule = SCHEDULER_DEFAULTS | _read_json(folder / "scheduler" / "scheduler_config.json")
    if unet["cross_attention_dim"] != text["hidden_size"]:
        raise ModelError(
            f"the U-Net takes a text width of {unet['cross_attention_dim']} "
            f"and the text encoder gives {text['hidden_size']}."
        )
    clip_folder = out.resolve().with_suffix(".clip")
    config = ldm_config(unet, vae, schedule, clip_folder)
    tensors = {
        **_prefixed(UNET_PREFIX, _renamed(_read_weights(folder / "unet"), unet_names(unet), "U-Net")),
        **_prefixed(VAE_PREFIX, _vae_tensors(_read_weights(folder / "vae"), vae)),
        **_prefixed(TEXT_PREFIX, _text_tensors(_read_weights(folder / "text_encoder"), text)),
    }
    contents = _clip_files(folder, text)
    write_all_atomically(
        {
            **{clip_folder / name: content for name, content in contents.items()},
            out.with_suffix(".yaml"): yaml.safe_dump(config, sort_keys=False).encode(),
            out: _bytes(tensors),
        }
    )


def to_diffusers(checkpoint: Path, folder: Path) -> None:
    """Write the diffusers folder of a single file whose YAML is beside it, all or nothing.

    The schedule and the kind of prediction are kept; the sampler of the folder is DDIM.
    Raises ModelError when the file or its YAML is not a complete Stable Diffusion v1-type model.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileError(f"{folder} is not empty.")
    configs, version = _read_yaml(checkpoint.with_suffix(".yaml"))
    clip_folder = _clip_folder(checkpoint, version)
    text = _read_json(clip_folder / "config.json")
    tensors = _read_safetensors(checkpoint)
    unet = _renamed(_without(UNET_PREFIX, tensors), _inverse(unet_names(configs["unet"])), "U-Net")
    vae = _renamed(_without(VAE_PREFIX, tensors), _inverse(vae_names(configs["vae"])), "VAE")
    text_encoder = _text_tensors(_without(TEXT_PREFIX, tensors), text)
    del text_encoder[POSITIONS]
    contents = {
        "unet/config.json": _json_bytes(configs["unet"]),
        "unet/diffusion_pytorch_model.safetensors": _bytes(unet),
        "vae/config.json": _json_bytes(configs["vae"]),
        "vae/diffusion_pytorch_model.safetensors": _bytes({name: _linear(name, t) for name, t in vae.items()}),
        "text_encoder/config.json": _json_bytes(text),
        "text_encoder/model.safetensors": _bytes(text_encoder),
        "scheduler/scheduler_config.json": _json_bytes(configs["scheduler"]),
        **{f"tokenizer/{path.name}": path.read_bytes() for path in _tokenizer_files(clip_folder)},
        "model_index.json": _json_bytes(MODEL_INDEX),
    }
    write_all_atomically({folder / name: content for name, content in contents.items()})


def _renamed(tensors: Mapping[str, Tensor], names: dict[str, str], what: str) -> Tensors:
    """The tensors under their new names: all of them, and none that the names do not know."""
    if unknown := [name for name in tensors if name not in names]:
        raise ModelError(f"the {what} has {unknown[0]}, for which its configuration has no place.")
    if missing := [name for name in names if name not in tensors]:
        raise ModelError(f"the {what}'s weights lack {missing[0]} ({len(missing)} missing in all).")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _inverse(names: dict[str, str]) -> dict[str, str]:
    return {ldm: name for name, ldm in names.items()}


def _vae_tensors(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """ldm has 1x1 convolutions where diffusers has the attention's linear layers."""
    modern = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        parent, _, part = module.rpartition(".")
        modern[f"{parent}.{VAE_OLD_ATTENTION[part]}.{leaf}" if part in VAE_OLD_ATTENTION else name] = tensor
    renamed = _renamed(modern, vae_names(config), "VAE")
    return {n: t[:, :, None, None] if ".attn_1." in n and t.ndim == 2 else t for n, t in renamed.items()}


def _linear(name: str, tensor: Tensor) -> Tensor:
    return tensor[:, :, 0, 0] if ".attentions." in name and tensor.ndim == 4 else tensor


def _text_tensors(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """The text encoder's names are transformers' own; newer versions leave out the `text_model.`"""
    full = {name if name.startswith("text_model.") else f"text_model.{name}": t for name, t in tensors.items()}
    full.pop(POSITIONS, None)
    renamed = _renamed(full, text_names(config), "text encoder")
    return {**renamed, POSITIONS: torch.arange(config["max_position_embeddings"])[None]}  # (1, 77)


def _clip_files(folder: Path, text: Config) -> dict[str, bytes]:
    """One folder that serves as configuration of the text encoder and as tokenizer."""
    files = _tokenizer_files(folder / "tokenizer")
    plain = {name: text[name] for name in TEXT_CONFIG.split() if name in text}
    return {"config.json": _json_bytes(plain), **{path.name: path.read_bytes() for path in files}}


def _tokenizer_files(folder: Path) -> list[Path]:
    for name in TOKENIZER_FILES:
        if not (folder / name).is_file():
            raise ModelError(f"the tokenizer folder has no {name}.")
    return [path for name in (*TOKENIZER_FILES, *TOKENIZER_EXTRAS) if (path := folder / name).is_file()]


def _clip_folder(checkpoint: Path, version: str) -> Path:
    """The folder that the YAML names or, when the files were moved, the one beside the checkpoint."""
    for folder in (Path(version or "none"), checkpoint.with_suffix(".clip")):
        if all((folder / name).is_file() for name in ("config.json", *TOKENIZER_FILES)):
            return folder
    raise ModelError(f"no folder with the text encoder's configuration and the tokenizer: {version or 'not named'}.")


def names_its_tokenizer(checkpoint: Path) -> bool:
    """Whether the YAML beside a checkpoint leads to a folder with tokenizer and text encoder configuration."""
    try:
        params = yaml.safe_load(checkpoint.with_suffix(".yaml").read_text(encoding="utf-8"))["model"]["params"]
        _clip_folder(checkpoint, str(params["cond_stage_config"]["params"]["version"]))
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ModelError):
        return False
    return True


def _read_json(path: Path) -> Config:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} could not be read: {error}.") from error


def _read_yaml(path: Path) -> tuple[dict[str, Config], str]:
    """diffusers' configurations, and the folder of text encoder and tokenizer that the YAML names"""
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["params"]
        if [params[part]["target"] for part in ("unet_config", "cond_stage_config")] != [UNET_MODEL, CLIP_EMBEDDER]:
            raise ModelError(f"{path.name} is not of a Stable Diffusion v1-type model.")
        return diffusers_configs(params), params["cond_stage_config"].get("params", {}).get("version", "")
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not the YAML of a Stable Diffusion model: {error}.") from error


def _read_weights(folder: Path) -> Tensors:
    for stem in ("diffusion_pytorch_model", "model"):
        for suffix in (".safetensors", ".fp16.safetensors"):
            if (path := folder / (stem + suffix)).is_file():
                return _read_safetensors(path)
    raise ModelError(f"{folder} has no weights in one .safetensors file.")


def _read_safetensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} could not be read as .safetensors: {error}.") from error


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _without(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}, {"format": "pt"})


def _json_bytes(config: Config) -> bytes:
    return (json.dumps(config, indent=2) + "\n").encode()
