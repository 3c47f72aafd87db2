"""Our word beside ADetailer, MultiDiffusion and an extension that fills in wildcards, in a real WebUI that has all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from testbed.embedded import WIDTH
from testbed.webui import WEBUI, make_data_folder, pixels, running

from .prompts.test_hook_in_webui import OFF, VECTORS, negative_of, save_pairs

pytestmark = pytest.mark.webui

ADETAILER, MULTIDIFFUSION = "adetailer", "multidiffusion-upscaler-for-automatic1111"
DETECTOR = "random.pt"  # untrained: finds boxes anywhere, the same ones in the same picture


@pytest.fixture(scope="module")
def webui(tmp_path_factory):
    for name in (ADETAILER, MULTIDIFFUSION):
        if not (WEBUI / "extensions" / name).is_dir():
            pytest.skip(f"no {name} in {WEBUI / 'extensions'}")
    data = tmp_path_factory.mktemp("others")
    make_data_folder(data)
    for name in (ADETAILER, MULTIDIFFUSION):
        (data / "extensions" / name).symlink_to(WEBUI / "extensions" / name)
    scripts = data / "extensions" / "dreamartist-wildcards" / "scripts"
    scripts.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("wildcards.py"), scripts / "of_the_test.py")
    make_detector(data / "models" / "adetailer" / DETECTOR)
    save_pairs(data / "embeddings", VECTORS, WIDTH, seed=1)
    with running(data, "--api", "--ad-no-huggingface") as webui:
        yield webui


def make_detector(path):
    """A YOLO that nobody trained: with a confidence of 0 its boxes will do."""
    path.parent.mkdir(parents=True)
    python = os.environ.get("WEBUI_PYTHON", str(WEBUI / "venv" / "bin" / "python"))
    code = f"import torch; torch.manual_seed(0); from ultralytics import YOLO; YOLO('yolov8n.yaml').save({str(path)!r})"
    subprocess.run([python, "-c", code], check=True, cwd=path.parent, env=os.environ | {"YOLO_OFFLINE": "true"})


def drawn(webui, prompt, negative="", ours=None, **others):
    """Pixels and infotext of one picture; `ours` and `others` are arguments of scripts by their titles."""
    scripts = {title.replace("_", " "): {"args": args} for title, args in others.items()}
    return webui.picture(prompt, negative, alwayson_scripts={**(ours or {}).get("alwayson_scripts", {}), **scripts})


def detailed(**more):
    """ADetailer's arguments: on, not instead of img2img, its one tab."""
    tab = {"ad_model": DETECTOR, "ad_confidence": 0.0, "ad_mask_k": 1, "ad_denoising_strength": 0.9}
    return [True, False, tab | more]


@pytest.fixture
def ours_in_adetailer(webui):
    """With our script among those that ADetailer runs in its own pass."""
    before = webui.get("/sdapi/v1/options")["ad_script_names"]
    webui.probe("options", ad_script_names="dreamartist,wildcards")
    yield
    webui.probe("options", ad_script_names=before)


def test_adetailer_copies_the_negative_of_the_picture(webui):
    plain, _ = drawn(webui, "cat1 in snow", "x")
    hooked, infotext = drawn(webui, "cat1 in snow", "x", ADetailer=detailed())
    assert negative_of(infotext) == "x, cat1-neg"
    assert hooked != plain, "ADetailer has drawn"
    by_hand, _ = drawn(webui, "cat1 in snow", "x, cat1-neg", OFF, ADetailer=detailed())
    assert hooked == by_hand
    assert hooked != drawn(webui, "cat1 in snow", "x", OFF, ADetailer=detailed())[0]


def test_a_word_in_adetailers_own_prompt_brings_its_negative_where_adetailer_lets_us(webui, ours_in_adetailer):
    hooked, infotext = drawn(webui, "a tree", "x", ADetailer=detailed(ad_prompt="dog2"))
    assert negative_of(infotext) == "x"
    by_hand = detailed(ad_prompt="dog2", ad_negative_prompt="x, dog2-neg")
    assert drawn(webui, "a tree", "x", OFF, ADetailer=by_hand)[0] == hooked
    own = detailed(ad_prompt="dog2", ad_negative_prompt="y")
    by_hand = detailed(ad_prompt="dog2", ad_negative_prompt="y, dog2-neg")
    assert drawn(webui, "a tree", "x", ADetailer=own)[0] == drawn(webui, "a tree", "x", OFF, ADetailer=by_hand)[0]


