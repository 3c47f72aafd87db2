"""Files of ours in other programs' loaders, and theirs in ours: docs/files.md says which of these ran for real."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from pathlib import Path

import pytest
import safetensors.torch
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.card import card_bytes
from dreamartist_ext.files.formats import load_embedding
from dreamartist_ext.files.importing import look
from dreamartist_ext.files.storage import save_pair
from dreamartist_ext.hosts.diffusers.components import Components
from testbed.hostile_files import torch_file

from ...models import TEXT_WIDTH, tiny_components

# {"string_to_param": {"*": [[0, 0.25, 0.5, 0.75]]}, "name": "old", "step": 5, "sd_checkpoint_name": "v1", ...}, as
# torch 2.1.2 writes it, compressed: the oldest torch that is supported is 2.1.
OLD_TORCH = (
    "c-oaz&2G~`5MIa5PYul<1;nKi;*ugroCG%x5-qZjFBTA5Az8f`*Ip%7TsvcLB7PL97b@iiIC9`Ic#Cr21$Ys5Z4ucHt<;g%BhSt^^Lf9qM>;"
    "PcRH>j1tD`2eLVMyaaL2KT)t*f~O|7DnjGY&jfLcb40wNN+{@5e|y{6a)ZV3g0qZ^Nbf4#*;xulsDT4x|Ep*Z1f63|X<b52|@63q~w&Rx$j3"
    "HGBPG#5P)O0AYrj`2ZgjWLuHh^TpiMUIo82$i^>1X~7Ay*-<Qs0##cz0;A->B0rv)&-rrfbErS2cCy*;s$;sz6~85V&|1>6A`L=M^GbBKY~V"
    "N(6d3lb%voCR}4G{?!>`};2G@bMPr*iIHo<p_H-7wK7qS$jAlM)#zpQK1-h~5!u@%Bq?ar8AIGa9Wz5#-N+BAkvKHd>6TtyvtEob)gy$0CVO"
    "H$xi$4!aG@Y%hi&fD<M%9j_sn2to-o%os=Lht5h|tSJ#^lS+qg6egpzD~_P=C#2fy0O@p{bplQt6AV<K_49dv>&iYdh|u-nwHue)$N8uI0I("
    "Ej9<H>u75Gh6E&eu&>C9A`kkCJRI)#21-w&*6qu5Nzat7G?aVtkg@#saPP83d9-4d93#8tnI47u2J`%Pm`A6zZ)A`w4s8xk9-bDgnt}i3P;O"
    "lE*!0oYGT09VlovP;PM^qb2K*}p{=Zfuy;OSgPg(xy8d=PFl}r3bKJgUCekACpkUVp7tXN7g#W+97{R=Lr6b="
)
OLD_TORCH_LEGACY = (
    "c-n1H%T60H6rEQRFc4A-RNb*myNKE}3d*K*f!J6)N;lphYwEEQ7iT=zz7wgHM#>5S-@pg(YkUGy7xfH6NT`-|C7*llIoD?y-4gxx?&xvv*Zt"
    "Z1!7@62h<&Xf=(AoB1cfzdgwcE<ty3n4&=c5(?`VanC6{@o(j1~|Mm&hW3(1}OBOSyQBz@NMpqm+s(4rBG{Y&KtZJMy8)-d@LIy5QEXV1-=k"
    "5=VVj>g|h=`AaWSm+xcAwFIW-78X&+H?*{1+7^u&{#1W@Di1Fgj@NuR664*b7w4H3<<RReb#B_jZLQ#I!`0yNShRYJb?sOSl4qVqtRqC-2bv"
    "a9DkaOVYS&`6eSRvoFJ@yrvVLVas}%&q2U#5+z20)mI8fJj-1*|TA3XxfdslA&S4XwcMfk{^Y=WROW0~8jn3e013HuiY|~bgu*<lZNpV@2I<"
    "uV<w)Gn1jmR#Gd}Hw$-qkT)K=8li!*oy^yqx7%Uk-xc+rdAeCywX"
)


def vectors(*widths: int, rows: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    keys = ("clip",) if len(widths) == 1 else ("clip_l", "clip_g")
    return {key: torch.randn(rows, width, generator=generator) for key, width in zip(keys, widths, strict=True)}


def a_pair(*widths: int) -> EmbeddingPair:
    about = {"model": "m", "model_hash": "a1"}
    return EmbeddingPair("mycat", vectors(*widths), vectors(*widths, rows=6, seed=1), 100, about)


def pipeline_of(parts: Components) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.mark.parametrize("content", [OLD_TORCH, OLD_TORCH_LEGACY], ids=["zip", "legacy"])
def test_what_torch_2_1_wrote_is_read(tmp_path, content):
    (tmp_path / "old.pt").write_bytes(zlib.decompress(base64.b85decode(content)))
    embedding = load_embedding(tmp_path / "old.pt")
    assert (embedding.name, embedding.step, embedding.provenance["model"]) == ("old", 5, "v1")
    assert embedding.vectors["clip"].tolist() == [[0, 0.25, 0.5, 0.75]]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_diffusers_loads_both_halves(tmp_path, suffix):
    """`load_textual_inversion`, for real."""
    parts, pair = tiny_components(tmp_path / "model"), a_pair(TEXT_WIDTH)
    pipeline = pipeline_of(parts)
    for path, (word, half) in zip(save_pair(pair, tmp_path, suffix), pair.named().items(), strict=True):
        pipeline.load_textual_inversion(str(path), token=word)
        ids = parts.tokenizer(pipeline.maybe_convert_prompt(word, parts.tokenizer), add_special_tokens=False).input_ids
        assert torch.equal(parts.text_encoder.get_input_embeddings().weight[ids], half["clip"])


def test_diffusers_knows_the_word_of_a_pt_by_itself(tmp_path):
    parts = tiny_components(tmp_path / "model")
    pipeline = pipeline_of(parts)
    pipeline.load_textual_inversion(str(save_pair(a_pair(TEXT_WIDTH), tmp_path)[0]))
    assert parts.tokenizer.convert_tokens_to_ids("mycat_2") == len(parts.tokenizer) - 1


def test_sdxl_is_for_diffusers_by_its_two_keys(tmp_path):
    """As its documentation loads them: each encoder's tensor by itself."""
    state = safetensors.torch.load_file(save_pair(a_pair(768, 1280), tmp_path)[0])
    assert {key: tuple(v.shape) for key, v in state.items()} == {"clip_l": (3, 768), "clip_g": (3, 1280)}
    assert hasattr(StableDiffusionXLPipeline, "load_textual_inversion")


