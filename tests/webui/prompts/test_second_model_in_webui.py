"""A real WebUI where a second checkpoint takes over: the refiner, or the hires pass with one of its own."""

from __future__ import annotations

import pytest

from ..family_folder import load
from ..test_families_in_webui import OFF
from .test_hook_in_webui import negative_of, times_named

pytestmark = pytest.mark.webui

STEPS = 6
HIRES = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.6}


@pytest.fixture
def by_steps(words):
    """A WebUI whose refiner takes over by the count of steps: after the third of six."""
    words.probe("options", refiner_switch_by_sample_steps=True)
    yield words
    words.probe("options", refiner_switch_by_sample_steps=False)


def refined(webui, first, refiner, prompt, negative, **more):
    load(webui, first)
    options = {"refiner_checkpoint": f"{refiner}.safetensors", "refiner_switch_at": 0.5, "steps": STEPS}
    return webui.picture(prompt, negative, **options, **more)


@pytest.mark.parametrize("first, refiner, word", [("sdxl", "refiner", "mysdxl"), ("sd2", "sdxl", "mysd2")])
def test_a_refiner_of_another_family_gets_the_prompts_as_typed(by_steps, first, refiner, word):
    hooked, infotext = refined(by_steps, first, refiner, f"a {word}", "x")
    assert negative_of(infotext) == f"x, {word}-neg"
    # What a step is drawn with counts from 0: these are the first three.
    by_hand, _ = refined(by_steps, first, refiner, f"a {word}", f"[x, {word}-neg:x:2]", **OFF)
    assert hooked == by_hand
    as_text, _ = refined(by_steps, first, refiner, f"a {word}", f"x, {word}-neg", **OFF)
    assert hooked != as_text, "which the refiner would read otherwise"


def test_a_refiner_of_the_same_family_gets_the_pair(by_steps):
    hooked, _ = refined(by_steps, "sdxl", "sdxl-other", "a mysdxl", "x")
    assert hooked == refined(by_steps, "sdxl", "sdxl-other", "a mysdxl", "x, mysdxl-neg", **OFF)[0]
    assert hooked != refined(by_steps, "sdxl", "sdxl-other", "a mysdxl", "[x, mysdxl-neg:x:2]", **OFF)[0]


def test_a_refiner_without_a_learned_word_is_as_without_us(by_steps):
    hooked, _ = refined(by_steps, "sdxl", "refiner", "a lion", "x")
    assert hooked == refined(by_steps, "sdxl", "refiner", "a lion", "x", **OFF)[0]


@pytest.mark.parametrize(
    ("word", "first", "second", "stranger"),
    [("mysd2", "x, mysd2-neg", "x", "sdxl"), ("mysdxl", "x", "x, mysdxl-neg", "sd2")],
    ids=["of the first pass", "of the hires pass"],
)
def test_each_pass_gets_the_negative_that_its_checkpoint_can_read(words, word, first, second, stranger):
    """The log names the word once for each model that it is strange to, whatever was drawn before."""
    load(words, "sd2")
    other = HIRES | {"hr_checkpoint_name": "sdxl.safetensors"}
    hooked, infotext = words.picture(f"a {word}", "x", **other)
    assert negative_of(infotext) == first
    assert f"Hires negative prompt: {quoted(second)}" in infotext
    by_hand = {"hr_negative_prompt": second, "hr_prompt": f"a {word}"}
    load(words, "sd2")
    assert words.picture(f"a {word}", first, **other, **by_hand, **OFF)[0] == hooked
    load(words, "sd2")
    assert words.picture(f"a {word}", "x", **other, **OFF)[0] != hooked
    words.picture(f"one more {word}", "x", **other)
    assert times_named(words, stranger, word) == 1


def test_a_hires_checkpoint_of_the_same_family_gets_the_pair(words):
    other = HIRES | {"hr_checkpoint_name": "sdxl-other.safetensors"}
    load(words, "sdxl")
    hooked, infotext = words.picture("a mysdxl", "x", **other)
    assert negative_of(infotext) == "x, mysdxl-neg"
    assert "Hires negative prompt" not in infotext
    load(words, "sdxl")
    assert words.picture("a mysdxl", "x, mysdxl-neg", **other, **OFF)[0] == hooked


def quoted(text):
    """As an infotext writes it."""
    return f'"{text}"' if "," in text else text
