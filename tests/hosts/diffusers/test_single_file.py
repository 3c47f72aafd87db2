"""Diffusers' folder <-> the WebUI's single file: nothing is lost, and what ldm could not build is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from dreamartist_ext.engine.errors import FileError, ModelError
from dreamartist_ext.hosts.diffusers.single_file import to_diffusers, to_single_file
from tools.embedded_model.shapes import make_scheduler, make_text_encoder, make_unet, make_vae
from tools.embedded_model.tokenizer import END, START, byte_alphabet

WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


def write_tokenizer(folder: Path) -> int:
    """CLIP's alphabet with two merges; returns the number of tokens."""
    alphabet = byte_alphabet()
    merges = [("c", "a"), ("ca", "t</w>")]
    tokens = [*alphabet, *(c + "</w>" for c in alphabet), *("".join(pair) for pair in merges), START, END]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", **special}))
    return len(tokens)


def embedded_model(folder: Path) -> None:
    """Our own shape: heads of 32 channels, one layer per block, attention on two of three levels, half precision."""
    tokens = write_tokenizer(folder / "tokenizer")
    vae = make_vae()
    vae.register_to_config(scaling_factor=1.234)
    save(
        folder,
        make_unet((96, 96, 192), (0, 1)).half(),
        vae.half(),
        make_text_encoder(tokens, tokens - 2, tokens - 1).half(),
    )
    make_scheduler().save_pretrained(folder / "scheduler")


def sd15_like(folder: Path) -> None:
    """Stable Diffusion 1.5's kind: two layers per block, eight heads on every level with attention."""
    tokens = write_tokenizer(folder / "tokenizer")
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=2,
        cross_attention_dim=32,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64),
        layers_per_block=2,
        latent_channels=4,
        sample_size=16,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
        )
    )
    save(folder, unet, vae, text)
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction"
    ).save_pretrained(folder / "scheduler")


def save(folder: Path, unet: UNet2DConditionModel, vae: AutoencoderKL, text: CLIPTextModel) -> None:
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    text.save_pretrained(folder / "text_encoder")


SHAPES = {"embedded": embedded_model, "sd15-like": sd15_like}


@pytest.fixture(scope="module", params=SHAPES)
def converted(request, tmp_path_factory) -> tuple[Path, Path, Path]:
    """(the folder, its single file, the folder made from that file)"""
    root = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    SHAPES[request.param](root / "model")
    to_single_file(root / "model", root / "single.v1.safetensors")
    to_diffusers(root / "single.v1.safetensors", root / "back")
    return root / "model", root / "single.v1.safetensors", root / "back"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    sd15_like(tmp_path / "model")
    return tmp_path / "model"


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("part", WEIGHTS)
def test_every_tensor_comes_back(converted, part):
    folder, _, back = converted
    before, after = (
        {name.removeprefix("text_model."): tensor for name, tensor in load_file(root / part / WEIGHTS[part]).items()}
        for root in (folder, back)
    )
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype, name
        assert torch.equal(tensor, after[name]), name


@torch.no_grad()
def test_the_networks_compute_the_same(converted):
    generator = torch.Generator().manual_seed(1)
    latents, timesteps = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([981, 37])
    pixels = torch.rand(1, 3, 32, 32, generator=generator) * 2 - 1
    outputs = []
    for root in (converted[0], converted[2]):
        unet = UNet2DConditionModel.from_pretrained(root / "unet", torch_dtype=torch.float32)
        vae = AutoencoderKL.from_pretrained(root / "vae", torch_dtype=torch.float32)
        text = CLIPTextModel.from_pretrained(root / "text_encoder").float().eval()
        cond = text(torch.arange(20).reshape(2, 10)).last_hidden_state
        mean = vae.encode(pixels).latent_dist.mean
        outputs.append((unet(latents, timesteps, cond).sample, mean, vae.decode(mean).sample, cond))
    for before, after in zip(*outputs, strict=True):
        assert before.std() > 0
        assert torch.equal(before, after)


