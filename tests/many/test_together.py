"""Trainings that share their passes: each is what it would be alone, whatever befalls the others."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import pytest
import torch

from dreamartist_ext.engine.errors import FileError, PictureError, SettingError, TrainingError
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files import run
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.many.own_words import _holds
from dreamartist_ext.many.together import Member, SharedTraining, train_together

from ..engine.fake_host import FakeHost
from ..engine.test_trainer import OPTIONS, config, picture
from ..files.kills import killed_after, touches_of

NAMES = ("mycat", "mydog", "mycatfish")


def pictures_of(number: int, masked: bool = False) -> list[TrainingPicture]:
    return [picture(number, masked=masked and number != 1)]


def member(host, out: Path, number: int, masked: bool = False, **values) -> Member:
    """Number 0, 1, 2: each with a name, a seed and a picture of its own; it goes on where its files are."""
    settings = config(**{"name": NAMES[number], "seed": number, **values})
    training = SharedTraining(host, settings, pictures_of(number, masked))
    files = RunFiles(out, settings.name)
    with suppress(FileError):
        training.restore(files.last_snapshot())
    return Member(training, files)


def together(out: Path, host=None, **values) -> list[Member]:
    host = host or FakeHost()
    members = [member(host, out, number, **values) for number in range(3)]
    for _ in train_together(host, members):
        pass
    return members


def alone(number: int, masked: bool = False, **values) -> Training:
    settings = config(**{"name": NAMES[number], "seed": number, **values})
    training = Training(FakeHost(), settings, pictures_of(number, masked))
    for _ in training.run():
        pass
    return training


def assert_equal(ours: Training, theirs: Training) -> None:
    for word, half in theirs.kept().named().items():
        for key, vectors in half.items():
            torch.testing.assert_close(ours.kept().named()[word][key], vectors, rtol=1e-9, atol=1e-12)


def result(out: Path) -> dict[str, bytes]:
    """Everything that the trainings leave, but for the snapshots before the last."""
    files = [path for path in out.parent.rglob("*") if path.is_file() and "-before" not in path.name]
    return {str(path.relative_to(out.parent)): path.read_bytes() for path in files}


@pytest.mark.parametrize("values", OPTIONS.values(), ids=OPTIONS.keys())
def test_each_is_what_it_would_be_alone(tmp_path, values):
    for number, one in enumerate(together(tmp_path / "out", batch_size=2, **values)):
        assert_equal(one.training, alone(number, batch_size=2, **values))


@pytest.mark.parametrize(
    "values",
    [
        {"accumulation": 3},
        {"latent_sampling": "each", "timestep_exponent": 0.6, "noisy_weight": 0.5},
        {"less_memory": "on"},
    ],
)
def test_passes_are_made_of_the_same_parts(tmp_path, values):
    for number, one in enumerate(together(tmp_path / "out", masked=True, batch_size=2, **values)):
        assert_equal(one.training, alone(number, masked=True, batch_size=2, **values))


def test_one_pass_serves_all_and_the_host_is_put_back(tmp_path):
    host, sizes = FakeHost(), []
    predict = host.predict
    host.predict = lambda noisy, *rest: (sizes.append(len(noisy) * torch.is_grad_enabled()), predict(noisy, *rest))[1]
    together(tmp_path / "out", host, steps=5, batch_size=2, save_every=0, less_memory="on")
    assert [size for size in sizes if size] == [2 * 2 * 3] * 5
    assert (host.open_sessions, host.open_less, host.embeddings) == (0, 0, {})


def test_one_at_a_time_has_the_bytes_of_a_training_without_others(tmp_path):
    values = {"ema": 0.9, "save_ema": True, "check_every": 3, "save_every": 4, "batch_size": 2}
    for number, name in enumerate(NAMES):
        host = FakeHost()
        list(train_together(host, [member(host, tmp_path / "ours" / "out", number, **values)]))
        settings = config(**{"name": name, "seed": number, **values})
        training = Training(FakeHost(), settings, pictures_of(number))
        list(run_to_files(training, RunFiles(tmp_path / "theirs" / "out", name)))
    assert len(result(tmp_path / "ours" / "out")) > 20
    assert result(tmp_path / "ours" / "out") == result(tmp_path / "theirs" / "out")


def test_each_has_its_own_checks_and_its_own_end(tmp_path):
    values = {"steps": 40, "check_every": 2, "patience": 2, "learning_rate": "0.3", "save_every": 4, "keep": "best"}
    members = together(tmp_path / "ours" / "out", **values)
    ends = []
    for number, one in enumerate(members):
        settings = config(name=NAMES[number], seed=number, **values)
        training = Training(FakeHost(), settings, pictures_of(number))
        files = RunFiles(tmp_path / "theirs" / "out", settings.name)
        list(run_to_files(training, files))
        assert one.training.step == training.step
        assert one.files.kept_steps() == files.kept_steps()
        for ours, theirs in zip(one.training.checks, training.checks, strict=True):
            assert (ours.step, ours.loss) == pytest.approx((theirs.step, theirs.loss), rel=1e-9)
        ends.append(training.step)
    assert len(set(ends)) > 1, "all ended at the same step, which shows nothing"


def poisoned(host: FakeHost, steps: set[int]) -> FakeHost:
    """A host whose predictions for the second of three pairs are not numbers at these calls with a gradient."""
    predict, calls = host.predict, 0

    def predicting(noisy, *rest):
        nonlocal calls
        found = predict(noisy, *rest)
        if torch.is_grad_enabled():
            calls += 1
            if calls in steps and len(noisy) == 6:  # as long as all three are there
                found = found.index_fill(0, torch.tensor([1, 4]), torch.nan)
        return found

    host.predict = predicting
    return host


def test_a_step_without_a_number_is_left_out_of_its_own_training_only(tmp_path):
    members = together(tmp_path / "out", poisoned(FakeHost(), {3, 7}), batch_size=1)
    for number in (0, 2):
        assert_equal(members[number].training, alone(number))
        assert members[number].training.guard.notice() == ""
    assert "2 steps were left out" in members[1].training.guard.notice()
    assert members[1].training.step == 12
    assert members[1].training.is_sound()


def test_one_that_is_lost_ends_alone(tmp_path):
    members = together(tmp_path / "out", poisoned(FakeHost(), set(range(4, 100))), batch_size=1)
    assert isinstance(members[1].error, TrainingError)
    assert not (tmp_path / "out" / "mydog.pt").exists()
    for number in (0, 2):
        assert members[number].error is None
        assert_equal(members[number].training, alone(number))


def test_a_picture_that_cannot_be_read_ends_its_own_training_only(tmp_path):
    class Gone:
        caption, source = "", "gone.png"

        def read(self):
            raise PictureError("gone.png is not there.")

    host = FakeHost()
    members = [member(host, tmp_path / "out", number) for number in range(3)]
    members[0].training.pictures = [Gone()]
    list(train_together(host, members))
    assert str(members[0].error) == "gone.png is not there."
    assert_equal(members[1].training, alone(1))


def test_an_error_of_a_pass_ends_all_and_loses_nothing(tmp_path, quick):
    expected = result_of_a_whole_run(tmp_path)
    host, calls = FakeHost(), []
    predict = host.predict

    def failing(noisy, *rest):
        calls.append(torch.is_grad_enabled())
        if sum(calls) > 4:
            raise RuntimeError("CUDA out of memory")
        return predict(noisy, *rest)

    host.predict = failing
    with pytest.raises(TrainingError, match="out of memory at step 5; fewer concepts per pass"):
        together(tmp_path / "ours" / "out", host, **SETTINGS)
    assert {RunFiles(tmp_path / "ours" / "out", name).last_snapshot().step for name in NAMES} == {4}
    together(tmp_path / "ours" / "out", **SETTINGS)
    assert result(tmp_path / "ours" / "out") == expected


SETTINGS = {"steps": 6, "save_every": 2, "check_every": 2, "ema": 0.9, "save_ema": True, "warmup": 2}


@pytest.fixture
def quick(monkeypatch):
    """Without what is slow and no part of what is shown."""
    monkeypatch.setattr(run, "curve_png", lambda checks, steps: b"a picture")


def result_of_a_whole_run(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "whole"
    folder.mkdir()
    together(folder / "out", **SETTINGS)
    return result(folder / "out")


def test_a_kill_at_any_touch_of_the_disk_and_a_resume_give_the_same_bytes(tmp_path, quick):
    """Also where it left the trainings at different steps."""
    expected = result_of_a_whole_run(tmp_path)
    (tmp_path / "rehearsal").mkdir()
    touches = touches_of(tmp_path / "rehearsal", lambda: together(tmp_path / "rehearsal" / "out", **SETTINGS))
    apart = 0
    for count in range(0, touches, 7):
        folder = tmp_path / str(count)
        folder.mkdir()
        with killed_after(count, folder):
            together(folder / "out", **SETTINGS)
        steps = set()
        for name in NAMES:
            with suppress(FileError):
                steps.add(RunFiles(folder / "out", name).last_snapshot().step)
        apart += len(steps) > 1
        together(folder / "out", **SETTINGS)
        assert result(folder / "out") == expected, f"killed after {count} of {touches} touches"
    assert apart > 5


@pytest.mark.parametrize("finished", [1, 2, 3])
def test_closing_keeps_all_and_those_that_are_over_are_not_trained_again(tmp_path, quick, finished):
    expected = result_of_a_whole_run(tmp_path)
    host = FakeHost()
    members = [member(host, tmp_path / "ours" / "out", number, **SETTINGS) for number in range(3)]
    with closing(train_together(host, members)) as reports:
        for _ in range(finished):
            assert next(reports) == 3
    assert {RunFiles(tmp_path / "ours" / "out", name).last_snapshot().step for name in NAMES} == {finished}
    together(tmp_path / "ours" / "out", **SETTINGS)
    assert result(tmp_path / "ours" / "out") == expected
    again = [member(host, tmp_path / "ours" / "out", number, **SETTINGS) for number in range(3)]
    assert sum(train_together(host, again)) == 0


def test_those_with_other_settings_cannot_share(tmp_path):
    host = FakeHost()
    members = [member(host, tmp_path, 0), member(host, tmp_path, 1, guidance="5")]
    with pytest.raises(SettingError, match="mydog and mycat differ in guidance"):
        next(train_together(host, members))
    many = [member(host, tmp_path, number, batch_size=100) for number in range(3)]
    with pytest.raises(SettingError, match="at most 256 samples, got 3 concepts of batch_size 100"):
        next(train_together(host, many))


@pytest.mark.parametrize(
    ("prompt", "own", "other", "holds"),
    [
        ("a photo of mycat", "mycat", "mydog", False),
        ("a photo of mycatfish", "mycatfish", "mycat", False),
        ("a photo of mycat", "mycat", "mycatfish", False),
        ("mycat-neg", "mycat", "neg", False),
        ("a red ball, mycat", "mycat", "Red", True),
        ("mycat, r e d", "mycat", "red", True),
        ("mycat cat", "mycat", "cat", True),
        ("a photo of ca-t1", "t1", "a-t1", True),
    ],
)
def test_a_word_is_found_in_anothers_prompt_anywhere_but_inside_its_word(prompt, own, other, holds):
    assert _holds(prompt, own, other) is holds


def test_words_that_meet_are_kept_apart(tmp_path):
    """One concept's name stands in the other's caption: alone, it is a plain word there."""
    host, bound = FakeHost(), []
    encode = host.encode_prompts

    def encoding(prompts):
        bound.append((tuple(prompts), frozenset(host.embeddings)))
        return encode(prompts)

    host.encode_prompts = encoding
    settings = {"template": "[filewords] [name]", "caption": "of no use", "steps": 3}
    members = [member(host, tmp_path / "ours" / "out", number, **settings) for number in range(2)]
    shown = [TrainingPicture(pictures_of(n)[0].pixels, None, text, "p.png") for n, text in ((0, "a MYDOG"), (1, "x"))]
    for one, picture_of_it in zip(members, shown, strict=True):
        one.training.pictures = [picture_of_it]
    list(train_together(host, members))
    assert all(one.error is None for one in members)
    for prompts, words in bound:
        if any("MYDOG" in prompt for prompt in prompts):
            assert "mydog" not in words
