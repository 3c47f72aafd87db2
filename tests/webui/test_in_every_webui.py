"""One table of cases for every WebUI that can train; a new fork is a row in `kinds.py`.

Each runs in a WebUI's own process, through its API or through `probe.py`, which is an extension of its own there.
"""

from __future__ import annotations

import base64
import re
import urllib.request
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.evaluation.features import PACKAGES
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import load_host
from testbed.embedded import WIDTH
from testbed.kinds import FORGE
from testbed.webui import PROMPT, pixels, wait_until_up

from .conftest import AND_SDNEXT, SIDES
from .forge_families import IN_FORGE, forge_parts
from .test_a1111_host import PICTURE, left
from .test_families_in_webui import half_painted
from .training.test_model_changes import V1, wait

LORA_WIDTHS = {"embedded": (192, WIDTH), "random": (640, 768)}  # of the U-Net's middle, and of the text encoder
SMALL = {"seed": 7, "steps": 4, "width": 64, "height": 64, "cfg_scale": 5, "sampler_name": "Euler a"}
IN_SDNEXT_TOO = pytest.mark.parametrize("anywhere", AND_SDNEXT, indirect=True)
SETTINGS = {"name": "zyx", "initialization_text": "emoji", "template": "a [name]|an emoji of a [name], big"}


def settings(webui, **more):
    side = SIDES[webui.kind.checkpoint]
    return SETTINGS | {"width": side, "height": side} | more


def begin(webui, name, wait=True, **more):
    picture = base64.b64encode(PICTURE.read_bytes()).decode()
    values = settings(webui, save_every=2, check_every=2, template="a [name]", **more)
    wish = {"name": name, "pictures": [picture], "settings": values | {"name": name}, "previews": False, "wait": wait}
    return webui.post(f"{V1}/train", wish, timeout=900)


def delete(webui, name):
    request = urllib.request.Request(f"{webui.url}{V1}/concepts/{name}", method="DELETE")
    return webui._send(request, 60, "")


@IN_SDNEXT_TOO
def test_fifty_steps_are_those_of_the_standalone_host(anywhere):
    values = settings(anywhere, steps=50)
    folder = anywhere.data / "random" if anywhere.kind.checkpoint == "random" else None
    side = values["width"]
    there = anywhere.probe("train", settings=values, picture=str(PICTURE))["losses"]
    host = load_host(folder, "cpu", "fp32")
    (padding,) = anywhere.probe("vae_padding")
    for convolution in host.parts.vae.modules():
        if isinstance(convolution, torch.nn.Conv2d) and any(convolution.padding):
            convolution.padding_mode = padding  # as pictures are encoded and decoded there
    here = Training(host, TrainConfig.from_mapping(values), load_pictures([PICTURE], side, side))
    losses = [float(report.loss) for report in here.run()]
    relative = [abs(a - b) / a for a, b in zip(losses, there, strict=True)]
    print(f"{anywhere.kind.name}: largest relative difference of the loss over 50 steps {max(relative):.2e}")
    assert max(relative[:30]) < 1e-3
    # Differences grow from step to step; with this padding, a millionth more in every prediction comes to 2e-3.
    assert max(relative) < (1e-3 if padding == "zeros" else 1e-2)


@IN_SDNEXT_TOO
@pytest.mark.parametrize("way", [{}, {"stop_after": 2}, {"fail_at": 3}], ids=["done", "stopped", "an error"])
def test_a_picture_is_the_same_to_the_bit_before_and_after(anywhere, way):
    first = anywhere.picture(PROMPT, "blurry")
    before = anywhere.probe("state")
    values = settings(anywhere, steps=4)
    result = anywhere.probe("train", settings=values, picture=str(PICTURE), **way)
    assert len(result["losses"]) == {"stop_after": 2, "fail_at": 3}.get(next(iter(way), ""), 4)
    assert left(before, anywhere.probe("state")) == set()
    assert before["gradients"] == 0
    assert anywhere.picture(PROMPT, "blurry") == first


