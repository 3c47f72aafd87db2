"""In a real WebUI, for every row of the table: three pictures that are equal to the bit.

The picture with the hook, the one with the effective negative typed by hand and the hook off, and the one of a WebUI
without the extension that holds the same files.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.storage import save_pair
from testbed.embedded import WIDTH
from testbed.webui import make_data_folder, pixels, start

from .test_prompt_hook import ROWS

pytestmark = pytest.mark.webui

STEPS = 12  # [tree:cat1:10] has an end
OFF = {"alwayson_scripts": {"DreamArtist": {"args": [False, 1.0]}}}
AWKWARD = ("AND1", "x-breaK_y", "a--b__c", "q9" * 32)  # names that the tab takes
VECTORS = dict.fromkeys(AWKWARD, (1, 1)) | {
    "cat1": (3, 4),
    "dog2": (2, 2),
    "big1": (2, 74),
}  # of either half; with a word before it, 74 need a chunk more
OTHER_WIDTH = {"cat3": (1, 1)}
IN_WEBUI = [row for row in ROWS if row[0] != "concat1"] + [
    ("<lora:cat1:1> a tree", "x", "x"),
    ("a tree # cat1", "x", "x"),
    ("cat1 # dog2", "x # y", "x, cat1-neg"),
    ("[ca|do]t1, (dog2:1.1)", "", "(dog2-neg:1.1), [cat1-neg|]"),
    ("cat1", "(open", "cat1-neg, (open"),
]


def save_pairs(folder, vectors, width, seed):
    """Random vectors, large enough to be seen in the picture."""
    generator = torch.Generator().manual_seed(seed)
    for name, counts in vectors.items():
        halves = [{"clip": torch.randn(count, width, generator=generator) * 0.5} for count in counts]
        save_pair(EmbeddingPair(name, *halves), folder)


@pytest.fixture(scope="module")
def words(webui):
    save_pairs(webui.embeddings, VECTORS, WIDTH, seed=1)
    save_pairs(webui.embeddings, OTHER_WIDTH, 768, seed=2)
    webui.post("/sdapi/v1/refresh-embeddings", {})
    yield webui
    for name in [*VECTORS, *OTHER_WIDTH]:
        for half in (name, f"{name}-neg"):
            (webui.embeddings / f"{half}.pt").unlink()
    webui.post("/sdapi/v1/refresh-embeddings", {})


@pytest.fixture(scope="module")
def without_extension(words, tmp_path_factory):
    """A second WebUI that knows nothing of us and holds the same files."""
    data = tmp_path_factory.mktemp("plain")
    make_data_folder(data)
    (data / "extensions" / "dreamartist").unlink()
    for file in words.embeddings.glob("*.pt"):
        shutil.copy(file, data / "embeddings")
    running = start(data, "--api")
    yield running
    running.process.terminate()
    running.process.wait(30)


def picture(webui, prompt, negative="", **options):
    return webui.picture(prompt, negative, **({"steps": STEPS} | options))


def negative_of(infotext):
    return "".join(re.findall(r"^Negative prompt: (.*)$", infotext, re.MULTILINE))


def hires_negative_of(infotext):
    found = re.search(r'Hires negative prompt: ("(?:[^"\\]|\\.)*"|[^,\n]*)', infotext)
    if found is None:
        return negative_of(infotext)
    return json.loads(found[1]) if found[1].startswith('"') else found[1]


def times_named(webui, model, word):
    """How often the log says that a model cannot use a word: once, whatever was drawn before."""
    sentence = f'{model}.safetensors: "{word}" was learned on another kind of model'
    return webui.log.read_text(errors="replace").count(sentence)


def told_by_the_webui(infotext):
    """An infotext without our line, and without the hashes that the WebUI leaves out for prompts that it has cached."""
    return re.sub(r', (DreamArtist|TI hashes): ("[^"]*"|[^,]*)', "", infotext)


@pytest.mark.parametrize(("positive", "typed", "expected"), IN_WEBUI)
def test_hook_and_hand_make_the_same_picture(words, positive, typed, expected):
    hooked, infotext = picture(words, positive, typed)
    assert negative_of(infotext) == expected
    by_hand, plain_infotext = picture(words, positive, expected, **OFF)
    assert hooked == by_hand
    assert told_by_the_webui(infotext) == told_by_the_webui(plain_infotext)
    is_added = expected.strip() not in (typed.strip(), typed.partition("#")[0].strip())
    assert ("DreamArtist: " in infotext) == is_added
    assert (picture(words, positive, typed, **OFF)[0] != hooked) == is_added


@pytest.mark.parametrize(("positive", "typed", "expected"), IN_WEBUI)
def test_an_infotext_read_back_makes_the_same_picture(words, positive, typed, expected):
    hooked, infotext = picture(words, positive, typed)
    values = {"infotext": infotext, "width": 64, "height": 64}
    answer = words.post("/sdapi/v1/txt2img", values)
    assert pixels(answer["images"][0]) == hooked
    again = json.loads(answer["info"])["infotexts"][0]
    assert negative_of(again) == expected
    assert "DreamArtist" not in again


@pytest.mark.parametrize(("positive", "typed", "expected"), IN_WEBUI)
def test_a_webui_without_the_extension_makes_the_same_picture(words, without_extension, positive, typed, expected):
    hooked, _ = picture(words, positive, typed)
    assert picture(without_extension, positive, expected)[0] == hooked


def test_off_and_without_a_word_the_extension_changes_nothing(words, without_extension):
    for prompt, options in [("a red heart", {}), ("cat1", OFF), ("cat1", {"override_settings": off_in_settings()})]:
        here, infotext = picture(words, prompt, "x", **options)
        there, plain_infotext = picture(without_extension, prompt, "x")
        assert here == there
        assert told_by_the_webui(infotext) == told_by_the_webui(plain_infotext)


def off_in_settings():
    return {"dreamartist_enabled": False}


@pytest.mark.parametrize(("strength", "expected"), [(0.5, "(cat1-neg:0.5)"), (2, "(cat1-neg:2)"), (0, "")])
def test_strength_in_the_accordion(words, without_extension, strength, expected):
    hooked, infotext = picture(words, "cat1", alwayson_scripts={"DreamArtist": {"args": [True, strength]}})
    assert negative_of(infotext) == expected
    assert picture(words, "cat1", expected, **OFF)[0] == hooked
    assert picture(without_extension, "cat1", expected)[0] == hooked


def test_settings_switch_words_off_and_scale_them(words):
    settings = {"dreamartist_off_concepts": "cat1", "dreamartist_strength": 0.5}
    _, infotext = picture(words, "cat1 and dog2", override_settings=settings)
    assert negative_of(infotext) == "(dog2-neg:0.5)"


def test_a_style_comes_before(words, without_extension):
    known = [style["name"] for style in words.get("/sdapi/v1/prompt-styles")]
    assert "pets" in known, "make_data_folder in testbed/webui.py is to write the style pets into styles.csv"
    hooked, infotext = picture(words, "a photo", styles=["pets"])
    assert negative_of(infotext) == "cat1-neg"
    assert picture(words, "a photo, cat1", "cat1-neg", **OFF)[0] == hooked
    assert picture(without_extension, "a photo", "cat1-neg", styles=["pets"])[0] == hooked


@pytest.mark.parametrize("name", AWKWARD)
def test_no_name_that_the_tab_takes_is_cut_by_the_tokenizer(words, name):
    _, infotext = picture(words, f"a {name}, tall ({name}:1.2)(red)", "x", steps=1)
    assert negative_of(infotext) == f"x, ({name}-neg:1.2)"


HIRES = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6}


@pytest.mark.parametrize(
    ("options", "expected", "hires_expected"),
    [
        ({"prompt": "cat1", "hr_prompt": "dog2"}, "x, cat1-neg", "x, dog2-neg"),
        ({"prompt": "[cat1:0.4]"}, "x, [cat1-neg:0.4]", "x, [cat1-neg:0.4]"),
        ({"prompt": "a tree", "hr_prompt": "[cat1:1.5]"}, "x", "x, [cat1-neg:1.5]"),
        ({"prompt": "cat1", "hr_prompt": "a tree"}, "x, cat1-neg", "x"),
        ({"prompt": "[cat1|dog2]", "hr_prompt": "ca[ts:t1:8]"}, "x, [cat1-neg|dog2-neg]", "x, [cat1-neg:8]"),
    ],
)
def test_each_hires_pass_has_its_own(words, without_extension, options, expected, hires_expected):
    values = options | HIRES | {"steps": 6, "hr_second_pass_steps": 4}
    prompt = values.pop("prompt")
    hooked, infotext = picture(words, prompt, "x", **values)
    assert negative_of(infotext) == expected
    assert hires_negative_of(infotext) == hires_expected
    values |= {"hr_negative_prompt": hires_expected}
    assert picture(words, prompt, expected, **values, **OFF)[0] == hooked
    assert picture(without_extension, prompt, expected, **values)[0] == hooked


def pictures(webui, prompt, negative, **options):
    """All pictures of a request without its grid, and their infotexts."""
    values = {"prompt": prompt, "negative_prompt": negative, "seed": 7, "steps": 4, "width": 64, "height": 64}
    answer = webui.post("/sdapi/v1/txt2img", {"cfg_scale": 5, "sampler_name": "Euler a"} | values | options)
    info = json.loads(answer["info"])
    first = info["index_of_first_image"]
    return [pixels(image) for image in answer["images"][first:]], info["infotexts"][first:]


def test_a_batch_in_which_one_negative_needs_another_chunk(words, without_extension):
    """Prompt matrix makes one batch of two different prompts: "a tree" and "a tree, big1"."""
    matrix = {"script_name": "prompt matrix", "script_args": [False, True, "positive", "comma", 0], "batch_size": 2}
    both, infotexts = pictures(words, "a tree|big1", "x", **matrix)
    negatives = [negative_of(text) for text in infotexts]
    assert negatives == ["x BREAK BREAK", "x, big1-neg"]
    assert ["DreamArtist" in text for text in infotexts] == [False, True]
    for place, prompt in enumerate(["a tree", "a tree, big1"]):
        for webui, off in ((words, OFF), (without_extension, {})):
            same_size, _ = pictures(webui, prompt, negatives[place], batch_size=2, **off)
            assert same_size[place] == both[place]


def test_every_line_of_prompts_from_file_has_its_own(words):
    lines = {
        "script_name": "prompts from file or textbox",
        "script_args": [False, False, "start", "cat1\na tree\ndog2"],
    }
    made, infotexts = pictures(words, "", "x", **lines)
    negatives = [negative_of(text) for text in infotexts]
    assert negatives == ["x, cat1-neg", "x", "x, dog2-neg"]
    assert "DreamArtist" not in infotexts[1]
    for image, prompt, negative in zip(made, ["cat1", "a tree", "dog2"], negatives, strict=True):
        assert picture(words, prompt, negative, steps=4, **OFF)[0] == image


def test_every_cell_of_a_plot_has_its_own(words):
    axes = [7, "cat1,dog2,a tree", [], 0, "", [], 0, "", []]  # 7 replaces text in prompts
    plot = {
        "script_name": "x/y/z plot",
        "script_args": [*axes, False, True, False, False, False, False, False, 0, False],
    }
    made, infotexts = pictures(words, "big cat1", "x", **plot)
    negatives = [negative_of(text) for text in infotexts]
    assert negatives[-3:] == ["x, cat1-neg", "x, dog2-neg", "x"]
    assert ["DreamArtist" in text for text in infotexts[-3:]] == [True, True, False]
    assert picture(words, "big dog2", "x, dog2-neg", steps=4, **OFF)[0] == made[-2]


def test_batch_count(words):
    made, infotexts = pictures(words, "(cat1:1.2)", "x", n_iter=2)
    by_hand, _ = pictures(words, "(cat1:1.2)", "x, (cat1-neg:1.2)", n_iter=2, **OFF)
    assert made == by_hand
    assert all("DreamArtist: cat1 -> cat1-neg" in text for text in infotexts)


def test_img2img(words):
    start_image = words.post("/sdapi/v1/txt2img", {"steps": 2, "width": 64, "height": 64})["images"][0]
    values = {"init_images": [start_image], "denoising_strength": 0.6, "seed": 7, "steps": 8, "width": 64, "height": 64}

    def drawn(**more):
        picture(words, "", steps=1)  # the WebUI encodes the start image with whatever random numbers come next
        answer = words.post("/sdapi/v1/img2img", values | {"prompt": "cat1"} | more)
        return pixels(answer["images"][0]), negative_of(json.loads(answer["info"])["infotexts"][0])

    assert drawn(negative_prompt="x") == drawn(negative_prompt="x, cat1-neg", **OFF)
    assert drawn(negative_prompt="x")[0] != drawn(negative_prompt="x", **OFF)[0]


def test_refiner(words):
    refiner = {"refiner_checkpoint": "second.safetensors", "refiner_switch_at": 0.5, "steps": 8}
    hooked, infotext = picture(words, "[cat1:0.4]", "x", **refiner)
    assert "Refiner: second" in infotext
    assert picture(words, "[cat1:0.4]", "x, [cat1-neg:0.4]", **refiner, **OFF)[0] == hooked
    assert picture(words, "[cat1:0.4]", "x, [cat1-neg:0.4]", **OFF)[0] != hooked


def test_a_word_of_another_kind_of_model_is_named_once(words, without_extension):
    hooked, infotext = picture(words, "cat3", "x")
    assert negative_of(infotext) == "x"
    assert picture(words, "cat3", "x", **OFF)[0] == hooked
    assert picture(without_extension, "cat3", "x")[0] == hooked
    picture(words, "a cat3", "x")
    assert times_named(words, "embedded", "cat3") == 1
