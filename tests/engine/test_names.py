"""Names that are made of any text, and what is said of words."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.names import MAX_NAME_LENGTH, name_of_file, readable_name, word_note


@given(st.text(max_size=80))
def test_a_name_is_the_same_for_composed_and_decomposed_letters(text):
    assert readable_name(unicodedata.normalize("NFC", text)) == readable_name(unicodedata.normalize("NFD", text))


@given(st.text(max_size=300))
def test_a_made_name_is_plain_and_stays_what_it_is(text):
    name = readable_name(text)
    assert name.isascii()
    assert len(name) <= MAX_NAME_LENGTH
    assert readable_name(name) == name


@given(st.text(max_size=80))
def test_a_name_is_made_or_asked_for(text):
    try:
        name = name_of_file(text)
    except SettingError as error:
        assert "rename the picture" in str(error)
        assert str(error).isprintable()
    else:
        assert sum(c.isalnum() for c in name) >= 3


@pytest.mark.parametrize(
    ("name", "tokens", "words"),
    [
        ("t", None, "t-shirt"),
        ("Cat", None, "mycat"),
        ("beagle", 1, "ordinary word"),
        ("beagle", 2, ""),
        ("zyx", None, ""),
    ],
)
def test_an_ordinary_word_is_warned_of(name, tokens, words):
    note = word_note(name, tokens)
    assert words in note
    assert bool(note) == bool(words)