@IN_SDNEXT_TOO
def test_a_word_is_known_at_once_is_gone_when_deleted_and_comes_back(anywhere):
    unknown, _ = anywhere.picture("a teapotword")
    job = begin(anywhere, "teapotword", steps=4, learning_rate="0.1")
    assert job["status"] == "done", job
    assert anywhere.probe("vectors", name="teapotword") is not None
    learned, infotext = anywhere.picture("a teapotword")
    assert learned != unknown
    assert "teapotword-neg" in infotext, "the negative half is put in by itself"
    delete(anywhere, "teapotword")
    assert anywhere.probe("vectors", name="teapotword") is None
    assert anywhere.picture("a teapotword")[0] == unknown
    anywhere.post(f"{V1}/concepts/teapotword/restore", {})
    assert anywhere.picture("a teapotword")[0] == learned


@IN_SDNEXT_TOO
def test_the_memory_hint_counts_what_a_pass_keeps(anywhere):
    """Forge's and ldm's blocks keep a few small things more than the copy without memory shows."""
    found = anywhere.probe("kept", batch=1, side=8)
    assert found["graph"]
    assert found["plain"] == pytest.approx(found["held"], rel=0.1)
    assert 0 < found["less"] < found["plain"]


@IN_SDNEXT_TOO
@pytest.mark.parametrize("button", ["interrupt", "skip"])
def test_interrupt_and_skip_end_a_training_and_keep_its_best_and_the_next_picture_is_the_same(anywhere, button):
    first = anywhere.picture(PROMPT, "blurry")
    begin(anywhere, f"ended-by-{button}", wait=False, steps=5000)
    wait(anywhere, lambda job: job["step"] >= 3, 300)
    anywhere.post(f"/sdapi/v1/{button}", {})
    job = wait(anywhere, lambda job: job["status"] != "running", 300)
    assert job["status"] == "stopped", job
    assert "is kept as it was at step" in job["message"]
    assert anywhere.picture(PROMPT, "blurry") == first


@IN_SDNEXT_TOO
def test_a_training_is_paused_and_goes_on_to_its_end(anywhere):
    begin(anywhere, "restword", wait=False, steps=5000)
    wait(anywhere, lambda job: job["step"] >= 3, 300)
    anywhere.post(f"{V1}/cancel", {"how": "pause"})
    job = wait(anywhere, lambda job: job["status"] != "running", 300)
    assert job["status"] == "paused", job
    assert anywhere.probe("vectors", name="restword") is None, "unfinished: prompts know nothing of it"
    last = job["step"] + 2
    job = anywhere.post(f"{V1}/continue", {"name": "restword", "steps": last, "wait": True}, timeout=900)
    assert (job["status"], job["step"]) == ("done", last), job
    assert anywhere.probe("vectors", name="restword") is not None


def test_a_training_outlives_reload_ui_which_doubles_nothing(anywhere):
    axes, routes = anywhere.probe("axes"), our_routes(anywhere)
    begin(anywhere, "reloadword", wait=False, steps=5000)
    step = wait(anywhere, lambda job: job["step"] >= 2, 300)["step"]
    starts = anywhere.starts()
    anywhere.probe("reload_ui")
    wait_until_up(anywhere, starts + 1)
    job = wait(anywhere, lambda job: job["step"] > step or job["status"] != "running", 300)
    assert job["status"] == "running", job
    assert (anywhere.probe("axes"), our_routes(anywhere)) == (axes, routes)
    anywhere.post("/sdapi/v1/interrupt", {})
    assert wait(anywhere, lambda job: job["status"] != "running", 300)["status"] == "stopped"


def our_routes(webui):
    paths = webui.get("/openapi.json")["paths"]
    return sorted((path, method) for path, methods in paths.items() for method in methods if path.startswith(V1))


@IN_SDNEXT_TOO
def test_a_start_that_fails_leaves_no_folder(anywhere):
    before = {path.name for path in anywhere.data.glob("embeddings-training/*")}
    answer = begin(anywhere, "unborn", steps=4, initialization_text=" ")
    assert answer["status"] == "failed", answer
    assert {path.name for path in anywhere.data.glob("embeddings-training/*")} == before