def test_sizes_scale_and_schedule_come_back(converted):
    folder, _, back = converted
    same = {
        "unet/config.json": ("sample_size", "block_out_channels", "down_block_types", "attention_head_dim"),
        "vae/config.json": ("sample_size", "block_out_channels", "layers_per_block", "scaling_factor"),
        "text_encoder/config.json": ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"),
        "scheduler/scheduler_config.json": ("beta_start", "beta_end", "beta_schedule", "prediction_type"),
    }
    for name, keys in same.items():
        before, after = (json.loads((root / name).read_text()) for root in (folder, back))
        assert [before[key] for key in keys] == [after[key] for key in keys]
    for name in ("vocab.json", "merges.txt"):
        assert (folder / "tokenizer" / name).read_bytes() == (back / "tokenizer" / name).read_bytes()


def test_the_single_file_has_the_names_of_stable_diffusion(converted):
    tensors = load_file(converted[1])
    unet, vae = "model.diffusion_model.", "first_stage_model."
    text = "cond_stage_model.transformer.text_model."
    for name in (
        f"{unet}time_embed.0.weight",
        f"{unet}input_blocks.0.0.weight",
        f"{unet}input_blocks.1.0.in_layers.0.weight",
        f"{unet}input_blocks.1.0.emb_layers.1.bias",
        f"{unet}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        f"{unet}middle_block.1.proj_in.weight",
        f"{unet}middle_block.2.out_layers.3.weight",
        f"{unet}output_blocks.0.0.skip_connection.weight",
        f"{unet}out.2.bias",
        f"{vae}encoder.down.0.block.0.norm1.weight",
        f"{vae}encoder.down.0.downsample.conv.weight",
        f"{vae}encoder.mid.attn_1.q.weight",
        f"{vae}decoder.mid.block_2.conv1.weight",
        f"{vae}decoder.up.1.upsample.conv.weight",
        f"{vae}decoder.norm_out.weight",
        f"{vae}post_quant_conv.weight",
        f"{text}embeddings.token_embedding.weight",
        f"{text}encoder.layers.1.self_attn.q_proj.weight",
        f"{text}final_layer_norm.bias",
    ):
        assert name in tensors
    assert tensors[f"{vae}encoder.mid.attn_1.q.weight"].ndim == 4
    assert tensors[f"{text}embeddings.position_ids"].tolist() == [list(range(77))]
    assert {name.split(".")[0] for name in tensors} == {"model", "first_stage_model", "cond_stage_model"}


def test_down_and_up_sampling_stand_where_ldm_has_them(small, tmp_path):
    to_single_file(small, tmp_path / "one.safetensors")
    names = {name.removeprefix("model.diffusion_model.") for name in load_file(tmp_path / "one.safetensors")}
    assert "input_blocks.3.0.op.weight" in names  # after the first level's two layers
    assert "input_blocks.4.0.skip_connection.weight" in names
    assert "output_blocks.2.1.conv.weight" in names  # the level without attention: second part of its last block
    assert "output_blocks.5.1.norm.weight" in names


def test_the_yaml_says_what_ldm_needs(converted):
    folder, single, _ = converted
    params = yaml.safe_load(single.with_suffix(".yaml").read_text())["model"]["params"]
    unet = params["unet_config"]["params"]
    config = json.loads((folder / "unet" / "config.json").read_text())
    assert [unet["model_channels"] * times for times in unet["channel_mult"]] == config["block_out_channels"]
    if config["attention_head_dim"] == 8:
        assert unet["num_heads"] == 8
        assert unet["attention_resolutions"] == [1]
        assert params["parameterization"] == "v"
    else:
        assert unet["num_head_channels"] == 32
        assert unet["attention_resolutions"] == [2, 1]
        assert params["linear_end"] == 0.020
        assert params["scale_factor"] == 1.234
    version = Path(params["cond_stage_config"]["params"]["version"])
    assert version.is_absolute()
    assert {"config.json", "vocab.json", "merges.txt"} <= {path.name for path in version.iterdir()}


