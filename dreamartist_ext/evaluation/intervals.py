"""How sure a mean is: bootstrap intervals over concepts and seeds, and points on a plane compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % interval around it."""

    mean: float
    low: float
    high: float


def bootstrap(groups: Sequence[Sequence[float]], seed: int = 0, draws: int = DRAWS, level: float = 0.95) -> Interval:
    """The mean of the groups' means, with its percentile interval; `groups` holds a concept's values by seed.

    Concepts are drawn with replacement, then the values within each (Davison and Hinkley, Bootstrap Methods,
    section 3.8): what would come out with other concepts and other seeds. The same input gives the same interval.
    """
    filled = [np.asarray(group, dtype=float) for group in groups if len(group)]
    if not filled:
        return Interval(float("nan"), float("nan"), float("nan"))
    dice = np.random.default_rng(seed)
    chosen = dice.integers(len(filled), size=(draws, len(filled)))
    means = np.zeros(chosen.shape)
    for index, values in enumerate(filled):
        places = np.nonzero(chosen == index)
        means[places] = values[dice.integers(len(values), size=(len(places[0]), len(values)))].mean(axis=1)
    low, high = np.quantile(means.mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([values.mean() for values in filled])), float(low), float(high))


Point = tuple[float, ...]  # figures of which more is better, such as similarity and control


def dominates(point: Point, other: Point) -> bool:
    """At least as good in everything, better in something."""
    return all(a >= b for a, b in zip(point, other, strict=True)) and point != other


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one dominates, without repeats, by their first figure."""
    kept = {point for point in points if not any(dominates(other, point) for other in points)}
    return sorted(kept)


def is_pareto_better(ours: Sequence[Point], theirs: Sequence[Point]) -> bool:
    """Whether each point of their front is dominated by one of ours, or equalled, and one at least dominated."""
    best = front(theirs)
    reached = all(any(dominates(a, b) or a == b for a in ours) for b in best)
    return reached and any(dominates(a, b) for a in ours for b in best)


def at_least(points: Sequence[tuple[float, float]], first: float) -> float | None:
    """The best second figure to be had at a first figure of at least `first`, on straight lines along the front;
    None where the front does not reach it."""
    best = front(points)
    if not best or first > best[-1][0]:
        return None
    if first <= best[0][0]:
        return best[0][1]
    xs, ys = zip(*best, strict=True)
    return float(np.interp(first, xs, ys))
