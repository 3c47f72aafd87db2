"""The drawings: rendering of the icon sets, composition on a background, captions."""

from __future__ import annotations

import collections
import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

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


def render(icons: Path, out: Path) -> None:
    """Render every concept of `concept_names.txt` in every style; held-out ones are left out."""
    sets = {style: json.loads((icons / package / "icons.json").read_text()) for style, package in STYLES.items()}
    pictures, labels = [], []
    for concept in (HERE / "concept_names.txt").read_text().split():
        if concept in HELD_OUT:
            continue
        for style, icon_set in sets.items():
            svg = _svg(icon_set, concept, joined=style == "firefox")
            if svg is None:
                continue
            picture = np.array(_rasterised(svg, PICTURE_SIZE))
            if (picture[..., 3] > 40).mean() >= 0.05:
                pictures.append(picture)
                labels.append((concept, style))
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "rgba.npy", np.stack(pictures))
    (out / "labels.json").write_text(json.dumps(labels))
    print(len(pictures), "drawings", dict(collections.Counter(style for _, style in labels)))


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


def compose(rgba: torch.Tensor, background: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Put drawings on flat backgrounds.

    rgba (B, S, S, 4) uint8, background (B, 3) in 0..255, scale (B,), shift (B, 2) as a share of half
    the picture -> (B, 3, S, S) in [-1, 1]
    """
    pixels = rgba.permute(0, 3, 1, 2).float() / 255
    pixels = torch.cat([pixels[:, :3] * pixels[:, 3:], pixels[:, 3:]], 1)  # premultiplied: clean edges
    transform = torch.zeros(len(rgba), 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = 1 / scale
    transform[:, :, 2] = -shift / scale[:, None]
    grid = torch.nn.functional.affine_grid(transform, list(pixels.shape), align_corners=False)
    pixels = torch.nn.functional.grid_sample(pixels, grid, align_corners=False, mode="bilinear")
    return (pixels[:, :3] + (1 - pixels[:, 3:]) * (background / 255)[:, :, None, None]) * 2 - 1


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