REFUSED = {
    "widths": ("unet", {"block_out_channels": [32, 48]}, "whole multiples"),
    "heads": ("unet", {"attention_head_dim": [8, 4]}, None),  # 4 and 16 channels per head
    "linear projection": ("unet", {"use_linear_projection": True}, "use_linear_projection"),
    "attention down only": ("unet", {"up_block_types": ["UpBlock2D", "UpBlock2D"]}, "same levels"),
    "unknown block": ("unet", {"down_block_types": ["CrossAttnDownBlock2D", "KDownBlock2D"]}, "blocks"),
    "text width": ("unet", {"cross_attention_dim": 64}, "text width of 64"),
    "groups": ("vae", {"norm_num_groups": 16}, "norm_num_groups"),
    "VAE widths": ("vae", {"block_out_channels": [64, 32]}, "whole multiples"),
    "schedule": ("scheduler", {"beta_schedule": "linear"}, "beta_schedule"),
    "prediction": ("scheduler", {"prediction_type": "sample"}, "prediction type"),
    "more layers than weights": ("vae", {"layers_per_block": 3}, "lack"),
    "fewer layers than weights": ("unet", {"layers_per_block": 1}, "no place"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_ldm_would_not_build_is_refused_and_nothing_is_written(small, tmp_path, case):
    part, changes, words = REFUSED[case]
    edit(small / part / ("scheduler_config.json" if part == "scheduler" else "config.json"), **changes)
    with pytest.raises(ModelError, match=words):
        to_single_file(small, tmp_path / "one.safetensors")
    assert list(tmp_path.iterdir()) == [small]


def test_without_a_tokenizer_in_clips_format_nothing_is_written(small, tmp_path):
    (small / "tokenizer" / "merges.txt").unlink()
    with pytest.raises(ModelError, match=r"merges\.txt"):
        to_single_file(small, tmp_path / "one.safetensors")
    assert list(tmp_path.iterdir()) == [small]


def test_a_failed_write_leaves_the_earlier_file(small, tmp_path):
    out = tmp_path / "one.safetensors"
    to_single_file(small, out)
    before = {path: path.read_bytes() for path in (out, out.with_suffix(".yaml"))}
    for path in out.with_suffix(".clip").iterdir():
        path.unlink()
    out.with_suffix(".clip").rmdir()
    out.with_suffix(".clip").write_text("in the way")
    edit(small / "vae" / "config.json", scaling_factor=0.5)
    with pytest.raises(FileError):
        to_single_file(small, out)
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "one.safetensors", "one.yaml", "one.clip"}


def test_an_incomplete_single_file_is_refused(small, tmp_path):
    out = tmp_path / "one.safetensors"
    to_single_file(small, out)
    whole = {name: tensor.clone() for name, tensor in load_file(out).items()}  # not the file mapped into memory
    for lost in (
        "model.diffusion_model.middle_block.1.proj_out.weight",
        "first_stage_model.decoder.up.0.block.1.conv2.bias",
        "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.weight",
    ):
        save_file({name: tensor for name, tensor in whole.items() if name != lost}, out)
        with pytest.raises(ModelError, match="lack"):
            to_diffusers(out, tmp_path / "back")
        assert not (tmp_path / "back").exists()


@torch.no_grad()
def test_diffusers_own_reader_agrees(small, tmp_path):
    """The library reads single files too, if the heads are counted once and the text encoder is left to the caller."""
    to_single_file(small, tmp_path / "one.safetensors")
    for kind, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae")):
        ours = kind.from_pretrained(small / part).state_dict()
        theirs = kind.from_single_file(
            str(tmp_path / "one.safetensors"), original_config=str(tmp_path / "one.yaml"), local_files_only=True
        ).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_single_file_without_its_yaml_or_of_another_kind_is_refused(small, tmp_path):
    out = tmp_path / "one.safetensors"
    to_single_file(small, out)
    config = yaml.safe_load(out.with_suffix(".yaml").read_text())
    config["model"]["params"]["cond_stage_config"]["target"] = "ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder"
    out.with_suffix(".yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ModelError, match="v1-type"):
        to_diffusers(out, tmp_path / "back")
    out.with_suffix(".yaml").unlink()
    with pytest.raises(ModelError, match="YAML"):
        to_diffusers(out, tmp_path / "back")


def test_moved_files_find_the_text_folder_beside_them(small, tmp_path):
    to_single_file(small, tmp_path / "one.safetensors")
    (tmp_path / "elsewhere").mkdir()
    for name in ("one.safetensors", "one.yaml", "one.clip"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    to_diffusers(tmp_path / "elsewhere" / "one.safetensors", tmp_path / "back")
    assert (tmp_path / "back" / "tokenizer" / "vocab.json").is_file()


def test_a_folder_with_something_in_it_is_not_overwritten(small, tmp_path):
    to_single_file(small, tmp_path / "one.safetensors")
    with pytest.raises(FileError, match="not empty"):
        to_diffusers(tmp_path / "one.safetensors", small)
