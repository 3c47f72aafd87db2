"""Which of the model's own drawing styles a picture has, judged by what the model draws for each style's word."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from .pictures import Batch

STYLES = ("noto", "blob", "flat", "glossy", "firefox")  # words that the embedded model was taught
THINGS = (
    "cat", "bird", "fish", "frog", "rose", "pizza", "house", "umbrella", "bear", "bus",
    "tomato", "duck", "banana", "candle", "panda", "trumpet", "sailboat", "sunflower", "cookie", "tulip",
)  # fmt: skip
GUIDANCE = 4.0  # at which the embedded model draws them best
SHRINKAGE = 0.3  # of the covariance, towards a multiple of the identity: fewer pictures than figures


def style_prompt(style: str, thing: str) -> str:
    return f"a {style} emoji of a {thing} on a white background"


def asked_style(prompt: str) -> str | None:
    """The style that a prompt asks for, as in "a flat emoji of a cat"; None if it names none."""
    found = re.search(r"\b(" + "|".join(STYLES) + r") emoji\b", prompt.lower())
    return found[1] if found else None


def examples_batch(steps: int) -> Batch:
    """Every known thing in every style, a style after the other: what the judge is made from."""
    prompts = tuple(style_prompt(style, thing) for style in STYLES for thing in THINGS)
    return Batch(prompts, ("",) * len(prompts), tuple(range(len(THINGS))) * len(STYLES), GUIDANCE, steps)


class StyleJudge:
    """Linear discriminant analysis (Hastie, Tibshirani and Friedman, section 4.3) of the early layers' channel
    statistics, relative to the mean of the same thing and seed in all styles: so that it is the way of drawing that
    counts, and not the thing's own colours and outlines."""

    def __init__(self, examples: Tensor) -> None:
        """examples (styles, N, D): statistics of N things, each drawn in every style with the same seed"""
        self.mean = examples.mean((0, 1))
        self.scale = examples.std((0, 1)).clamp(min=1e-6)
        relative = self._relative(examples)
        self.centres = relative.mean(1)  # (styles, D)
        within = (relative - self.centres[:, None]).flatten(0, 1)
        covariance = within.T @ within / len(within)
        width = len(covariance)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * covariance.diagonal().mean() * torch.eye(width)
        self.inverse = torch.linalg.inv(covariance)

    def _relative(self, statistics: Tensor) -> Tensor:
        scaled = (statistics - self.mean) / self.scale
        return scaled - scaled.mean(0, keepdim=True)

    def __call__(self, statistics: Tensor) -> Tensor:
        """statistics (styles, N, D) of something drawn in every style -> indices of the styles seen, (styles, N)"""
        difference = self._relative(statistics)[:, :, None] - self.centres  # (styles, N, styles, D)
        return torch.einsum("snkd,de,snke->snk", difference, self.inverse, difference).argmin(2)


def right_styles(judge: StyleJudge, statistics: Tensor) -> list[bool]:
    """Of pictures of one thing in every style (styles, N, D): whether each shows the style that was asked for."""
    asked = torch.arange(len(statistics))[:, None]
    return (judge(statistics) == asked).flatten().tolist()


def left_out_accuracy(examples: Tensor) -> float:
    """How often the judge is right about a known thing that it was not made with: about the best to be reached, since
    the model does not draw every style that is asked for either."""
    right: list[bool] = []
    for thing in range(examples.shape[1]):
        others = torch.cat([examples[:, :thing], examples[:, thing + 1 :]], 1)
        right += right_styles(StyleJudge(others), examples[:, thing : thing + 1])
    return sum(right) / len(right)


def grouped(statistics: Tensor, styles: Sequence[str] = STYLES) -> Tensor:
    """(styles * N, D), all of a style together, -> (styles, N, D)"""
    return statistics.reshape(len(styles), -1, statistics.shape[1])
