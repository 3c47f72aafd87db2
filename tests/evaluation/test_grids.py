"""Pictures on one page lie where they should, and nowhere else is anything."""

from __future__ import annotations

from PIL import Image

from dreamartist_ext.evaluation.grids import grid

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def square(colour):
    return Image.new("RGB", (4, 4), colour)


def test_rows_may_be_of_different_lengths():
    page = grid([[square(RED), square(BLUE)], [square(BLUE)]])
    assert page.size == (8, 8)
    assert [page.getpixel(place) for place in ((0, 0), (7, 3), (0, 7), (4, 4))] == [RED, BLUE, BLUE, WHITE]


def test_a_margin_is_above_all_and_a_gap_after_each():
    page = grid([[square(RED), square(BLUE)]], gap=(2, 5), margin=(3, 1))
    assert page.size == (3 + 2 * (4 + 2), 1 + 4 + 5)
    assert page.crop((3, 1, 7, 5)).getcolors() == [(16, RED)]
    assert page.crop((9, 1, 13, 5)).getcolors() == [(16, BLUE)]
    assert sum(count for count, colour in page.getcolors() if colour != WHITE) == 32
