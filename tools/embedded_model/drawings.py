"""The drawings: rendering of the icon sets, composition on a background, captions."""

from __future__ import annotations

import collections
import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, normalize

from dreamartist_ext.evaluation.backgrounds import BACKGROUND_NAMES, BACKGROUND_RGB, BACKGROUNDS

from .shapes import PICTURE_SIZE

__all__ = ["BACKGROUNDS", "BACKGROUND_NAMES", "BACKGROUND_RGB"]

HERE = Path(__file__).parent
# caption word of a drawing style -> npm package of its icons (all Apache-2.0 or MIT)
STYLES = {
    "noto": "noto",
    "blob": "noto-v1",
    "flat": "fluent-emoji-flat",
    "glossy": "fluent-emoji",
    "firefox": "fxemoji",
}
HELD_OUT = frozenset(
    "hedgehog pineapple violin octopus cactus strawberry penguin rocket teapot butterfly "
    "owl guitar cupcake snail robot mushroom turtle watermelon flamingo crown".split()
)
SEEN_SIZE = 16  # pixels of a side, for `seen_small`
Label = tuple[str, str]  # concept, style
# Icons that show a held-out thing under another name: a cactus, a strawberry, crowns.
SHOW_HELD_OUT = frozenset("desert shortcake prince princess statue-of-liberty".split())


@dataclass(frozen=True)
class Drawings:
    rgba: torch.Tensor  # (N, S, S, 4) uint8
    labels: list[tuple[str, str]]  # (concept, style) of each

    def subset(self, concepts: set[str]) -> Drawings:
        keep = [i for i, (concept, _) in enumerate(self.labels) if concept in concepts]
        return Drawings(self.rgba[keep], [self.labels[i] for i in keep])


def training_concepts() -> list[str]:
    """The concepts that the U-Net and the text encoder learn."""
    return (HERE / "concepts.txt").read_text().split()


def is_held_out(name: str) -> bool:
    """Whether a name of an icon is a held-out thing in any spelling: "brown-mushroom", "person-with-crown". Or
    shows one."""
    parts, joined = name.split("-"), name.replace("-", "")
    # a short one as a whole word only: "bowl" is no owl
    return name in SHOW_HELD_OUT or any(
        thing in parts or thing == joined or (len(thing) > 3 and thing in joined) for thing in HELD_OUT
    )


def wide_names() -> list[str]:
    """1,033 things: those of three or more of noto, noto-v1, fluent-emoji(-flat), and the older ones."""
    return (HERE / "wide_names.txt").read_text().split()


def render(icons: Path, out: Path, names: Sequence[str] | None = None) -> None:
    """Render every concept of `concept_names.txt`, or of `names`, in every style; held-out ones are left out."""
    names = (HERE / "concept_names.txt").read_text().split() if names is None else names
    known = _drawn(icons, [name for name in names if not is_held_out(name)])
    if copies := near_copies(_drawn(icons, sorted(HELD_OUT)), known):
        raise ValueError(f"training drawings that look like held-out ones: {copies}")
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "rgba.npy", known.rgba.numpy())
    (out / "labels.json").write_text(json.dumps(known.labels))
    print(len(known.labels), "drawings", dict(collections.Counter(style for _, style in known.labels)))


def _drawn(icons: Path, names: Sequence[str]) -> Drawings:
    """Every drawing of these names that covers at least a twentieth of its picture."""
    sets = {style: json.loads((icons / package / "icons.json").read_text()) for style, package in STYLES.items()}
    pictures, labels = [], []
    for concept in names:
        for style, icon_set in sets.items():
            svg = _svg(icon_set, concept, joined=style == "firefox")
            if svg is None:
                continue
            picture = np.array(_rasterised(svg, PICTURE_SIZE))
            if (picture[..., 3] > 40).mean() >= 0.05:
                pictures.append(picture)
                labels.append((concept, style))
    return Drawings(torch.from_numpy(np.stack(pictures)), labels)


def svgs(icons: Path, labels: Sequence[Label]) -> list[str]:
    """The icons of these drawings."""
    sets = {style: json.loads((icons / package / "icons.json").read_text()) for style, package in STYLES.items()}
    found = [_svg(sets[style], concept, joined=style == "firefox") for concept, style in labels]
    if missing := [label for label, svg in zip(labels, found, strict=True) if svg is None]:
        raise ValueError(f"not among the icons: {missing}")
    return [svg for svg in found if svg is not None]


def rasterised(svg: str) -> np.ndarray:
    """(S, S, 4) uint8, as a training drawing is"""
    return np.array(_rasterised(svg, PICTURE_SIZE))


def near_copies(held_out: Drawings, known: Drawings, least: float = 0.9) -> list[tuple[Label, Label, float]]:
    """Pairs that look alike: cosine of what 16x16 pixels of colour and opacity have beyond the mean of all drawings.

    A thing's flat and glossy drawings by one maker have up to 0.99; a guitar and a banjo 0.86.
    """
    seen = [seen_small(held_out.rgba), seen_small(known.rgba)]
    mean = seen[1].mean(0)
    likeness = normalize(seen[0] - mean, dim=1) @ normalize(seen[1] - mean, dim=1).T
    rows, columns = (likeness >= least).nonzero(as_tuple=True)
    return [
        (held_out.labels[i], known.labels[j], float(likeness[i, j]))
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
    ]


