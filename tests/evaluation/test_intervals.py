"""Intervals and fronts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dreamartist_ext.evaluation.intervals import at_least, bootstrap, front, is_pareto_better


def test_equal_values_have_no_spread():
    interval = bootstrap([[2.0, 2.0], [2.0]])
    assert (interval.mean, interval.low, interval.high) == (2, 2, 2)
    assert math.isnan(bootstrap([]).mean)


def test_the_same_input_gives_the_same_interval_and_another_seed_another():
    groups = np.random.default_rng(0).normal(size=(5, 4)).tolist()
    assert bootstrap(groups) == bootstrap(groups)
    assert bootstrap(groups) != bootstrap(groups, seed=1)


def test_a_concept_counts_once_however_many_seeds_it_has():
    assert bootstrap([[0.0] * 9, [1.0]]).mean == 0.5


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    dice, held = np.random.default_rng(0), 0
    for _ in range(200):
        concepts = dice.normal(0, 1, 20)
        interval = bootstrap([dice.normal(concept, 1, 3) for concept in concepts], draws=300)
        held += interval.low <= 0 <= interval.high
    assert 0.9 <= held / 200 <= 1


def test_a_front_has_what_nothing_beats():
    assert front([(1, 1), (2, 0), (0, 2), (0.5, 0.5), (1, 1)]) == [(0, 2), (1, 1), (2, 0)]


@pytest.mark.parametrize(
    ("ours", "theirs", "better"),
    [
        ([(2, 2)], [(1, 1)], True),
        ([(1, 1)], [(1, 1)], False),
        ([(1, 2)], [(1, 1)], True),
        ([(3, 1)], [(1, 3)], False),
        ([(3, 1), (1, 3)], [(1, 1), (0, 3)], True),
        ([(3, 1), (0, 0)], [(2, 1), (0, 2)], False),
    ],
)
def test_better_means_on_the_whole_front(ours, theirs, better):
    assert is_pareto_better(ours, theirs) is better


def test_control_at_a_given_similarity():
    points = [(0.2, 1.0), (0.4, 0.5), (0.3, 0.1)]
    assert at_least(points, 0.1) == 1.0
    assert at_least(points, 0.3) == pytest.approx(0.75)
    assert at_least(points, 0.5) is None