def test_the_plot_has_all_three_axes(anywhere):
    ours = [label for label in anywhere.probe("axes") if label.startswith("[DreamArtist]")]
    assert [label.removeprefix("[DreamArtist] ") for label in ours] == [
        "Negative strength",
        "Pair or positive only",
        "Concept step",
    ]


def plotted(webui, prompt, axis, values):
    """The single pictures of an X plot, with the plot's own values for whatever else it takes."""
    scripts = webui.get("/sdapi/v1/script-info")
    [script] = [each for each in scripts if each["name"] == "x/y/z plot" and not each["is_img2img"]]
    wanted = {"Include Sub Images": True, "Use text inputs instead of dropdowns": True, "Draw legend": False}
    arguments = [wanted.get(each["label"], each["value"]) for each in script["args"]]
    names = [each if isinstance(each, str) else each[0] for each in script["args"][0]["choices"]]  # gradio 4: pairs
    arguments[:9] = [names.index(axis), values, [], *[0, "", []] * 2]
    more = {"script_name": "x/y/z plot", "script_args": arguments, **SMALL}
    return [pixels(image) for image in webui.post("/sdapi/v1/txt2img", {"prompt": prompt, **more}, 900)["images"]][1:]


def test_the_plot_draws_a_concept_as_of_each_step(anywhere):
    begin(anywhere, "plotword", steps=4, learning_rate="0.1")
    used, _ = anywhere.picture("a plotword")
    axis, values = "[DreamArtist] Concept step", "plotword 2, plotword 4"
    first, last = plotted(anywhere, "a plotword", axis, values)
    assert first != last
    assert used in (first, last), "one of them is the step in use"
    assert anywhere.picture("a plotword")[0] == used


def test_a_lora_of_an_earlier_picture_is_not_in_a_training(anywhere):
    def losses():
        values = settings(anywhere, steps=2)
        return anywhere.probe("train", settings=values, picture=str(PICTURE))["losses"]

    write_lora(anywhere)
    plain, _ = anywhere.picture(PROMPT)
    before = losses()
    changed, _ = anywhere.picture(f"{PROMPT} <lora:strong:1>")
    assert changed != plain, "the LoRA is in use"
    assert losses() == before
    assert anywhere.picture(f"{PROMPT} <lora:strong:1>")[0] == changed
    assert anywhere.picture(PROMPT)[0] == plain


def write_lora(webui):
    """A large change of a layer of the U-Net's middle and of one of the text encoder."""
    middle, text = LORA_WIDTHS[webui.kind.checkpoint]
    rows = {
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": (middle, middle),
        "lora_te_text_model_encoder_layers_0_mlp_fc1": (4 * text, text),
    }
    generator, tensors = torch.Generator().manual_seed(3), {}
    for name, (height, width) in rows.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, width, generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.randn(height, 4, generator=generator)
    folder = webui.data / "models" / "Lora"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "strong.safetensors")
    webui.post("/sdapi/v1/refresh-loras", {})


def test_a_name_that_prompts_would_take_for_another_word_is_refused(anywhere):
    """Both are the same three tokens; words in folders of the embeddings folder are our own."""
    begin(anywhere, "mugword", steps=2)
    file, other = anywhere.embeddings / "mugword.pt", anywhere.embeddings / "mug - word.pt"
    file.rename(other)
    try:
        anywhere.probe("reload_embeddings")
        assert 'for the embedding "mug - word"' in anywhere.probe("clash", name="mug-word")
        assert anywhere.probe("clash", name="quitefree") == ""
    finally:
        other.rename(file)


@IN_SDNEXT_TOO
@pytest.mark.usefixtures("small_pictures")
def test_a_comparison_is_drawn_on_the_loaded_model(anywhere):
    begin(anywhere, "cupword", steps=2)
    wish = {"name": "cupword", "prompts": ["a [name]"], "seeds": 1, "steps": 2, "wait": True}
    answer = anywhere.post(f"{V1}/compare", wish, timeout=900)
    assert answer["status"] == "done", answer


