from __future__ import annotations

import pytest

from dreamartist_ext.engine.family import family_in_words, family_of


@pytest.mark.parametrize(
    ("widths", "family", "words"),
    [
        ({"clip": 768}, "SD 1", "Stable Diffusion 1"),
        ({"clip": 1024}, "SD 2", "Stable Diffusion 2"),
        ({"clip_l": 768, "clip_g": 1280}, "SDXL", "SDXL"),
        ({"clip": 1280}, "1280 wide", "a model with vectors 1280 wide"),
        ({"clip_l": 48, "clip_g": 80}, "SDXL, 48 + 80 wide", "SDXL, 48 + 80 wide"),
    ],
)
def test_a_family_is_told_by_its_widths(widths, family, words):
    assert (family_of(widths), family_in_words(widths)) == (family, words)
