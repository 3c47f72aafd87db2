"""When a training is checked, what that costs, when it stops by itself, which pair it keeps, and its curve."""

from __future__ import annotations

import io
import math
from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.engine.stopping import (
    Check,
    best_of,
    check_interval,
    check_samples,
    has_run_out,
    is_check_due,
    is_over,
)
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.curve import HEIGHT, WIDTH, curve_csv, curve_png
from dreamartist_ext.files.run import RunFiles, final_step, run_to_files
from dreamartist_ext.files.storage import load_pair

from .fake_host import FakeHost
from .test_trainer import config, picture


class Counting(FakeHost):
    """Counts the samples that go through the network: a backward pass counts as another one."""

    def __init__(self) -> None:
        super().__init__()
        self.in_steps = self.in_checks = 0

    def predict(self, noisy_latents, timesteps, cond):
        if torch.is_grad_enabled():
            self.in_steps += 2 * len(noisy_latents)
        else:
            self.in_checks += len(noisy_latents)
        return super().predict(noisy_latents, timesteps, cond)


def run(tmp_path, **values) -> tuple[Training, RunFiles]:
    training = Training(Counting(), config(**values), [picture()])
    files = RunFiles(tmp_path / "out", "mycat")
    for _ in run_to_files(training, files):
        pass
    return training, files


@pytest.mark.parametrize(("steps", "save_every"), [(50, 100), (50, 10), (60, 0), (150, 25), (150, 100), (60, 1)])
@pytest.mark.parametrize(("batch", "accumulation", "negative"), [(1, 1, True), (1, 1, False), (2, 2, True)])
def test_checks_cost_less_than_five_percent_of_a_trainings_passes(
    tmp_path, monkeypatch, steps, save_every, batch, accumulation, negative
):
    """All of them, the last one and the empty prompt's as well."""
    monkeypatch.setattr("dreamartist_ext.files.run.curve_png", lambda checks, steps: b"")  # longer than all the rest
    values = {"batch_size": batch, "accumulation": accumulation, "use_negative": negative, "save_every": save_every}
    training, _ = run(tmp_path, **values, steps=steps)
    assert training.checks[-1].step == steps
    assert training.host.in_checks < 0.05 * training.host.in_steps
    branches, samples = 2 if negative else 1, training.checks[0].samples
    assert training.host.in_checks == samples * (1 + branches * len(training.checks))


LENGTHS = {
    "steps": st.integers(50, 3000),
    "save_every": st.integers(0, 500),
    "batch_size": st.integers(1, 16),
    "accumulation": st.integers(1, 4),
    "use_negative": st.booleans(),
}


@given(st.fixed_dictionaries(LENGTHS))
def test_from_fifty_steps_on_no_settings_cost_more(values):
    settings = config(**values)
    checks = sum(is_check_due(settings, step) for step in range(1, settings.steps + 1))
    branches = 2 if settings.use_negative else 1
    cost = check_samples(settings) * (1 + branches * checks)
    assert cost < 0.05 * 2 * branches * settings.steps * settings.batch_size * settings.accumulation
    assert 2 <= check_samples(settings) <= 8


@given(st.fixed_dictionaries(LENGTHS))
def test_the_interval_is_the_shortest_that_is_cheap_enough(values):
    settings = config(**{**values, "save_every": max(1, values["save_every"])})
    interval, save_every = check_interval(settings), settings.save_every
    assert interval % save_every == 0
    if interval > save_every:
        branches = 2 if settings.use_negative else 1
        more = math.ceil(settings.steps / (interval - save_every))
        cost = check_samples(settings) * (1 + branches * more)
        assert cost >= 0.05 * 2 * branches * settings.steps * settings.batch_size * settings.accumulation


@given(st.fixed_dictionaries(LENGTHS), st.integers(1, 300))
def test_who_says_how_often_gets_all_samples_so_often(values, every):
    settings = config(**values, check_every=every)
    assert (check_interval(settings), check_samples(settings)) == (every, 8)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_usual_lengths_are_checked_at_every_snapshot_with_all_samples(batch_size):
    usual = TrainConfig(name="cat", batch_size=batch_size)
    assert (check_interval(usual), check_samples(usual)) == (100, 8)


def test_without_snapshots_there_is_one_check_at_the_end():
    plain = config(save_every=0, steps=200)
    assert [step for step in range(1, 201) if is_check_due(plain, step)] == [200]
    with pytest.raises(SettingError, match="check_every must be more than 0 for patience to have an effect"):
        config(save_every=0, patience=3)


def checks_of(losses) -> list[Check]:
    return [Check(10 * (i + 1), loss, 1.0) for i, loss in enumerate(losses)]


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=12), st.integers(0, 5))
def test_patience_counts_the_checks_since_the_best(losses, patience):
    checks = checks_of(losses)
    ran_out = has_run_out(config(patience=patience, check_every=10), checks)
    finite = [loss for loss in losses if loss == loss]
    since = len(losses) - 1 - losses.index(min(finite)) if finite else len(losses)
    assert ran_out == (patience > 0 and since >= patience)
    assert best_of(checks) == (losses.index(min(finite)) if finite else None)


def losing(training: Training, losses) -> None:
    """Let the checks find these losses, one after the other."""
    left = iter(losses)
    training.checks = _Losses(left)


