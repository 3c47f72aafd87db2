"""The study to look at: planes of its figures, and a sheet of what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dreamartist_ext.evaluation.charts import SIZE, Mark, plane_svg
from dreamartist_ext.evaluation.intervals import bootstrap

from .table import PLANES, Row, by_concept, last_steps

COLOURS = ("#1668b8", "#c2410c", "#15803d")
STYLE = (
    "text { font: 12px sans-serif; fill: #222 } .frame rect { fill: none; stroke: #999 } .grid { stroke: #ddd } "
    "polyline { fill: none; stroke-width: 2 } .whisker { stroke-opacity: 0.35 } "
) + " ".join(
    f".way{i} {{ stroke: {c}; fill: {c} }} .way{i} text {{ fill: {c}; stroke: none }}" for i, c in enumerate(COLOURS)
)
LABEL_WIDTH = 96


def planes_svg(rows: Sequence[Row], arms: Sequence[str]) -> str:
    """A chart for each of PLANES side by side: a line per arm (three at most), a mark per guidance scale with its
    95 % bootstrap intervals over concepts and seeds."""
    width, height = SIZE
    parts = []
    for place, (x, y) in enumerate(PLANES):
        chart = plane_svg({arm: _line(rows, arm, x, y) for arm in arms}, x.replace("_", " "), y.replace("_", " "))
        parts.append(chart.replace("<svg ", f'<svg x="{place * width}" width="{width}" height="{height}" ', 1))
    for number, arm in enumerate(arms):
        parts.append(f'<g class="way{number}"><text x="{80 + 90 * number}" y="{height + 18}">{arm}</text></g>')
    parts.append(f'<text x="{80 + 90 * len(arms)}" y="{height + 18}">the numbers: guidance while drawing</text>')
    size = f'width="{len(PLANES) * width}" height="{height + 30}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{"".join(parts)}</svg>'


def _line(rows: Sequence[Row], arm: str, x: str, y: str) -> list[Mark]:
    mine = last_steps(rows, arm)
    return [_mark(mine, guidance, x, y) for guidance in sorted({row["guidance"] for row in mine})]


def _mark(rows: Sequence[Row], guidance: float, x: str, y: str) -> Mark:
    members = [row for row in rows if row["guidance"] == guidance]
    across, up = (bootstrap(by_concept(members, name)) for name in (x, y))
    return Mark(across.mean, up.mean, (across.low, across.high), (up.low, up.high), f"{guidance:g}")


def write_png(svg: str, path: Path) -> None:
    """With DejaVu Sans, which has to be on the machine: without it the picture has no words."""
    import resvg_py

    drawn = resvg_py.svg_to_bytes(svg_string=svg, background="white", sans_serif_family="DejaVu Sans")
    path.write_bytes(bytes(drawn))


def sheet(
    work: Path, references: Path, concepts: Sequence[str], rows: Sequence[tuple[str, int, int, float]]
) -> Image.Image:
    """For each concept its reference, and a strip for each of `rows`: arm, seed, step, guidance."""
    font = ImageFont.load_default()
    strips = []
    for concept in concepts:
        reference = Image.open(references / f"{concept}.png").convert("RGB")
        for number, (arm, seed, step, guidance) in enumerate(rows):
            strip = Image.open(work / "strips" / f"{arm}--{concept}--{seed}--{step}--{guidance:g}.png")
            line = Image.new("RGB", (LABEL_WIDTH + strip.height + strip.width, strip.height), "white")
            if number == 0:
                line.paste(reference.resize((strip.height, strip.height), Image.Resampling.LANCZOS), (LABEL_WIDTH, 0))
            ImageDraw.Draw(line).text((4, strip.height // 2), f"{arm}\nseed {seed}", fill="black", font=font)
            line.paste(strip, (LABEL_WIDTH + strip.height, 0))
            strips.append(line)
    page = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips)), "white")
    for number, strip in enumerate(strips):
        page.paste(strip, (0, number * strip.height))
    return page
