"""What SD.Next does in its own way: learned words are tokens of the tokenizer, and weights wait outside of the GPU."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors.torch import save_file

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair
from testbed.embedded import WIDTH
from testbed.webui import PROMPT, pixels

from .conftest import AND_SDNEXT
from .prompts.test_hook_in_webui import OFF, save_pairs
from .test_a1111_host import PICTURE, left
from .test_in_every_webui import SMALL, begin, delete, settings

pytestmark = [pytest.mark.sdnext, pytest.mark.parametrize("anywhere", AND_SDNEXT[-1:], indirect=True)]

VECTORS = {"cat1": (3, 4), "dog2": (2, 2)}
ROWS = [
    ("cat1", "", "cat1-neg"),
    ("a photo of cat1, big", "blurry", "blurry, cat1-neg"),
    ("a (cat1:1.3)", "x", "x, (cat1-neg:1.3)"),
    ("((cat1)) and dog2", "", "(cat1-neg:1.21), dog2-neg"),
    ("[cat1:2]", "x", "x, [cat1-neg:2]"),
    ("[cat1:dog2:2]", "", "[cat1-neg:dog2-neg:2]"),
    ("[cat1|a lion]", "", "[cat1-neg|]"),
    ("cat1 AND dog2", "", "cat1-neg, dog2-neg"),  # a word like any other
    ("cat1 BREAK (dog2:0.5)", "x", "x, cat1-neg, (dog2-neg:0.5)"),
    ("Cat1", "x", "x"),  # upper and lower case are apart
    ("cat1", "cat1-neg", "cat1-neg"),
    (PROMPT, "x", "x"),
]


@pytest.fixture
def words(anywhere):
    save_pairs(anywhere.embeddings, VECTORS, WIDTH, seed=1)
    anywhere.probe("reload_embeddings")
    yield anywhere
    for name in VECTORS:
        for half in (name, f"{name}-neg"):
            (anywhere.embeddings / f"{half}.pt").unlink()
    anywhere.probe("reload_embeddings")


def negative_of(infotext):
    return "".join(re.findall(r"^Negative prompt: (.*)$", infotext, re.MULTILINE))


@pytest.mark.parametrize(("positive", "typed", "expected"), ROWS)
def test_hook_and_hand_make_the_same_picture(words, positive, typed, expected):
    hooked, infotext = words.picture(positive, typed)
    assert negative_of(infotext) == expected
    assert words.picture(positive, expected, **OFF)[0] == hooked
    assert (words.picture(positive, typed, **OFF)[0] != hooked) == (expected != typed)


def test_every_picture_of_every_batch_has_it(words):
    def drawn(negative, **more):
        wish = SMALL | {"prompt": "a cat1", "negative_prompt": negative, "batch_size": 2, "n_iter": 2} | more
        return [pixels(image) for image in words.post("/sdapi/v1/txt2img", wish)["images"]]

    hooked = drawn("x")
    assert len(hooked) == 4
    assert hooked == drawn("x, cat1-neg", **OFF)
    assert all(one != other for one, other in zip(hooked, drawn("x", **OFF), strict=True))


def test_a_hires_pass_has_it_too(words):
    hires = {"enable_hr": True, "hr_force": True, "hr_scale": 2, "hr_upscaler": "Latent Nearest-exact"}
    hires |= {"hr_second_pass_steps": 4, "denoising_strength": 0.6}
    hooked, infotext = words.picture("a cat1", "x", **hires)
    assert words.picture("a cat1", "x")[0] != hooked, "the second pass was drawn"
    assert negative_of(infotext) == "x, cat1-neg"
    assert words.picture("a cat1", "x, cat1-neg", **hires, **OFF)[0] == hooked
    assert words.picture("a cat1", "x", **hires, **OFF)[0] != hooked


def test_a_word_of_another_width_is_left_alone(anywhere):
    save_pairs(anywhere.embeddings, {"widecat": (1, 1)}, 768, seed=2)
    anywhere.probe("reload_embeddings")
    try:
        hooked, infotext = anywhere.picture("a widecat", "x")
        assert negative_of(infotext) == "x"
        assert anywhere.picture("a widecat", "x", **OFF)[0] == hooked
    finally:
        for half in ("widecat", "widecat-neg"):
            (anywhere.embeddings / f"{half}.pt").unlink()
        anywhere.probe("reload_embeddings")


def test_the_plot_has_the_axes_that_need_no_other_vectors(anywhere):
    ours = [label for label in anywhere.probe("axes") if label.startswith("[DreamArtist]")]
    assert set(ours) == {"[DreamArtist] Negative strength", "[DreamArtist] Pair or positive only"}


def test_the_control_tab_runs_only_what_sdnext_marks_as_safe(words):
    """We do not put ourselves on that list. Its own route fails at this commit ("unexpected keyword argument 'xyz'"),
    so that it is asked in the process."""
    assert words.probe("control_tab", prompt="a cat1", negative="x") == ["x"]


def test_a_word_with_fewer_vectors_than_before_leaves_none_of_the_old(anywhere):
    def written(count):
        generator = torch.Generator().manual_seed(count)
        half = {"clip": torch.randn(count, WIDTH, generator=generator) * 0.5}
        save_pair(EmbeddingPair("shrinks", half, half), anywhere.embeddings)
        anywhere.probe("reload_embeddings")
        return [token for token in anywhere.probe("added_tokens") if token.startswith("shrinks")]

    assert "shrinks_2" in written(3)
    assert written(1) == ["shrinks", "shrinks-neg"]
    picture = anywhere.picture("a shrinks")
    assert "shrinks_2" in written(3)
    assert anywhere.picture("a shrinks") != picture
    assert written(1) == ["shrinks", "shrinks-neg"]
    assert anywhere.picture("a shrinks") == picture, "what SD.Next remembers of prompts goes by their texts"
    delete(anywhere, "shrinks")


def test_a_name_that_is_a_token_of_another_word_is_refused(words):
    assert 'for a part of the embedding "cat1"' in words.probe("clash", name="cat1_1")
    assert 'for a part of the embedding "cat1"' in words.probe("clash", name="cat1_3"), "the first it does not have"
    assert words.probe("clash", name="cat1_9") == ""


def test_a_token_of_the_model_gets_no_vector_and_leaves_words_whole_when_its_file_goes(anywhere):
    piece, prompt = "cap", "a captain"
    assert "its model has a token" in anywhere.probe("clash", name=piece)
    before = anywhere.picture(prompt)
    save_pairs(anywhere.embeddings, {piece: (1, 1)}, WIDTH, seed=2)
    anywhere.probe("reload_embeddings")
    assert piece not in anywhere.probe("added_tokens")
    delete(anywhere, piece)
    assert anywhere.picture(prompt) == before


def test_a_lora_that_is_still_in_the_weights_is_one_sentence(anywhere):
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    generator = torch.Generator().manual_seed(3)
    tensors = {f"{layer}.lora_down.weight": torch.randn(4, 192, generator=generator)}
    tensors[f"{layer}.lora_up.weight"] = torch.randn(192, 4, generator=generator)
    folder = anywhere.data / "models" / "Lora"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "strong.safetensors")
    anywhere.post("/sdapi/v1/refresh-loras", {})
    plain, _ = anywhere.picture(PROMPT)
    assert anywhere.picture(f"{PROMPT} <lora:strong:1>")[0] != plain
    job = begin(anywhere, "besidelora", steps=2)
    assert job["status"] == "failed"
    assert "LoRA is still in embedded; draw one without" in job["message"]
    anywhere.picture(PROMPT)
    assert begin(anywhere, "besidelora", steps=2)["status"] == "done"
    delete(anywhere, "besidelora")


def test_offloading_is_taken_off_and_put_back(anywhere):
    values = {"settings": settings(anywhere, steps=2), "picture": str(PICTURE)}
    plain = anywhere.probe("train", **values)["losses"]
    try:
        hooks = anywhere.probe("in_offload_mode", mode="balanced")
        assert hooks
        picture, before = anywhere.picture(PROMPT), anywhere.probe("state")
        assert anywhere.probe("train", **values)["losses"] == pytest.approx(plain, rel=1e-5)
        after = anywhere.probe("state")
        assert left(before, after) == set()
        assert anywhere.picture(PROMPT) == picture
    finally:
        anywhere.probe("in_offload_mode", mode="none")


@pytest.mark.parametrize("mode", ["sequential", "group"])
def test_weights_that_are_out_of_reach_are_one_sentence(anywhere, mode):
    anywhere.probe("options", diffusers_offload_mode=mode)
    try:
        job = begin(anywhere, "outofreach", steps=2)
        assert job["status"] == "failed"
        assert f'in the mode "{mode}", which a training cannot go through' in job["message"]
    finally:
        anywhere.probe("options", diffusers_offload_mode="none")


def test_nothing_of_ours_warns_in_its_log(anywhere):
    log = anywhere.log.read_text(errors="replace")
    found = [line for line in log.splitlines() if re.search(r"(?i)(warning|error).*dreamartist", line)]
    assert found == []
    assert "Traceback" not in log or not re.search(r"dreamartist_ext[^\n]*:\d+ in ", log)
