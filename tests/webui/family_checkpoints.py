"""Tiny single-file checkpoints of SD 2, SDXL and inpainting models, as the WebUI's own classes read them.

The standalone host gets the same weights as diffusers' parts. Both need CLIP's whole vocabulary, since the WebUI takes
OpenCLIP's tokenizer from the package of that name; its file is read from the WebUI's environment.
"""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from dreamartist_ext.hosts.diffusers.components import Components
from dreamartist_ext.hosts.diffusers.ldm_names import unet_names
from dreamartist_ext.hosts.diffusers.single_file import (
    UNET_PREFIX,
    VAE_PREFIX,
    _text_tensors,
    _vae_tensors,
    to_single_file,
)
from dreamartist_ext.hosts.families import INPAINTING_CHANNELS
from testbed.kinds import KINDS
from testbed.model_folder import save_folder

from ..family_models import PROJECTION, WIDTH_G, WIDTH_L, WIDTH_SD2, components
from ..models import END, START

CLIP_VOCABULARY = 49408
HEAD = 16  # channels per attention head in every U-Net here
Tensors = dict[str, torch.Tensor]


def bpe_file() -> Path:
    """From whichever WebUI is there: each brings the package."""
    inside = "lib/python*/site-packages/open_clip/bpe_simple_vocab_16e6.txt.gz"
    return next(file for kind in KINDS for file in Path(kind.python).parents[1].glob(inside))


def write_clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's own tokenizer in transformers' files."""
    lines = gzip.decompress(bpe_file().read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    tokens = [*letters, *(c + "</w>" for c in letters), *("".join(pair) for pair in merges), START, END]
    assert len(tokens) == CLIP_VOCABULARY
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | special))
    return CLIPTokenizer.from_pretrained(folder)


def family_parts(folder: Path, family: str) -> Components:
    return components(folder, family, write_clip_tokenizer)


def write_checkpoint(parts: Components, folder: Path, out: Path) -> None:
    """`out` with its YAML; `folder` is where the parts' tokenizers are."""
    if parts.name.startswith("sd1"):
        write_sd1_checkpoint(parts, folder, out)
        return
    tensors = unet_tensors(parts) | vae_tensors(parts)
    if parts.text_encoder_2 is None:
        tensors |= prefixed("cond_stage_model.model.", open_clip_tensors(parts.text_encoder, spare_layer=True))
        config = sd2_config(parts)
    else:
        version = clip_folder(parts, folder)
        first = _text_tensors(parts.text_encoder.state_dict(), parts.text_encoder.config.to_dict())
        tensors |= prefixed("conditioner.embedders.0.transformer.", first)
        tensors |= prefixed("conditioner.embedders.1.model.", open_clip_tensors(parts.text_encoder_2))
        config = sdxl_config(parts, version)
    write_file(tensors, config, out)


def write_sd1_checkpoint(parts: Components, folder: Path, out: Path) -> None:
    """SD 1 by our own converter, with the YAML of an inpainting or an instruct-pix2pix model."""
    model = save_folder(parts, folder / "model")
    shutil.copytree(folder / "tokenizer", model / "tokenizer", dirs_exist_ok=True)  # newer transformers merge its files
    to_single_file(model, out)
    config = yaml.safe_load(out.with_suffix(".yaml").read_text())
    whole, params = config["model"], config["model"]["params"]
    params |= {"channels": 4, "conditioning_key": "hybrid"}
    if parts.unet.config.in_channels == INPAINTING_CHANNELS:
        whole["target"] = "ldm.models.diffusion.ddpm.LatentInpaintDiffusion"
        params["finetune_keys"] = None
    else:
        whole["target"] = "modules.models.diffusion.ddpm_edit.LatentDiffusion"
        params |= {"first_stage_key": "edited", "cond_stage_key": "edit"}
    out.with_suffix(".yaml").write_text(yaml.safe_dump(config))


