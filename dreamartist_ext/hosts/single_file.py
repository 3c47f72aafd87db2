"""A Stable Diffusion v1-type model between diffusers' folder and the WebUI's single file.

The single file has the original ("ldm") names; a YAML beside it says the sizes, and a folder beside
it holds the text encoder's configuration and the tokenizer, which the YAML names by an absolute path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from ..engine.errors import FileError, ModelError
from ..engine.storage import write_all_atomically

Tensors = dict[str, Tensor]
Config = dict[str, Any]

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."
POSITIONS = "text_model.embeddings.position_ids"  # a buffer that only old files have

LATENT_DIFFUSION = "ldm.models.diffusion.ddpm.LatentDiffusion"
UNET_MODEL = "ldm.modules.diffusionmodules.openaimodel.UNetModel"
AUTOENCODER = "ldm.models.autoencoder.AutoencoderKL"
CLIP_EMBEDDER = "ldm.modules.encoders.modules.FrozenCLIPEmbedder"

TOKENIZER_FILES = ("vocab.json", "merges.txt")
TOKENIZER_EXTRAS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# What transformers of every version reads; the rest of a newer config.json is left out of the WebUI's folder.
TEXT_CONFIG = (
    "architectures model_type vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
    "max_position_embeddings hidden_act layer_norm_eps projection_dim bos_token_id eos_token_id pad_token_id"
)

MODEL_INDEX: Config = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

# diffusers' defaults for what its config.json leaves out; of the first table ldm knows no other value
UNET_FIXED: Config = {
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "dropout": 0.0,
    "only_cross_attention": False,
    "mid_block_only_cross_attention": None,
    "dual_cross_attention": False,
    "cross_attention_norm": None,
    "attention_type": "default",
    "transformer_layers_per_block": 1,
    "use_linear_projection": False,
    "class_embed_type": None,
    "num_class_embeds": None,
    "addition_embed_type": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "resnet_time_scale_shift": "default",
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
}
UNET_DEFAULTS: Config = UNET_FIXED | {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "attention_head_dim": 8,
    "num_attention_heads": None,
}
VAE_FIXED: Config = {
    "act_fn": "silu",
    "norm_num_groups": 32,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
}
VAE_DEFAULTS: Config = VAE_FIXED | {"sample_size": 512, "in_channels": 3, "out_channels": 3, "scaling_factor": 0.18215}
SCHEDULER_FIXED: Config = {"beta_schedule": "scaled_linear", "trained_betas": None, "rescale_betas_zero_snr": False}
SCHEDULER_DEFAULTS: Config = SCHEDULER_FIXED | {
    "beta_schedule": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
PARAMETERIZATIONS = {"epsilon": "eps", "v_prediction": "v"}  # diffusers' word -> ldm's

# ldm's words whose other values no diffusers configuration of this kind has
LDM_UNET_FIXED: Config = {
    "use_spatial_transformer": True,
    "transformer_depth": 1,
    "use_linear_in_transformer": False,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "num_classes": None,
    "disable_self_attentions": None,
    "num_attention_blocks": None,
}

# Names of modules inside a block, diffusers -> ldm.
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TRANSFORMER = (
    "norm1 norm2 norm3 attn1.to_q attn1.to_k attn1.to_v attn1.to_out.0 "
    "attn2.to_q attn2.to_k attn2.to_v attn2.to_out.0 ff.net.0.proj ff.net.2"
)
ATTENTION = {
    name: name for name in ["norm", "proj_in", "proj_out", *(f"transformer_blocks.0.{n}" for n in _TRANSFORMER.split())]
}
VAE_RESNET = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "conv_shortcut": "nin_shortcut"}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
VAE_ENDS = {"conv_in": "conv_in", "conv_norm_out": "norm_out", "conv_out": "conv_out"}
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


def ldm_config(unet: Config, vae: Config, schedule: Config, clip_folder: Path) -> Config:
    """The YAML's content from diffusers' configurations, every default filled in."""
    _check_fixed(schedule, SCHEDULER_FIXED, "noise schedule")
    if schedule["prediction_type"] not in PARAMETERIZATIONS:
        raise ModelError(f"the WebUI's format knows no prediction type {schedule['prediction_type']!r}.")
    params: Config = {
        "linear_start": schedule["beta_start"],
        "linear_end": schedule["beta_end"],
        "timesteps": schedule["num_train_timesteps"],
        "parameterization": PARAMETERIZATIONS[schedule["prediction_type"]],
        "num_timesteps_cond": 1,
        "log_every_t": 200,
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "image_size": unet["sample_size"],
        "channels": unet["in_channels"],
        "cond_stage_trainable": False,
        "conditioning_key": "crossattn",
        "scale_factor": vae["scaling_factor"],
        "use_ema": False,
        "unet_config": {"target": UNET_MODEL, "params": _unet_params(unet)},
        "first_stage_config": {"target": AUTOENCODER, "params": _vae_params(vae)},
        "cond_stage_config": {"target": CLIP_EMBEDDER, "params": {"version": str(clip_folder)}},
    }
    return {"model": {"target": LATENT_DIFFUSION, "params": params}}


def _unet_params(config: Config) -> Config:
    _check_fixed(config, UNET_FIXED, "U-Net")
    widths, attention = config["block_out_channels"], _attention_levels(config)
    return {
        "image_size": config["sample_size"],
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": widths[0],
        "channel_mult": _multipliers(widths, "U-Net"),
        "attention_resolutions": [2**level for level in reversed(attention)],  # how often the picture was halved before
        "num_res_blocks": _layers(config, "U-Net"),
        **_heads(config, attention),
        "use_spatial_transformer": True,
        "transformer_depth": 1,
        "context_dim": config["cross_attention_dim"],
        "use_checkpoint": False,
        "legacy": False,
    }


def _vae_params(config: Config) -> Config:
    _check_fixed(config, VAE_FIXED, "VAE")
    widths = config["block_out_channels"]
    if {*config["down_block_types"], *config["up_block_types"]} != {"DownEncoderBlock2D", "UpDecoderBlock2D"}:
        raise ModelError("the WebUI's format knows plain VAE blocks only.")
    sizes = {
        "double_z": True,
        "z_channels": config["latent_channels"],
        "resolution": config["sample_size"],
        "in_channels": config["in_channels"],
        "out_ch": config["out_channels"],
        "ch": widths[0],
        "ch_mult": _multipliers(widths, "VAE"),
        "num_res_blocks": _layers(config, "VAE"),
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"embed_dim": config["latent_channels"], "ddconfig": sizes, "lossconfig": {"target": "torch.nn.Identity"}}


def _check_fixed(config: Mapping[str, Any], fixed: Config, what: str) -> None:
    for name, value in fixed.items():
        if config[name] != value:
            raise ModelError(f"the {what}'s {name} must be {value!r} to exist in both formats, got {config[name]!r}.")


def _multipliers(widths: Sequence[int], what: str) -> list[int]:
    if any(width % widths[0] for width in widths):
        raise ModelError(
            f"the WebUI's format needs {what} widths that are whole multiples of the first, got {list(widths)}."
        )
    return [width // widths[0] for width in widths]


def _layers(config: Mapping[str, Any], what: str) -> int:
    if not isinstance(config["layers_per_block"], int):
        raise ModelError(f"the WebUI's format needs one layers_per_block for the {what}'s levels, got a list.")
    return config["layers_per_block"]


def _attention_levels(config: Mapping[str, Any]) -> list[int]:
    """The levels whose blocks see the text, 0 = full resolution."""
    down, up = list(config["down_block_types"]), list(config["up_block_types"])
    attention = [level for level, kind in enumerate(down) if kind == "CrossAttnDownBlock2D"]
    mirrored = [level for level, kind in enumerate(reversed(up)) if kind == "CrossAttnUpBlock2D"]
    if not {*down, *up} <= {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}:
        raise ModelError(f"the WebUI's format does not know all of the U-Net's blocks {[*down, *up]}.")
    if attention != mirrored:
        raise ModelError("the WebUI's format needs attention on the same levels of the U-Net, down and up.")
    return attention


def _heads(config: Config, attention: list[int]) -> dict[str, int]:
    """ldm counts heads once for all levels, or takes one width of a head for all."""
    widths = config["block_out_channels"]
    heads = config["num_attention_heads"] or config["attention_head_dim"]  # both mean the number of heads
    per_level = [heads] * len(widths) if isinstance(heads, int) else heads
    seen = {*attention, len(widths) - 1}  # the middle block has the last level's width
    if any(widths[level] % per_level[level] for level in seen):
        raise ModelError(f"the U-Net's widths {list(widths)} are not multiples of its heads {list(per_level)}.")
    counts = {per_level[level] for level in seen}
    if len(counts) == 1:
        return {"num_heads": counts.pop()}
    head_widths = {widths[level] // per_level[level] for level in seen}
    if len(head_widths) == 1:
        return {"num_head_channels": head_widths.pop()}
    raise ModelError(
        "the WebUI's format needs the same number of attention heads, or heads of the same width, on every "
        f"level, got {list(per_level)} heads for the widths {list(widths)}."
    )


def diffusers_configs(params: Config) -> dict[str, Config]:
    """The configurations of U-Net, VAE and scheduler from the YAML's `model.params`; KeyError for what it lacks."""
    unet, vae = params["unet_config"]["params"], params["first_stage_config"]["params"]["ddconfig"]
    _check_fixed(LDM_UNET_FIXED | unet, LDM_UNET_FIXED, "U-Net")
    _check_fixed({"attn_resolutions": []} | vae, {"attn_resolutions": []}, "VAE")
    widths = [unet["model_channels"] * times for times in unet["channel_mult"]]
    kinds = ["CrossAttn" if 2**level in unet["attention_resolutions"] else "" for level in range(len(widths))]
    head_width = unet.get("num_head_channels", -1)
    predictions = {ldm: name for name, ldm in PARAMETERIZATIONS.items()}
    version = {"_diffusers_version": MODEL_INDEX["_diffusers_version"]}
    unet_config = {
        "_class_name": "UNet2DConditionModel",
        **version,
        "sample_size": params["image_size"],
        "in_channels": unet["in_channels"],
        "out_channels": unet["out_channels"],
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "block_out_channels": widths,
        "layers_per_block": unet["num_res_blocks"],
        "cross_attention_dim": unet["context_dim"],
        "attention_head_dim": [w // head_width for w in widths] if head_width > 0 else unet["num_heads"],
        "norm_num_groups": 32,
    }
    vae_config = {
        "_class_name": "AutoencoderKL",
        **version,
        "sample_size": vae["resolution"],
        "in_channels": vae["in_channels"],
        "out_channels": vae["out_ch"],
        "down_block_types": ["DownEncoderBlock2D"] * len(vae["ch_mult"]),
        "up_block_types": ["UpDecoderBlock2D"] * len(vae["ch_mult"]),
        "block_out_channels": [vae["ch"] * times for times in vae["ch_mult"]],
        "layers_per_block": vae["num_res_blocks"],
        "latent_channels": vae["z_channels"],
        "norm_num_groups": 32,
        "scaling_factor": params["scale_factor"],
    }
    scheduler_config = {
        "_class_name": "DDIMScheduler",
        **version,
        "num_train_timesteps": params["timesteps"],
        "beta_start": params["linear_start"],
        "beta_end": params["linear_end"],
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": predictions[params.get("parameterization", "eps")],
    }
    return {"unet": unet_config, "vae": vae_config, "scheduler": scheduler_config}


def unet_names(config: Mapping[str, Any]) -> dict[str, str]:
    """diffusers' name -> ldm's, for every tensor of the U-Net."""
    widths, layers = config["block_out_channels"], _layers(config, "U-Net")
    attention = _attention_levels(config)
    names = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        **_resnet(RESNET, "mid_block.resnets.0", "middle_block.0"),
        **_inside(ATTENTION, "mid_block.attentions.0", "middle_block.1"),
        **_resnet(RESNET, "mid_block.resnets.1", "middle_block.2"),
    }
    block = 1
    for level, width in enumerate(widths):
        for layer in range(layers):
            widens = layer == 0 and width != widths[max(level - 1, 0)]
            names |= _resnet(RESNET, f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{block}.0", widens)
            if level in attention:
                names |= _inside(ATTENTION, f"down_blocks.{level}.attentions.{layer}", f"input_blocks.{block}.1")
            block += 1
        if level < len(widths) - 1:
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{block}.0.op"
            block += 1
    block = 0
    for up, level in enumerate(reversed(range(len(widths)))):
        for layer in range(layers + 1):
            names |= _resnet(RESNET, f"up_blocks.{up}.resnets.{layer}", f"output_blocks.{block}.0", shortcut=True)
            if level in attention:
                names |= _inside(ATTENTION, f"up_blocks.{up}.attentions.{layer}", f"output_blocks.{block}.1")
            if level > 0 and layer == layers:  # the last part of the level's last block
                names[f"up_blocks.{up}.upsamplers.0.conv"] = f"output_blocks.{block}.{1 + (level in attention)}.conv"
            block += 1
    return _tensor_names(names, without_bias=("to_q", "to_k", "to_v"))


def vae_names(config: Mapping[str, Any]) -> dict[str, str]:
    """The same for the VAE; ldm counts the decoder's levels too from the full resolution."""
    widths, layers = config["block_out_channels"], _layers(config, "VAE")
    last = len(widths) - 1
    names = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for half in ("encoder", "decoder"):
        names |= _inside(VAE_ENDS, half, half)
        names |= _resnet(VAE_RESNET, f"{half}.mid_block.resnets.0", f"{half}.mid.block_1")
        names |= _resnet(VAE_RESNET, f"{half}.mid_block.resnets.1", f"{half}.mid.block_2")
        names |= _inside(VAE_ATTENTION, f"{half}.mid_block.attentions.0", f"{half}.mid.attn_1")
    for level, width in enumerate(widths):
        down, up = f"encoder.down_blocks.{level}", f"decoder.up_blocks.{last - level}"
        for i in range(layers):
            widens = i == 0 and width != widths[max(level - 1, 0)]
            names |= _resnet(VAE_RESNET, f"{down}.resnets.{i}", f"encoder.down.{level}.block.{i}", widens)
        for i in range(layers + 1):
            narrows = i == 0 and width != widths[min(level + 1, last)]
            names |= _resnet(VAE_RESNET, f"{up}.resnets.{i}", f"decoder.up.{level}.block.{i}", narrows)
        if level < last:
            names[f"{down}.downsamplers.0.conv"] = f"encoder.down.{level}.downsample.conv"
        if level > 0:
            names[f"{up}.upsamplers.0.conv"] = f"decoder.up.{level}.upsample.conv"
    return _tensor_names(names)


def _text_names(config: Config) -> dict[str, str]:
    inside = "layer_norm1 layer_norm2 mlp.fc1 mlp.fc2 " + " ".join(
        f"self_attn.{n}_proj" for n in ("q", "k", "v", "out")
    )
    names = ["embeddings.token_embedding", "embeddings.position_embedding", "final_layer_norm"]
    names += [f"encoder.layers.{i}.{name}" for i in range(config["num_hidden_layers"]) for name in inside.split()]
    return _tensor_names({f"text_model.{name}": f"text_model.{name}" for name in names}, without_bias=("_embedding",))


def _inside(block: dict[str, str], name: str, ldm: str) -> dict[str, str]:
    return {f"{name}.{part}": f"{ldm}.{ldm_part}" for part, ldm_part in block.items()}


def _resnet(block: dict[str, str], name: str, ldm: str, shortcut: bool = False) -> dict[str, str]:
    """`shortcut`: the block changes the width, so that its bypass has weights too."""
    return _inside({part: to for part, to in block.items() if shortcut or part != "conv_shortcut"}, name, ldm)


def _tensor_names(modules: dict[str, str], without_bias: tuple[str, ...] = ()) -> dict[str, str]:
    names = {f"{module}.weight": f"{ldm}.weight" for module, ldm in modules.items()}
    return names | {f"{m}.bias": f"{ldm}.bias" for m, ldm in modules.items() if not m.endswith(without_bias)}


def _renamed(tensors: Mapping[str, Tensor], names: dict[str, str], what: str) -> Tensors:
    """The tensors under their new names: all of them, and none that the names do not know."""
    if unknown := [name for name in tensors if name not in names]:
        raise ModelError(f"the {what} has {unknown[0]}, for which its configuration has no place.")
    if missing := [name for name in names if name not in tensors]:
        raise ModelError(f"the {what}'s weights lack {missing[0]} ({len(missing)} missing in all).")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _inverse(names: dict[str, str]) -> dict[str, str]:
    return {ldm: name for name, ldm in names.items()}


def _vae_tensors(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Tensors:
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
    renamed = _renamed(full, _text_names(config), "text encoder")
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
    for folder in (Path(version), checkpoint.with_suffix(".clip")):
        if all((folder / name).is_file() for name in ("config.json", *TOKENIZER_FILES)):
            return folder
    raise ModelError(f"no folder with the text encoder's configuration and the tokenizer: {version or 'not named'}.")


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
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
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
