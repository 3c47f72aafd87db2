"""Which kind of model vectors belong to, by the width of a vector for each text encoder: the one place that knows."""

from __future__ import annotations

from collections.abc import Mapping

from .host import Vectors

SDXL_KEYS = ("clip_l", "clip_g")
_BY_WIDTH = {768: "SD 1", 1024: "SD 2"}
_SDXL_WIDTHS = (768, 1280)


def widths_of(vectors: Vectors) -> dict[str, int]:
    """The width of a token's vector by text encoder."""
    return {key: v.shape[-1] for key, v in vectors.items()}


def family_of(widths: Mapping[str, int]) -> str:
    """ "SD 1", "SD 2" or "SDXL". Unknown widths are named as numbers.

    Embeddings can be exchanged within a family, and not beyond it.
    """
    wide = " + ".join(map(str, widths.values())) + " wide"
    if set(widths) == set(SDXL_KEYS):
        is_known = tuple(widths[key] for key in SDXL_KEYS) == _SDXL_WIDTHS
        return "SDXL" if is_known else f"SDXL, {wide}"
    known = _BY_WIDTH.get(next(iter(widths.values()))) if len(widths) == 1 else None
    return known or wide


def family_in_words(widths: Mapping[str, int]) -> str:
    """As `family_of`, as a part of a sentence about a model."""
    family = family_of(widths)
    return family.replace("SD ", "Stable Diffusion ") if family.startswith("SD") else f"a model with vectors {family}"