@pytest.mark.usefixtures("small_pictures")
def test_a_report_is_made_on_the_loaded_model(anywhere):
    if not anywhere.probe("has", package="efficientnet_lite_pytorch"):
        pytest.skip(f"{anywhere.kind.name} has no {PACKAGES}; install them with its pip")
    begin(anywhere, "reportword", steps=2)
    first = anywhere.picture(PROMPT)
    wish = {"names": ["reportword"], "prompts": {"subjects": ["a [name]"]}, "seeds": [1], "guidances": [3], "steps": 2}
    answer = anywhere.post(f"{V1}/evaluate", wish | {"wait": True}, timeout=900)
    assert answer["status"] == "done", answer
    assert {figure["way"] for figure in answer["figures"] if figure["section"] == "subjects"} >= {"pair"}
    assert anywhere.picture(PROMPT) == first


def test_its_log_has_no_word_of_ours_that_warns(anywhere):
    log = anywhere.log.read_text(errors="replace")
    traces = re.findall(r"Traceback \(most recent call last\):\n(?:[ *].*\n)*", log)
    assert not [trace for trace in traces if "dreamartist_ext" in trace]
    assert not [line for line in log.splitlines() if re.search(r"(?i)dreamartist.*(warning|error)", line)]


@pytest.mark.forge
@pytest.mark.parametrize("anywhere", [FORGE], indirect=True, ids=["forge"])
@pytest.mark.parametrize("family", IN_FORGE)
def test_every_family_in_forge_is_the_standalone_hosts(anywhere, family, tmp_path):
    with loaded(anywhere, family):
        first, before = anywhere.picture(PROMPT), anywhere.probe("state")
        here, there = curves(anywhere, forge_parts(tmp_path, family), PICTURE, steps=50)
        relative = [abs(a - b) / a for a, b in zip(here, there, strict=True)]
        print(f"Forge, {family}: largest relative difference of the loss over 50 steps {max(relative):.2e}")
        assert max(relative) < 1e-4
        assert left(before, anywhere.probe("state")) == set()
        assert anywhere.picture(PROMPT) == first


@pytest.mark.forge
@pytest.mark.parametrize("anywhere", [FORGE], indirect=True, ids=["forge"])
@pytest.mark.parametrize("family", ["sd1-inpainting", "sd2-inpainting"])
def test_a_painted_part_is_learned_in_forge_as_standalone(anywhere, family, tmp_path):
    picture = half_painted(tmp_path)
    with loaded(anywhere, family):
        parts = forge_parts(tmp_path / "parts", family)
        here, there = curves(anywhere, parts, picture, steps=4, inpaint="painted")
        assert there == pytest.approx(here, rel=1e-4)
        _, whole = curves(anywhere, parts, picture, steps=4, inpaint="all")
        assert whole != pytest.approx(there, rel=1e-2)


@pytest.mark.forge
@pytest.mark.parametrize("anywhere", [FORGE], indirect=True, ids=["forge"])
@pytest.mark.parametrize("family", IN_FORGE)
def test_a_word_of_every_family_is_used_in_forge(anywhere, family):
    word = f"{family}-word"
    with loaded(anywhere, family):
        unknown, _ = anywhere.picture(f"a {word}")
        job = begin(anywhere, word, steps=4, learning_rate="0.1")
        assert job["status"] == "done", job
        used, infotext = anywhere.picture(f"a {word}")
        assert used != unknown
        assert f"Negative prompt: {word}-neg" in infotext
        delete(anywhere, word)
        assert anywhere.picture(f"a {word}")[0] == unknown


@contextmanager
def loaded(webui, checkpoint):
    webui.probe("load", name=f"{checkpoint}.safetensors")
    try:
        yield
    finally:
        webui.probe("load", name="embedded.safetensors")


def curves(webui, parts, picture, **more):
    """Losses of a training by the standalone host, and by the WebUI's."""
    values = SETTINGS | {"width": 64, "height": 64, "initialization_text": "a cat"} | more
    host = DiffusersHost(parts, torch.device("cpu"), torch.float32)
    run = Training(host, TrainConfig.from_mapping(values), load_pictures([picture], 64, 64))
    here = [float(report.loss) for report in run.run()]
    return here, webui.probe("train", settings=values, picture=str(picture))["losses"]