def seen_small(rgba: torch.Tensor) -> torch.Tensor:
    """(N, S, S, 4) uint8 -> (N, 1024): premultiplied colour and opacity of 16x16 parts"""
    return torch.cat([adaptive_avg_pool2d(premultiplied(part), SEEN_SIZE).flatten(1) for part in rgba.split(256)])


def premultiplied(rgba: torch.Tensor) -> torch.Tensor:
    """(N, S, S, 4) uint8 -> colour times opacity, and opacity, (N, 4, S, S) in [0, 1]: scaled, it has clean edges"""
    pixels = rgba.permute(0, 3, 1, 2).float() / 255
    return torch.cat([pixels[:, :3] * pixels[:, 3:], pixels[:, 3:]], 1)


def render_references(icons: Path, out: Path, size: int = 256) -> None:
    """One picture of each held-out thing on white, as a user would have it; for evaluation, never for training."""
    icon_set = json.loads((icons / STYLES["noto"] / "icons.json").read_text())
    out.mkdir(parents=True, exist_ok=True)
    for concept in sorted(HELD_OUT):
        drawing = _rasterised(_svg(icon_set, concept, joined=False) or "", size - 2 * (size // 20))
        picture = Image.new("RGBA", (size, size), "white")
        picture.alpha_composite(drawing, (size // 20, size // 20))
        picture.convert("RGB").save(out / f"{concept}.png", optimize=True)


def _rasterised(svg: str, size: int) -> Image.Image:
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    return Image.open(io.BytesIO(png)).convert("RGBA").resize((size, size))


def _svg(icon_set: dict, concept: str, joined: bool) -> str | None:
    icons, aliases = icon_set["icons"], icon_set.get("aliases", {})
    for name in (concept, concept.replace("-", "")) if joined else (concept,):
        icon = icons.get(name) or icons.get(aliases.get(name, {}).get("parent", ""))
        if icon:
            width = icon.get("width", icon_set.get("width", 16))
            height = icon.get("height", icon_set.get("height", 16))
            box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
            return (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{box}">{icon["body"]}</svg>'
            )
    return None


def load(folder: Path) -> Drawings:
    labels = [(concept, style) for concept, style in json.loads((folder / "labels.json").read_text())]
    return Drawings(torch.from_numpy(np.load(folder / "rgba.npy")), labels)


def placement(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random scale (N,) and shift (N, 2) for `compose`. Little of either: half a latent cell of freedom
    (scale 0.8 to 1, shift 8 %) cost the model its drawing styles, since no word says where a drawing is."""
    return 0.85 + 0.1 * torch.rand(count, generator=generator), 0.06 * torch.rand(count, 2, generator=generator) - 0.03


def placed(rgba: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Drawings (B, S, S, 4) uint8 as they lie in a picture: premultiplied colour and opacity, (B, 4, S, S) in [0, 1]"""
    transform = torch.zeros(len(rgba), 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = 1 / scale
    transform[:, :, 2] = -shift / scale[:, None]
    return moved(rgba, transform)


def moved(rgba: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """As `placed`, by affine transforms (B, 2, 3) from the picture to the drawing."""
    pixels = premultiplied(rgba)
    grid = torch.nn.functional.affine_grid(transform, list(pixels.shape), align_corners=False)
    return torch.nn.functional.grid_sample(pixels, grid, align_corners=False, mode="bilinear")


def over(pixels: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Premultiplied (B, 4, S, S) on flat colours (B, 3) in 0..255 -> (B, 3, S, S) in [-1, 1]"""
    return (pixels[:, :3] + (1 - pixels[:, 3:]) * (background / 255)[:, :, None, None]) * 2 - 1


def compose(rgba: torch.Tensor, background: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Put drawings on flat backgrounds.

    rgba (B, S, S, 4) uint8, background (B, 3) in 0..255, scale (B,), shift (B, 2) as a share of half
    the picture -> (B, 3, S, S) in [-1, 1]
    """
    return over(placed(rgba, scale, shift), background)


def caption(concept: str, style: str, background: str, dice: random.Random) -> str:
    """A caption with parts dropped at random, so that each part can be asked for alone; 10 % are empty. The style is
    named in three of four: it is what the model learns last."""
    concept = concept.replace("-", " ")
    forms = (
        (0.10, ""),
        (0.44, f"a {style} emoji of a {concept} on a {background} background"),
        (0.16, f"{style} {concept}, {background} background"),
        (0.12, f"a {style} {concept}"),
        (0.08, f"a {concept} on a {background} background"),
        (0.03, f"a {concept}"),
        (0.04, f"a {style} emoji on a {background} background"),
        (0.03, f"{background} background"),
    )
    return dice.choices([form for _, form in forms], [share for share, _ in forms])[0]