def test_the_picture_and_adetailers_pass_each_have_their_own(webui, ours_in_adetailer):
    hooked, infotext = drawn(webui, "cat1", "x", ADetailer=detailed(ad_prompt="(dog2:1.2)"))
    assert negative_of(infotext) == "x, cat1-neg"
    assert "DreamArtist: cat1 -> cat1-neg" in infotext
    by_hand = detailed(ad_prompt="(dog2:1.2)", ad_negative_prompt="x, cat1-neg, (dog2-neg:1.2)")
    assert drawn(webui, "cat1", "x, cat1-neg", OFF, ADetailer=by_hand)[0] == hooked
    same, _ = drawn(webui, "cat1", "x", ADetailer=detailed(ad_prompt="cat1, big"))
    by_hand = detailed(ad_prompt="cat1, big", ad_negative_prompt="x, cat1-neg")
    assert drawn(webui, "cat1", "x, cat1-neg", OFF, ADetailer=by_hand)[0] == same, "not twice"


def test_adetailers_own_choice_of_scripts_leaves_us_out(webui):
    """Its default: README says what to add to it."""
    hooked, _ = drawn(webui, "a tree", "x", ADetailer=detailed(ad_prompt="dog2"))
    assert drawn(webui, "a tree", "x", OFF, ADetailer=detailed(ad_prompt="dog2"))[0] == hooked


def tiled(webui, region):
    """MultiDiffusion's arguments as its page begins, with tiles small enough for a small picture."""
    [script] = [
        each
        for each in webui.get("/sdapi/v1/script-info")
        if each["name"] == "tiled diffusion" and not each["is_img2img"]
    ]
    args = [each["value"] for each in script["args"]]
    args[0] = True
    args[6:10] = [16, 16, 4, 4]  # tile width and height, overlap (all in latents), tiles at once
    if region:
        args[18:20] = True, True  # control of regions, with a background
        args[21:31] = [True, 0.0, 0.0, 0.6, 1.0, *region, "Background", 0.2, 5]
    return args


def wide(webui, prompt, negative, ours=None, region=()):
    """`region`: a positive and a negative prompt for the left part, or nothing."""
    scripts = (ours or {}).get("alwayson_scripts", {}) | {"Tiled Diffusion": {"args": tiled(webui, region)}}
    return webui.picture(prompt, negative, width=256, height=128, alwayson_scripts=scripts)


def test_multidiffusions_tiles_have_the_negative(webui):
    hooked, infotext = wide(webui, "[cat1:0.4], dog2", "x")
    expected = "x, [cat1-neg:0.4], dog2-neg"
    assert negative_of(infotext) == expected
    assert "Tiled Diffusion" in infotext
    assert wide(webui, "[cat1:0.4], dog2", expected, OFF)[0] == hooked
    assert wide(webui, "[cat1:0.4], dog2", "x", OFF)[0] != hooked
    assert webui.picture("[cat1:0.4], dog2", "x", width=256, height=128)[0] != hooked, "tiles were drawn"


def test_multidiffusions_regions_have_the_negative_of_the_prompt(webui):
    region = ("a red heart", "y")
    hooked, infotext = wide(webui, "cat1", "x", region=region)
    assert negative_of(infotext) == "x, cat1-neg"
    assert wide(webui, "cat1", "x, cat1-neg", OFF, region=region)[0] == hooked
    assert wide(webui, "cat1", "x", OFF, region=region)[0] != hooked


def test_a_word_in_a_regions_own_prompt_brings_nothing(webui):
    """MultiDiffusion asks no script about it: its negative is typed by hand, as README says."""
    region = ("dog2", "y")
    hooked, infotext = wide(webui, "a tree", "x", region=region)
    assert negative_of(infotext) == "x"
    assert wide(webui, "a tree", "x", OFF, region=region)[0] == hooked
    assert wide(webui, "a tree", "x", OFF, ("dog2", "y, dog2-neg"))[0] != hooked


def test_wildcards_give_each_picture_of_a_batch_its_own(webui):
    def batch(prompt, negative, **more):
        values = {"prompt": prompt, "negative_prompt": negative, "seed": 7, "steps": 4, "width": 64, "height": 64}
        values |= {"sampler_name": "Euler a", "cfg_scale": 5, "batch_size": 2, "n_iter": 2}
        answer = webui.post("/sdapi/v1/txt2img", values | more)
        info = json.loads(answer["info"])
        first = info["index_of_first_image"]
        return [pixels(image) for image in answer["images"][first:]], info["infotexts"][first:]

    made, infotexts = batch("a __pet__ in snow", "x")
    assert [negative_of(text) for text in infotexts] == ["x, cat1-neg", "x, dog2-neg"] * 2
    by_hand, plain = batch("a __pet__ in snow", "x, __other-half__", **OFF)
    assert [negative_of(text) for text in plain] == [negative_of(text) for text in infotexts]
    assert made == by_hand
    assert len(set(made)) == 4
