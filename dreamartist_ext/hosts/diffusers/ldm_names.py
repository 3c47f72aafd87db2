"""Every tensor's name in diffusers' layout and in the original ("ldm") single file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .ldm_config import Config, attention_levels, layers_of

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


def unet_names(config: Mapping[str, Any]) -> dict[str, str]:
    """diffusers' name -> ldm's, for every tensor of the U-Net."""
    widths, layers = config["block_out_channels"], layers_of(config, "U-Net")
    attention = attention_levels(config)
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
    widths, layers = config["block_out_channels"], layers_of(config, "VAE")
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


def text_names(config: Config) -> dict[str, str]:
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