def write_refiner(parts: Components, out: Path) -> None:
    """An SDXL model's second half: one encoder, and an aesthetic score instead of the target's size."""
    outdim = parts.unet.config.addition_time_embed_dim
    with torch.random.fork_rng():
        torch.manual_seed(0)
        changes = {
            "cross_attention_dim": WIDTH_G,
            "projection_class_embeddings_input_dim": PROJECTION + 5 * outdim,
        }
        unet = UNet2DConditionModel.from_config(dict(parts.unet.config) | changes)
    refiner = replace(parts, unet=unet)
    config = sdxl_config(refiner, Path())
    params = config["model"]["params"]
    params["network_config"]["params"]["context_dim"] = WIDTH_G
    embedders = params["conditioner_config"]["params"]["emb_models"]
    params["conditioner_config"]["params"]["emb_models"] = [
        *embedders[1:4],
        embedders[4] | {"input_key": "aesthetic_score"},
    ]
    encoder = prefixed("conditioner.embedders.0.model.", open_clip_tensors(parts.text_encoder_2))
    write_file(unet_tensors(refiner) | vae_tensors(refiner) | encoder, config, out)


def write_file(tensors: Tensors, config: dict[str, Any], out: Path) -> None:
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, out)
    out.with_suffix(".yaml").write_text(yaml.safe_dump(config))


def clip_folder(parts: Components, folder: Path) -> Path:
    """Tokenizer and configuration of the first encoder, in one folder."""
    version = folder / "tokenizer"
    keys = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads hidden_act projection_dim"
    config = parts.text_encoder.config.to_dict()
    plain = {key: config[key] for key in keys.split()} | {"model_type": "clip_text_model"}
    (version / "config.json").write_text(json.dumps(plain))
    return version


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def unet_tensors(parts: Components) -> Tensors:
    config = dict(parts.unet.config)
    names = unet_names(config)
    depths = config["transformer_layers_per_block"]
    for name, ldm in list(names.items()):
        for block in range(1, max(depths) if isinstance(depths, list) else depths):
            one, other = "transformer_blocks.0.", f"transformer_blocks.{block}."
            names[name.replace(one, other)] = ldm.replace(one, other)
    for layer, place in (("linear_1", "0.0"), ("linear_2", "0.2")):
        names |= {f"add_embedding.{layer}.{kind}": f"label_emb.{place}.{kind}" for kind in ("weight", "bias")}
    return {UNET_PREFIX + names[name]: tensor for name, tensor in parts.unet.state_dict().items()}


def vae_tensors(parts: Components) -> Tensors:
    return prefixed(VAE_PREFIX, _vae_tensors(parts.vae.state_dict(), dict(parts.vae.config)))


