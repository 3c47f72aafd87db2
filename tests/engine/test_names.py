"""Names that are made of any text."""

from __future__ import annotations

import unicodedata

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
