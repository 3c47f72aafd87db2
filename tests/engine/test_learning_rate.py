from __future__ import annotations

from itertools import pairwise

import pytest

from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.learning_rate import RateSchedule, lr_at


def test_stages_hold_up_to_and_with_their_last_step():
    schedule = RateSchedule.parse("0.005:100, 1e-3:1000")
    assert [schedule.rate(step) for step in (1, 100, 101, 1000, 2000)] == [0.005, 0.005, 0.001, 0.001, 0.001]


def test_one_number_holds_for_ever():
    assert RateSchedule.parse("0.003").rate(10**6) == 0.003


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "-1", "nan", "inf", "1e-3:0", "1e-3:100, 1e-4:50", "1e-3, 1e-4", "1e-3:x", "1e-3:1.5", "eval('1')"],
)
def test_anything_else_is_refused_in_one_sentence(text):
    with pytest.raises(SettingError, match="learning_rate must be"):
        RateSchedule.parse(text)


def test_warm_up_rises_and_cosine_falls():
    schedule = RateSchedule.parse("1")
    rates = [lr_at(schedule, step, 100, warmup=10, cosine=True) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


def test_without_either_the_rate_is_the_stage():
    assert lr_at(RateSchedule.parse("0.1"), 5, 10) == 0.1
