"""The configuration of one model in two words: diffusers' config.json files and the original ("ldm") YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...engine.errors import ModelError

Config = dict[str, Any]

LATENT_DIFFUSION = "ldm.models.diffusion.ddpm.LatentDiffusion"
UNET_MODEL = "ldm.modules.diffusionmodules.openaimodel.UNetModel"
AUTOENCODER = "ldm.models.autoencoder.AutoencoderKL"
CLIP_EMBEDDER = "ldm.modules.encoders.modules.FrozenCLIPEmbedder"

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
    widths, attention = config["block_out_channels"], attention_levels(config)
    return {
        "image_size": config["sample_size"],
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": widths[0],
        "channel_mult": _multipliers(widths, "U-Net"),
        "attention_resolutions": [2**level for level in reversed(attention)],  # how often the picture was halved before
        "num_res_blocks": layers_of(config, "U-Net"),
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
        "num_res_blocks": layers_of(config, "VAE"),
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


def layers_of(config: Mapping[str, Any], what: str) -> int:
    if not isinstance(config["layers_per_block"], int):
        raise ModelError(f"the WebUI's format needs one layers_per_block for the {what}'s levels, got a list.")
    return config["layers_per_block"]


def attention_levels(config: Mapping[str, Any]) -> list[int]:
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
