"""Steps that are not finite leave no trace; a loss scale changes nothing but what half precision can hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamartist_ext.engine.check_loss import CheckLoss
from dreamartist_ext.engine.errors import TrainingError
from dreamartist_ext.engine.step_guard import GROW_EVERY, MOST_IN_A_ROW, StepGuard
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.run import RunFiles, run_to_files

from .fake_host import FakeHost
from .test_trainer import config, picture, vectors_after

AVERAGED = {"ema": 0.8, "ema_replace_every": 3, "fix_norm": "both", "clip_gradient": 0.05, "weight_decay": 0.1}


class BrokenAt(FakeHost):
    """Its predictions, or the gradients through them, are not finite while `training.step` is one of `steps`."""

    def __init__(self, steps=(), value=float("nan"), only_gradient=False) -> None:
        super().__init__()
        self.steps, self.value, self.only_gradient = set(steps), value, only_gradient
        self.training = None

    def predict(self, noisy_latents, timesteps, cond):
        true = super().predict(noisy_latents, timesteps, cond)
        if self.training is None or self.training.step not in self.steps or not torch.is_grad_enabled():
            return true
        if self.only_gradient:
            true.register_hook(lambda gradient: gradient * self.value)
            return true
        return true * self.value


def broken_training(host: BrokenAt, **values) -> Training:
    host.training = Training(host, config(**values), [picture()])
    return host.training


def state_of(training: Training) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in training._state()]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("only_gradient", [True, False], ids=["gradient", "loss"])
@pytest.mark.parametrize("values", [{}, AVERAGED, {"use_negative": False}], ids=["pair", "averaged", "plain"])
def test_a_dropped_step_leaves_vectors_moments_and_averages_to_the_bit(value, only_gradient, values):
    training = broken_training(BrokenAt({3, 4, 7}, value, only_gradient), **values)
    before = state_of(training)
    for report in training.run():
        after = state_of(training)
        unchanged = [torch.equal(old, new) for old, new in zip(before, after, strict=False)]
        if report.step - 1 in {3, 4, 7}:
            assert all(unchanged)
        else:
            assert not all(unchanged)
        before = after
    assert int(training.guard.dropped) == 3
    assert all(torch.isfinite(tensor).all() for tensor in before)


def test_a_dropped_first_step_is_as_if_it_had_not_been():
    training = broken_training(BrokenAt({0}))
    start = [half["clip"].detach().clone() for half in training.pair.named().values()]
    reports = training.run()
    next(reports)
    assert all(torch.equal(a, b["clip"]) for a, b in zip(start, training.pair.named().values(), strict=True))
    assert {float(state["step"]) for state in training.optimizer.state.values()} == {0.0}
    next(reports)
    assert {float(state["step"]) for state in training.optimizer.state.values()} == {1.0}


def test_too_many_in_a_row_end_the_training_and_what_was_good_is_kept(tmp_path):
    training = broken_training(BrokenAt(range(6, 99)), steps=50, save_every=0)
    files = RunFiles(tmp_path / "out", "mycat")
    good = None
    lost = rf"no longer a finite number at step {6 + MOST_IN_A_ROW}, nor in the 4 "
    with pytest.raises(TrainingError, match=lost) as stopped:
        for report in run_to_files(training, files):
            good = state_of(training)[:2] if report.step == 6 else good
    assert str(stopped.value).endswith("begin again with a lower learning_rate.")  # going on keeps the old one
    snapshot = files.last_snapshot()
    assert torch.equal(snapshot.tensors["positive.clip"], good[0])
    assert torch.equal(snapshot.tensors["negative.clip"], good[1])
    assert files.kept_steps() == [6 + MOST_IN_A_ROW]  # can be taken into use without training on


def test_single_bad_steps_never_end_it():
    training = broken_training(BrokenAt(set(range(60)) - set(range(0, 60, MOST_IN_A_ROW))), steps=60)
    assert len(list(training.run())) == 60
    assert int(training.guard.dropped) == 48


def test_a_check_that_is_not_finite_is_never_the_best(tmp_path):
    training = broken_training(BrokenAt(), steps=4, save_every=2, check_every=2)
    files = RunFiles(tmp_path / "out", "mycat")
    for report in run_to_files(training, files):
        if report.step == 2:
            training.host.predict = lambda *arguments: FakeHost.predict(training.host, *arguments) * float("nan")
    assert [check.loss > 0 for check in training.checks] == [True, False]
    assert files.best_step(training.checks) == 2


class HalfHost(FakeHost):
    """Gradients go through float16 on their way back, as they do in a model of half precision."""

    def __init__(self, loss_scale: float) -> None:
        super().__init__()
        self.loss_scale = loss_scale
        self.overflowed = []

    def predict(self, noisy_latents, timesteps, cond):
        prediction = super().predict(noisy_latents, timesteps, cond)
        if prediction.requires_grad:
            prediction.register_hook(self.rounded)
        return prediction

    def rounded(self, gradient: torch.Tensor) -> torch.Tensor:
        half = gradient.half()
        self.overflowed.append(not bool(torch.isfinite(half).all()))
        return half.to(gradient)


def test_a_loss_scale_in_range_changes_nothing_but_the_rounding():
    plain = vectors_after(config(accumulation=2))
    training = Training(HalfHost(2.0**12), config(accumulation=2), [picture()])
    for _ in training.run():
        pass
    assert float(training.guard.scale) == 2.0**12
    assert int(training.guard.dropped) == 0
    for word, half in training.pair.named().items():
        torch.testing.assert_close(half["clip"].detach(), plain[word], rtol=2e-2, atol=2e-3)


def test_an_exact_host_gives_the_same_vectors_with_and_without_a_scale():
    host = FakeHost()
    host.loss_scale = 2.0**12
    training = Training(host, config(accumulation=2), [picture()])
    for _ in training.run():
        pass
    for word, vectors in vectors_after(config(accumulation=2)).items():
        assert torch.equal(training.pair.named()[word]["clip"], vectors)


def test_a_scale_that_overflows_is_halved_until_it_does_not():
    host = HalfHost(2.0**24)
    training = Training(host, config(steps=40), [picture()])
    scales = [float(training.guard.scale) for _ in training.run()]
    drops = sum(host.overflowed)
    assert 0 < drops < 24
    assert host.overflowed[:drops] == [True] * drops
    assert scales[-1] == 2.0 ** (24 - drops)
    assert int(training.guard.dropped) == drops
    assert {float(state["step"]) for state in training.optimizer.state.values()} == {40.0 - drops}


def test_a_loss_that_is_not_finite_ends_a_scaled_training_as_well():
    host = BrokenAt(range(99))
    host.loss_scale = 2.0**12
    with pytest.raises(TrainingError, match="no longer a finite number"):
        list(broken_training(host, steps=50).run())


def test_the_scale_grows_again_up_to_where_it_began():
    guard = StepGuard(8.0, torch.device("cpu"))
    guard.judge(torch.tensor(1.0), [torch.tensor([float("inf")])])
    assert float(guard.scale) == 4.0
    for _ in range(3 * GROW_EVERY):
        guard.judge(torch.tensor(1.0), [])
    assert float(guard.scale) == 8.0


@settings(max_examples=20, deadline=None)
@given(stop=st.integers(1, 39), bad=st.sets(st.integers(0, 39), max_size=10))
def test_a_resume_knows_the_scale_and_the_dropped_steps(stop, bad):
    def trained(training: Training, until: int) -> Training:
        training.host.training = training
        for report in training.run():
            if report.step == until:
                break
        return training

    def fresh() -> Training:
        host = BrokenAt(bad, only_gradient=True)
        host.loss_scale = 2.0**6
        return Training(host, config(steps=40), [picture()])

    whole = trained(fresh(), 40)
    half = trained(fresh(), stop)
    resumed = fresh()
    resumed.restore(half.snapshot())
    trained(resumed, 40)
    assert resumed.guard.tensors().keys() == whole.guard.tensors().keys()
    for name, value in whole.guard.tensors().items():
        assert torch.equal(resumed.guard.tensors()[name], value), name
    for mine, theirs in zip(state_of(resumed), state_of(whole), strict=True):
        assert torch.equal(mine, theirs)


def test_nothing_is_read_back_from_a_gpu_but_every_tenth_step(monkeypatch):
    """There is none here: the meta device refuses every reading."""
    guard = StepGuard(2.0**12, torch.device("meta"))
    for step in range(1, 10):
        guard.judge(torch.zeros((), device="meta"), [torch.zeros(3, 4, device="meta")])
        guard.check(step)
    with pytest.raises(RuntimeError):
        guard.check(10)


def test_the_mean_loss_is_of_the_steps_that_counted_since_the_last_time(tmp_path):
    training = broken_training(BrokenAt({1}), steps=4)
    losses = [float(report.loss) for report in training.run()]
    assert training.guard.mean_loss() == pytest.approx((losses[0] + losses[2] + losses[3]) / 3, rel=1e-6)
    assert training.guard.mean_loss() is None
    with training.host.session(), training.host.bind(training.pair.named()):
        CheckLoss(training)()
