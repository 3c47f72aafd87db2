"""The study to look at: planes of its figures, and a sheet of what was drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dreamartist_ext.evaluation.charts import Mark, draw_plane
from dreamartist_ext.evaluation.grids import grid
from dreamartist_ext.evaluation.intervals import bootstrap
from dreamartist_ext.files.charts import BESIDE, QUIET, TEXT, axes_in, blank, legend_above, png

from . import third_model
from .table import Row, by_concept, last_steps, planes_in

PLANE = (560, 440)  # pixels
LABEL_WIDTH = 96
SHOWN = {  # what first-study.md calls the arms
    "fixed+g2+quarter": "pair, recipe A",
    "pair": "pair, recipe B",
    "plain": "plain inversion",
    "plain-fix-norm": "plain, length fixed",
}
SHOWN_ON_THIRD = {"guidance-1.3": "pair", "plain": "plain inversion", "pair": "pair, guidance 2"}  # and quality.md


def shown_names(arms: Iterable[str]) -> Mapping[str, str]:
    """An arm of the third model's study tells which of the two it is."""
    return SHOWN_ON_THIRD if third_model.CHOSEN in arms else SHOWN


def planes_png(rows: Sequence[Row], arms: Sequence[str]) -> bytes:
    """A chart for each of `planes_in` side by side: a line per arm (three at most), a mark per guidance scale, which is
    written beside it, with its 95 % bootstrap intervals over concepts and seeds."""
    width, height = PLANE
    planes, names = planes_in(rows), shown_names(arms)
    figure = blank(len(planes) * width, height)
    for place, (x, y) in enumerate(planes):
        axes = axes_in(figure, place * width + BESIDE, 40, (place + 1) * width - 18, height - 48)
        lines = {names.get(arm, arm): _line(rows, arm, x, y) for arm in arms}
        draw_plane(axes, lines, x.replace("_", " "), y.replace("_", " "))
    legend_above(figure.axes[0])  # as wide as both
    figure.axes[-1].set_title("the numbers: guidance while drawing", loc="right", fontsize=TEXT, color=QUIET)
    return png(figure)


def _line(rows: Sequence[Row], arm: str, x: str, y: str) -> list[Mark]:
    mine = last_steps(rows, arm)
    return [_mark(mine, guidance, x, y) for guidance in sorted({row["guidance"] for row in mine})]


def _mark(rows: Sequence[Row], guidance: float, x: str, y: str) -> Mark:
    members = [row for row in rows if row["guidance"] == guidance]
    across, up = (bootstrap(by_concept(members, name)) for name in (x, y))
    return Mark(across.mean, up.mean, (across.low, across.high), (up.low, up.high), f"{guidance:g}")


def sheet(
    work: Path, references: Path, concepts: Sequence[str], rows: Sequence[tuple[str, int, int, float]]
) -> Image.Image:
    """For each concept its reference, and a strip for each of `rows`: arm, seed, step, guidance."""
    font = ImageFont.load_default()
    names = shown_names([arm for arm, *_ in rows])
    strips = []
    for concept in concepts:
        reference = Image.open(references / f"{concept}.png").convert("RGB")
        for number, (arm, seed, step, guidance) in enumerate(rows):
            strip = Image.open(work / "strips" / f"{arm}--{concept}--{seed}--{step}--{guidance:g}.png")
            line = Image.new("RGB", (LABEL_WIDTH + strip.height + strip.width, strip.height), "white")
            if number == 0:
                line.paste(reference.resize((strip.height, strip.height), Image.Resampling.LANCZOS), (LABEL_WIDTH, 0))
            label = f"{names.get(arm, arm)}\nseed {seed}"
            ImageDraw.Draw(line).text((4, strip.height // 2), label, fill="black", font=font)
            line.paste(strip, (LABEL_WIDTH + strip.height, 0))
            strips.append(line)
    return grid([[strip] for strip in strips])