# --- mirrors of loaders that cannot be imported here: what each of them takes from a file, in our own words ---


def forge(path: Path) -> dict[str, torch.Tensor]:
    """backend/text_processing/textual_inversion.py: one tensor under string_to_param; exactly clip_g and clip_l and
    nothing else; or a plain dictionary of one tensor. A PNG's text, decoded, is treated alike."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            text = json.loads(base64.b64decode(picture.text["sd-ti-embedding"]), object_hook=from_json)
        content = text
    else:
        content = opened(path)
    if "string_to_param" in content:
        (tensor,) = content["string_to_param"].values()
        return {"clip": tensor.detach().float()}
    if {"clip_g", "clip_l"} <= set(content):
        return {key: value.detach().float() for key, value in content.items()}
    (tensor,) = content.values()
    return {"clip": tensor.detach().float()}


def sdnext(path: Path) -> dict[str, torch.Tensor]:
    """modules/textual_inversion.py: every tensor of a .safetensors, told apart by its width; of a .pt the one under
    string_to_param and "*" """
    if path.suffix == ".safetensors":
        by_width = {768: "clip_l", 1280: "clip_g"}
        tensors = list(opened(path).values())
        return {by_width[v.shape[1]] if len(tensors) > 1 else "clip": v for v in tensors}
    return {"clip": opened(path)["string_to_param"]["*"]}


def comfyui(path: Path) -> dict[str, torch.Tensor]:
    """sd1_clip.py, `load_embed`, asked once per encoder for a name and its key. The file is looked for by the name as
    it is, then with .safetensors, .pt, .bin; string_to_param goes first, then the encoder's key, then what is first."""
    names = (path.stem, *(path.stem + ending for ending in (".safetensors", ".pt", ".bin")))
    content = opened(next(path.parent / name for name in names if (path.parent / name).is_file()))
    if "string_to_param" in content:
        return {"clip": next(iter(content["string_to_param"].values()))}
    if "clip_l" in content:
        return {key: content[key] for key in ("clip_l", "clip_g")}
    return {"clip": next(iter(content.values()))}


def comfyui_of_old(path: Path) -> dict[str, torch.Tensor]:
    """The same file's way where torch has no strict reader, or refuses: the last member of the archive with "data/" in
    its name and room for one vector, as fp32 numbers, 768 wide if that goes in without rest, and 1024 otherwise."""
    with zipfile.ZipFile(path) as archive:
        members = [archive.read(name) for name in archive.namelist() if "data/" in name]
    numbers = next(torch.frombuffer(bytearray(m), dtype=torch.float32) for m in reversed(members) if len(m) >= 4 * 768)
    return {"clip": numbers.reshape(-1, 1024 if len(numbers) % 768 else 768)}