def open_clip_tensors(encoder: Any, spare_layer: bool = False) -> Tensors:
    """transformers' text encoder under OpenCLIP's names; `spare_layer` adds a last one that is never read."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in encoder.state_dict().items()}
    tensors = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "logit_scale": torch.zeros(()),
        "text_projection": state["text_projection.weight"].T
        if "text_projection.weight" in state
        else torch.zeros(encoder.config.hidden_size, PROJECTION),
    }
    layers = encoder.config.num_hidden_layers
    for layer in range(layers + spare_layer):
        tensors |= resblock(state, f"encoder.layers.{min(layer, layers - 1)}.", f"transformer.resblocks.{layer}.")
    return tensors


def resblock(state: Tensors, source: str, target: str) -> Tensors:
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    parts["self_attn.out_proj"] = "attn.out_proj"
    block = {}
    for kind in ("weight", "bias"):
        block |= {f"{target}{ldm}.{kind}": state[f"{source}{name}.{kind}"].clone() for name, ldm in parts.items()}
        qkv = [state[f"{source}self_attn.{part}_proj.{kind}"] for part in "qkv"]
        block[f"{target}attn.in_proj_{kind}"] = torch.cat(qkv)
    return block


def open_clip_arch(width: int, layers: int) -> dict[str, Any]:
    """What OpenCLIP calls a model; its half for pictures is dropped at once."""
    text = {"context_length": 77, "vocab_size": CLIP_VOCABULARY, "width": width, "heads": 2, "layers": layers}
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    return {"embed_dim": PROJECTION, "vision_cfg": vision, "text_cfg": text}


ARCHS = {"tiny-h": open_clip_arch(WIDTH_SD2, 4), "tiny-g": open_clip_arch(WIDTH_G, 3)}


def unet_params(parts: Components, **more: Any) -> dict[str, Any]:
    return {
        "in_channels": parts.unet.config.in_channels,
        "out_channels": 4,
        "model_channels": 32,
        "channel_mult": [1, 2],
        "num_res_blocks": 1,
        "num_head_channels": HEAD,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "use_checkpoint": False,
        "legacy": False,
        **more,
    }


def first_stage(target: str, parts: Components) -> dict[str, Any]:
    sizes = {"double_z": True, "z_channels": 4, "resolution": 64, "in_channels": 3, "out_ch": 3}
    sizes |= {"ch": parts.vae.config.block_out_channels[0]}
    sizes |= {"ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}
    return {
        "target": target,
        "params": {"embed_dim": 4, "ddconfig": sizes, "lossconfig": {"target": "torch.nn.Identity"}},
    }


def sd2_config(parts: Components) -> dict[str, Any]:
    is_inpainting = parts.unet.config.in_channels == 9
    ldm = "ldm.models.diffusion.ddpm."
    params = {
        "parameterization": "v" if parts.scheduler.config.prediction_type == "v_prediction" else "eps",
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "image_size": 8,
        "channels": 4,
        "conditioning_key": "hybrid" if is_inpainting else "crossattn",
        "scale_factor": 0.18215,
        "use_ema": False,
        "unet_config": {
            "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": unet_params(
                parts, image_size=8, attention_resolutions=[1], transformer_depth=1, context_dim=WIDTH_SD2
            ),
        },
        "first_stage_config": first_stage("ldm.models.autoencoder.AutoencoderKL", parts),
        "cond_stage_config": {
            "target": "ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder",
            "params": {"freeze": True, "layer": "penultimate", "arch": "tiny-h"},
        },
    }
    params |= {"finetune_keys": None} if is_inpainting else {}
    return {
        "model": {"target": ldm + ("LatentInpaintDiffusion" if is_inpainting else "LatentDiffusion"), "params": params}
    }


def sdxl_config(parts: Components, version: Path) -> dict[str, Any]:
    is_v = parts.scheduler.config.prediction_type == "v_prediction"
    denoiser = "sgm.modules.diffusionmodules."
    sizes = [
        {
            "is_trainable": False,
            "input_key": key,
            "target": "sgm.modules.encoders.modules.ConcatTimestepEmbedderND",
            "params": {"outdim": parts.unet.config.addition_time_embed_dim},
        }
        for key in ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
    ]
    texts = [
        {
            "is_trainable": False,
            "input_key": "txt",
            "target": "sgm.modules.encoders.modules.FrozenCLIPEmbedder",
            "params": {"version": str(version), "layer": "hidden", "layer_idx": 2},
        },
        {
            "is_trainable": False,
            "input_key": "txt",
            "target": "sgm.modules.encoders.modules.FrozenOpenCLIPEmbedder2",
            "params": {
                "arch": "tiny-g",
                "freeze": True,
                "layer": "penultimate",
                "always_return_pooled": True,
                "legacy": False,
            },
        },
    ]
    network = unet_params(
        parts,
        adm_in_channels=parts.unet.config.projection_class_embeddings_input_dim,
        num_classes="sequential",
        attention_resolutions=[2],
        transformer_depth=[1, 2],
        context_dim=WIDTH_L + WIDTH_G,
        spatial_transformer_attn_type="softmax",
    )
    params = {
        "scale_factor": 0.13025,
        "disable_first_stage_autocast": True,
        "denoiser_config": {
            "target": denoiser + "denoiser.DiscreteDenoiser",
            "params": {
                "num_idx": 1000,
                "weighting_config": {"target": denoiser + "denoiser_weighting.EpsWeighting"},
                "scaling_config": {"target": denoiser + f"denoiser_scaling.{'V' if is_v else 'Eps'}Scaling"},
                "discretization_config": {"target": denoiser + "discretizer.LegacyDDPMDiscretization"},
            },
        },
        "network_config": {"target": denoiser + "openaimodel.UNetModel", "params": network},
        "conditioner_config": {"target": "sgm.modules.GeneralConditioner", "params": {"emb_models": texts + sizes}},
        "first_stage_config": first_stage("sgm.models.autoencoder.AutoencoderKLInferenceWrapper", parts),
    }
    return {"model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": params}}
