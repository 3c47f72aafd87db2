"""What charts on disk share: their size, their bytes, and that nobody waits for matplotlib who draws nothing."""

from __future__ import annotations

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from dreamartist_ext.files.charts import SERIES, axes_in, blank, legend_above, name_axes, png


def a_chart(width: int = 300, height: int = 200):
    figure = blank(width, height)
    axes = axes_in(figure, 100, 50, width - 50, height - 50)
    axes.plot([0, 1], [0, 1], color=SERIES[0], label="a line")
    name_axes(axes, "across", "up")
    legend_above(axes)
    return figure


@pytest.mark.parametrize("width", [1, 7, 559, 900, 1000, 1001, 1120])
def test_a_picture_has_the_pixels_that_were_asked_for(width):
    assert Image.open(io.BytesIO(png(blank(width, 33)))).size == (width, 33)


def test_axes_lie_between_their_pixels():
    pixels = np.asarray(Image.open(io.BytesIO(png(a_chart()))).convert("RGB")).astype(int)
    green = [int(SERIES[0][i : i + 2], 16) for i in (1, 3, 5)]
    rows, columns = np.nonzero(np.abs(pixels[50:] - green).sum(axis=2) < 60)
    assert 100 <= columns.min() <= columns.max() <= 250
    assert 0 <= rows.min() <= rows.max() <= 100


def test_the_same_chart_is_the_same_bytes_and_changes_no_setting():
    before = dict(matplotlib.rcParams)
    assert png(a_chart()) == png(a_chart())
    assert dict(matplotlib.rcParams) == before


def test_who_draws_nothing_does_not_wait_for_matplotlib():
    code = (
        "import sys, dreamartist_ext.files.curve, dreamartist_ext.files.pages, dreamartist_ext.evaluation.charts\n"
        "print(sorted({'matplotlib', 'jinja2'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