def opened(path: Path) -> dict:
    """With torch's own strict reader, which is the default since 2.6."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def from_json(content: dict) -> object:
    return torch.tensor(content["TORCHTENSOR"]) if "TORCHTENSOR" in content else content


@pytest.mark.parametrize("loader", [forge, sdnext, comfyui])
@pytest.mark.parametrize(
    ("widths", "suffix"), [((768,), ".pt"), ((768,), ".safetensors"), ((768, 1280), ".safetensors")]
)
def test_both_halves_are_what_other_programs_look_for(tmp_path, loader, widths, suffix):
    pair = a_pair(*widths)
    for path, half in zip(save_pair(pair, tmp_path, suffix), pair.named().values(), strict=True):
        found = loader(path)
        assert set(found) == set(half)
        assert all(torch.equal(found[key], half[key]) for key in half)


@pytest.mark.parametrize(("width", "rows"), [(768, 3), (768, 6), (1024, 1), (1024, 2), (1024, 5)])
def test_comfyui_finds_the_numbers_without_torchs_reader(tmp_path, width, rows):
    half = vectors(width, rows=rows)
    for path in save_pair(EmbeddingPair("mycat", half, half, 1, {"model": "m" * 5000}), tmp_path):
        assert torch.equal(comfyui_of_old(path)["clip"], half["clip"])


@pytest.mark.parametrize("widths", [(768,), (768, 1280)])
def test_forge_takes_the_positive_from_a_card(tmp_path, widths):
    pair = a_pair(*widths)
    (tmp_path / "c.png").write_bytes(card_bytes(pair, Image.new("RGB", (8, 8))))
    found = forge(tmp_path / "c.png")
    assert all(torch.equal(found[key], pair.positive[key]) for key in pair.positive)


# --- what other programs write ---

TENSOR = torch.arange(32.0).reshape(2, 16)
THEIRS = {
    "WebUI": {"string_to_token": {"*": 265}, "string_to_param": {"*": TENSOR}, "name": "x", "step": 5},
    "WebUI, old": {
        "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(TENSOR)}),
        "name": "x",
        "step": 5,
    },
    "original DreamArtist": {"string_to_token": {"*": 265}, "string_to_param": {"*": TENSOR.clone().requires_grad_()}},
    "CompVis": {"string_to_token": {"*": 265}, "string_to_param": torch.nn.ParameterDict({"*": TENSOR})},
    "kohya": {"emb_params": TENSOR},
    "diffusers": {"<cat-toy>": TENSOR},
    "HCP": {"string_to_param": {"*": torch.nn.Parameter(TENSOR)}, "name": "x"},
    "half precision": {"string_to_param": {"*": TENSOR.half()}, "name": "x", "step": 5},
}


@pytest.mark.parametrize("program", sorted(THEIRS))
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_other_programs_write_is_read(tmp_path, program, legacy):
    (tmp_path / "theirs.pt").write_bytes(torch_file(THEIRS[program], legacy))
    assert torch.equal(load_embedding(tmp_path / "theirs.pt").vectors["clip"], TENSOR)


@pytest.mark.parametrize("key", ["emb_params", "<cat-toy>", "string_to_param.*"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_others_safetensors_are_read(tmp_path, key, dtype):
    safetensors.torch.save_file({key: TENSOR.to(dtype)}, tmp_path / "theirs.safetensors")
    assert torch.equal(load_embedding(tmp_path / "theirs.safetensors").vectors["clip"], TENSOR)


def test_a_single_vector_of_diffusers_is_read(tmp_path):
    torch.save({"<cat-toy>": torch.ones(768)}, tmp_path / "learned_embeds.bin")
    embedding = load_embedding(tmp_path / "learned_embeds.bin")
    assert (embedding.name, embedding.vectors["clip"].shape) == ("<cat-toy>", (1, 768))


def test_the_originals_pair_is_one_offer(tmp_path):
    """The Chinese original's `-neg` files have no ids: they belong together by their names."""
    for name in ("cat.pt", "cat-neg.pt"):
        (tmp_path / name).write_bytes(torch_file(THEIRS["original DreamArtist"]))
    (offer,), refusals = look(sorted(tmp_path.iterdir()))
    assert (offer.words, refusals) == (("cat", "cat-neg"), [])


def test_our_pt_has_only_what_old_allow_lists_know(tmp_path):
    for path in save_pair(a_pair(768), tmp_path):
        content = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
        assert type(content["string_to_param"]) is dict
        assert {type(value) for value in content["dreamartist"].values()} == {str}
