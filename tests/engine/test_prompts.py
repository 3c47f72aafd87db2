"""Templates, template files and captions that vary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine import prompts
from dreamartist_ext.engine.captions import CaptionWays
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.prompts import is_one_line


def test_a_name_glued_to_other_letters_is_refused():
    for template in ("two [name]s", "my[name]", "[name]-like", "x_[name]"):
        with pytest.raises(SettingError, match="a word of its own"):
            prompts.check_template(template)
    assert prompts.check_template("([name]), [name].") == "([name]), [name]."


@pytest.mark.parametrize(
    ("template", "filewords", "prompt"),
    [
        ("a photo of [name]", "", "a photo of mycat"),
        ("[name], [filewords]", "on a mat", "mycat, on a mat"),
        ("[name], [filewords]", "", "mycat"),
        ("[filewords], [name]", "", "mycat"),
        ("[name] and [name]", "", "mycat and mycat"),
        ("[name] [filewords]", "[name] \\1", "mycat [name] \\1"),
    ],
)
def test_filling(template, filewords, prompt):
    assert prompts.fill(template, "mycat", filewords) == prompt


@pytest.mark.parametrize("template", ["", "a photo", "[Name]", "[filewords]"])
def test_a_template_without_the_name_is_refused(template):
    with pytest.raises(SettingError, match=r"template must contain \[name\], got"):
        prompts.fill(template, "mycat")


def test_blank_lines_are_dropped_and_no_template_is_refused():
    assert prompts.check_templates(["", " [name] \n", "  "]) == ("[name]",)
    with pytest.raises(SettingError, match="at least one"):
        prompts.check_templates(["", " "])


# Captions that vary

TAGS = st.lists(st.sampled_from("one two three four five".split()), max_size=5).map(", ".join)
WAYS = st.builds(
    CaptionWays,
    dropout=st.sampled_from([0.0, 0.5, 1.0]),
    tag_dropout=st.sampled_from([0.0, 0.5, 1.0]),
    shuffle=st.booleans(),
)


@given(st.lists(TAGS, max_size=8), st.integers(0, 99), st.integers(0, 99))
def test_without_any_way_captions_stay_as_they_are(captions, seed, step):
    assert CaptionWays().vary(captions, seed, step) == captions


@given(st.lists(TAGS, max_size=8), WAYS, st.integers(0, 99), st.integers(0, 99))
def test_a_varied_caption_holds_tags_of_its_own_and_depends_on_seed_and_step_alone(captions, ways, seed, step):
    varied = ways.vary(captions, seed, step)
    assert varied == ways.vary(captions, seed, step)
    for before, after in zip(captions, varied, strict=True):
        old, new = before.split(", "), after.split(", ") if after else []
        assert all(new.count(tag) <= old.count(tag) for tag in new)
        if not ways.tag_dropout and not ways.dropout:
            assert sorted(new) == sorted(tag for tag in old if tag)
        if not ways.shuffle:
            remaining = iter(old)
            assert all(tag in remaining for tag in new), "kept tags keep their order"


def test_the_shares_are_what_was_asked_for():
    captions = ["a, b, c, d"] * 2000
    assert abs(CaptionWays(dropout=0.3).vary(captions, 1, 1).count("") / 2000 - 0.3) < 0.04
    kept = sum(len(c.split(", ")) for c in CaptionWays(tag_dropout=0.25).vary(captions, 1, 1) if c)
    assert abs(kept / 8000 - 0.75) < 0.02
    shuffled = CaptionWays(shuffle=True).vary(captions, 1, 1)
    assert len(set(shuffled)) == 24


def test_any_separator_will_do():
    assert CaptionWays(tag_dropout=1e-9, separator="; ").vary(["a;b; c ;"], 0, 0) == ["a;b; c ;"]
    assert CaptionWays(tag_dropout=1e-9, separator=";").vary(["a;b; c ;"], 0, 0) == ["a; b; c"]
    assert CaptionWays(tag_dropout=1e-9, separator=" ").vary(["a b"], 0, 0) == ["a b"]


def test_steps_and_seeds_draw_anew():
    captions = ["a, b, c, d, e, f, g"] * 4
    ways = CaptionWays(shuffle=True)
    drawn = {tuple(ways.vary(captions, seed, step)) for seed in (0, 1) for step in range(3)}
    assert len(drawn) == 6


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("teapot", ""),
        ("a red Teapot on a mat", "a red on a mat"),
        ("red, teapot,round,  old", "red, round, old"),
        ("teapot-neg and teapot.", "and ."),
        ("teapots,  a steapot", "teapots,  a steapot"),  # other words, and as it was written
        ("", ""),
    ],
)
def test_a_negative_caption_never_holds_the_concepts_word(caption, expected):
    assert prompts.negative_captions([caption], "teapot") == [expected]
    assert prompts.negative_captions([caption], "teapot", positive_only=True) == [""]


ONE_LINE = {
    "an ideographic space": "[name]\u3000写真",
    "a no-break space": "a photo of\u00a0[name]",
    "a tab": "a photo of\t[name]",
    "a joined emoji": "[name] 👩‍🚀 with a 🏳️‍🌈",
    "right to left": "[name] \u200fשלום",
    "a soft hyphen": "[name] Donau\u00adschiff",
    "a letter of a newer Unicode": "[name] \U0001fae9",
}
SEVERAL_LINES = {"a line break": "a\nb", "a line separator": "a\u2028b", "a bell": "a\7b", "half a letter": "a\ud800b"}


@pytest.mark.parametrize("case", sorted(ONE_LINE))
def test_any_text_on_one_line_is_a_prompt(case):
    assert is_one_line(ONE_LINE[case])
    assert TrainConfig(name="zyx", template=ONE_LINE[case], caption=ONE_LINE[case]).template == ONE_LINE[case]


@pytest.mark.parametrize("case", sorted(SEVERAL_LINES))
def test_line_breaks_and_broken_letters_are_no_prompt(case):
    assert not is_one_line(SEVERAL_LINES[case])
    with pytest.raises(SettingError, match="caption must be one line of plain text"):
        TrainConfig(name="zyx", caption=SEVERAL_LINES[case])