class _Losses(list):
    def __init__(self, left) -> None:
        super().__init__()
        self.left = left

    def append(self, check: Check) -> None:
        super().append(Check(check.step, next(self.left), check.baseline, check.training_loss))


@pytest.mark.parametrize(("keep", "kept"), [("best", 4), ("last", 10)])
def test_a_training_without_hope_ends_by_itself_and_keeps_what_was_asked_for(tmp_path, keep, kept):
    values = {"steps": 100, "save_every": 50, "check_every": 2, "patience": 3, "keep": keep}
    training, files = Training(FakeHost(), config(**values), [picture()]), RunFiles(tmp_path / "out", "mycat")
    losing(training, [0.5, 0.3, 0.4, 0.6, 0.35, 0.1])
    steps = [report.step for report in run_to_files(training, files)]
    assert steps[-1] == training.step == 10
    assert training.is_over
    assert final_step(training, files) == kept
    assert load_pair(files.out, "mycat").step == kept
    snapshot = files.last_snapshot()
    assert snapshot.step == 10
    assert is_over(TrainConfig.from_json(snapshot.config), snapshot.step, snapshot.checks)
    again = Training(FakeHost(), config(**values), [picture()])
    again.restore(snapshot)
    assert list(run_to_files(again, files)) == []
    patient = Training(FakeHost(), config(**{**values, "patience": 0, "steps": 12}), [picture()])
    patient.restore(snapshot)
    assert [report.step for report in run_to_files(patient, files)] == [11, 12]


def test_keeping_the_best_has_it_on_disk_though_no_snapshot_was_due(tmp_path):
    training, files = run(tmp_path, steps=9, save_every=0, check_every=3, keep="best")
    best = min(training.checks, key=lambda check: check.loss).step
    assert best in files.kept_steps()
    assert load_pair(files.out, "mycat").step == best
    in_use, kept = load_pair(files.out, "mycat"), load_pair(files.folder, files.step_stem(best))
    assert torch.equal(in_use.positive["clip"], kept.positive["clip"])
    assert torch.equal(in_use.negative["clip"], kept.negative["clip"])


def test_checks_patience_and_keeping_change_no_vectors(tmp_path):
    plain, _ = run(tmp_path / "plain", steps=12, save_every=0)
    checked, _ = run(tmp_path / "checked", steps=12, save_every=5, check_every=2, keep="best", patience=99)
    for name, half in plain.pair.named().items():
        assert torch.equal(half["clip"], checked.pair.named()[name]["clip"])


def test_the_mean_training_loss_of_a_check_is_that_of_its_steps(tmp_path):
    training = Training(FakeHost(), config(steps=6, check_every=2, save_every=0), [picture()])
    with closing(run_to_files(training, RunFiles(tmp_path / "out", "mycat"))) as reports:
        losses = [float(report.loss) for report in reports]
    assert [check.training_loss for check in training.checks] == pytest.approx(
        [sum(losses[i : i + 2]) / 2 for i in (0, 2, 4)]
    )


def test_the_curve_lies_beside_the_training_as_a_table_and_a_picture(tmp_path):
    training, files = run(tmp_path, steps=8, save_every=4, check_every=2)
    rows = (files.folder / "curve.csv").read_text().splitlines()
    assert rows[0] == "step,check_loss,empty_prompt_loss,mean_training_loss"
    table = [[float(cell) for cell in row.split(",")] for row in rows[1:]]
    expected = [[c.step, c.loss, c.baseline, c.training_loss] for c in training.checks]
    np.testing.assert_allclose(table, expected, rtol=1e-5)
    with Image.open(files.folder / "curve.png") as drawn:
        assert (drawn.size, drawn.format) == ((WIDTH, HEIGHT), "PNG")


def test_an_overwritten_training_leaves_no_curve(tmp_path):
    _, files = run(tmp_path, steps=8, save_every=4, check_every=2)
    reports = run_to_files(Training(FakeHost(), config(steps=8, seed=9), [picture()]), files)
    next(reports)
    assert not (files.folder / "curve.csv").exists()
    assert not (files.folder / "curve.png").exists()
    reports.close()


def test_an_unknown_mean_is_an_empty_cell():
    assert curve_csv([Check(5, 0.5, 1.0)]).decode().splitlines()[1] == "5,0.5,1,"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([float("nan"), float("inf"), 0.5]), max_size=6))
def test_any_checks_can_be_drawn(losses):
    curve_png(checks_of(losses), 100)


def test_the_drawn_curve_is_where_its_values_are():
    """Lower losses lie lower, and the best one is marked in orange where it is."""
    drawn = np.asarray(Image.open(io.BytesIO(curve_png(checks_of([0.9, 0.2, 0.6]), 30))).convert("RGB")).astype(int)

    def middle_of(colour: tuple[int, int, int], columns: slice) -> float:
        near = np.abs(drawn[60:, columns] - colour).sum(axis=2) < 30
        return float(np.nonzero(near)[0].mean()) + 60

    green, orange = (47, 158, 110), (224, 138, 30)
    first, last = middle_of(green, slice(345, 355)), middle_of(green, slice(860, 875))
    near_best = middle_of(orange, slice(604, 610))
    assert first < last < near_best
