"""Which words a prompt may hold: never fewer than the WebUI finds, and thousands of words cost nearly nothing."""

from __future__ import annotations

import time

import pytest

from dreamartist_ext.webui.prompts.word_index import WordIndex

from .test_prompt_hook import VECTORS


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a cat1", "cat1"),
        ("CAT1x", "cat1"),
        ("(ca)(t1)", "cat1"),
        ("(ca:1.1)(t1:1.1)", "cat1"),
        (r"ca\t1", "cat1"),
        ("[ca|do]t1", "cat1"),
        ("c[a:b:5]t1", "cat1"),
        ("[ca:0.5]t1", "cat1"),
        ("my \n  cat", "my cat"),
        ("ｃａｔ1", "cat1"),
        ("cat&#49;", "cat1"),
        ("ca\u200bt1", "cat1"),
        ("plain", "plain"),
        ("me&copycat", "copycat"),
        ("a,&notacat,", "notacat"),
    ],
)
def test_whatever_the_webui_may_take_for_a_word_is_seen(prompt, name):
    assert name in WordIndex([*VECTORS, "copycat", "notacat"]).seen(prompt)


@pytest.mark.parametrize("prompt", ["", "a cat, a dog", "(a cat:1.1)", "[a cow:a tree:0.5] on a hill"])
def test_other_prompts_are_passed_by(prompt):
    assert not WordIndex(VECTORS).seen(prompt)


def test_short_names_and_names_that_spell_nothing():
    index = WordIndex(["x", "yz", "()", "X"])
    assert sorted(index.seen("a x (y)z")) == ["X", "x", "yz"]
    assert index.seen("()") == []


def test_two_thousand_embeddings_cost_less_than_a_millisecond():
    index = WordIndex([f"name{n:04d}{half}" for n in range(1000) for half in ("", "-neg")])
    prompt = "masterpiece, (best quality:1.2), [a cow:a tree:0.5] on a green hill, " * 6
    times = []
    for _ in range(20):
        start = time.perf_counter()
        assert not index.seen(prompt)
        times.append(time.perf_counter() - start)
    assert min(times) < 1e-3
