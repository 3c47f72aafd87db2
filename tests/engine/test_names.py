"""Names that are made of any text."""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.names import MAX_NAME_LENGTH, name_of_file, readable_name
from dreamartist_ext.files.ordinary_words import warning_about


@given(st.text(max_size=80))
def test_a_name_is_the_same_for_composed_and_decomposed_letters(text):
    assert readable_name(unicodedata.normalize("NFC", text)) == readable_name(unicodedata.normalize("NFD", text))


@given(st.text(max_size=300))
def test_a_made_name_is_plain_and_stays_what_it_is(text):
    name = readable_name(text)
    assert name.isascii()
    assert len(name) <= MAX_NAME_LENGTH
    assert readable_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ŧest", "test"),
        ("ƀoɓ", "bob"),
        ("Ƶebra", "Zebra"),
        ("əlvan", "elvan"),
        ("Þór Ŋa ĸ", "Thor-Nga-q"),
        ("straße", "strasse"),
        ("Łódź", "Lodz"),
        ("Ægir æon Œuvre", "AEgir-aeon-OEuvre"),
        ("ᴄᴀᴛ", "cat"),
        ("ꜱɪʟᴋ", "silk"),
        ("Ɠoɖ ŋ ɲ ʃ", "God-ng-n-sh"),
        ("ca\xadt\u200bty", "catty"),
        ("a\u034fb\ufe0fc\u20dd", "abc"),
        ("\ufeffmy\u2060cat\u202e", "mycat"),
        ("кот cat", "cat"),
        ("ﬁne ＣＡＴ", "fine-CAT"),
    ],
)
def test_a_name_keeps_every_latin_letter(text, name):
    assert readable_name(text) == name


def test_no_letter_with_a_stroke_or_a_hook_is_lost():
    every = [chr(i) for i in range(sys.maxunicode + 1)]
    changed = [c for c in every if re.match("LATIN .*LETTER .* WITH ", unicodedata.name(c, ""))]
    assert len(changed) > 700
    names = {unicodedata.name(c): readable_name(f"x{c}y") for c in changed}
    lost = {called for called, name in names.items() if not re.fullmatch("x[A-Za-z]{1,3}-?y", name)}
    assert {called for called in lost if not re.search("STOP|CLICK|CUATRILLO|FENG", called)} == set()


@given(st.text(max_size=20), st.text("\xad\u200b\u200d\u0301\u034f\u20dd\ufe0f\ufeff", max_size=20))
def test_what_is_not_seen_changes_no_name(text, unseen):
    mixed = "".join(itertools.chain.from_iterable(itertools.zip_longest(text, unseen, fillvalue="")))
    assert readable_name(mixed) == readable_name(text)


@given(st.text(max_size=80))
def test_a_name_is_made_or_asked_for(text):
    try:
        name = name_of_file(text)
    except SettingError as error:
        assert "rename the picture" in str(error)
        assert str(error).isprintable()
    else:
        assert sum(c.isalnum() for c in name) >= 3


def test_a_short_word_is_warned_of_as_an_ordinary_one_is():
    assert "t-shirt" in warning_about("t")
    assert "ordinary word" in warning_about("cat")
    assert warning_about("zzqqx") == ""


def test_what_the_models_tokenizer_has_as_a_whole_is_warned_of():
    assert "a word that the model knows" in warning_about("sks", is_one_token=True)
    assert "ordinary word" in warning_about("cat", is_one_token=True)
    assert warning_about("sks") == ""
