"""Several processes that share a training's samples, here as threads: the result is that of one process."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
import torch

from dreamartist_ext.engine.divided import DividedTraining
from dreamartist_ext.engine.errors import SettingError, TrainingError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.run import RunFiles, run_to_files

from .fake_host import FakeHost
from .test_trainer import OPTIONS, config, picture


class Table:
    """Where threads meet: each lays something down, and takes what all have laid down."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.barrier = threading.Barrier(count, timeout=60)
        self.laid = [None] * count


class Seat:
    """A `Group` of threads."""

    def __init__(self, table: Table, rank: int) -> None:
        self.table, self.rank, self.count = table, rank, table.count
        self.is_broken = False

    def all_said(self, value):
        try:
            self.table.barrier.wait()
            self.table.laid[self.rank] = value
            self.table.barrier.wait()
            return list(self.table.laid)
        except threading.BrokenBarrierError as error:
            self.is_broken = True
            raise TrainingError("one of them is gone") from error

    def told(self, value=None):
        return self.all_said(value)[0]

    def total(self, tensor):
        return torch.stack(self.all_said(tensor.clone())).sum(0)


def together(count, settings, pictures, lead, host=FakeHost):
    """Let `lead` do what it likes with the first of `count` trainings that share their steps; all of them, and what it
    raised."""
    table = Table(count)
    trainings = [DividedTraining(host(), settings, pictures, Seat(table, rank)) for rank in range(count)]

    unexpected = []

    def follow(training):
        try:
            training.follow()
        except Exception as error:
            if not (isinstance(error, TrainingError) and training.group.is_broken):
                unexpected.append(error)
                table.barrier.abort()

    others = [threading.Thread(target=follow, args=(training,), daemon=True) for training in trainings[1:]]
    for thread in others:
        thread.start()
    raised = None
    try:
        lead(trainings[0])
    except Exception as error:
        raised = error
    if not trainings[0].group.is_broken:
        trainings[0].group.told("end")
    for thread in others:
        thread.join(60)
        assert not thread.is_alive()
    assert unexpected == []
    return trainings, raised


def all_steps(training):
    for _ in training.run():
        pass


def kept(training) -> dict[str, torch.Tensor]:
    return {word: half["clip"].detach() for word, half in training.kept().named().items()}


def alone(settings, pictures, host=FakeHost) -> Training:
    training = Training(host(), settings, pictures)
    all_steps(training)
    return training


def same(divided: Training, single: Training) -> None:
    ours, theirs = kept(divided), kept(single)
    assert ours.keys() == theirs.keys()
    for word in ours:
        torch.testing.assert_close(ours[word], theirs[word], rtol=1e-9, atol=1e-12)


MORE = {
    "several pictures and a drawn latent": {"latent_sampling": "each"},
    "templates": {"template": "a [name]|one [name]|this [name]"},
}


@pytest.mark.parametrize("values", (OPTIONS | MORE).values(), ids=(OPTIONS | MORE).keys())
def test_with_every_option_two_make_what_one_makes(values):
    values = dict(values)
    pictures = [picture(seed, masked=values.get("masked", False)) for seed in range(3)]
    values.pop("masked", None)
    settings = config(batch_size=2, accumulation=2, **values)
    trainings, raised = together(2, settings, pictures, all_steps)
    assert raised is None
    same(trainings[0], alone(settings, pictures))
    assert trainings[0]._digest() == trainings[1]._digest()


@pytest.mark.parametrize(
    ("count", "batch", "accumulation"), [(2, 3, 1), (3, 4, 1), (3, 2, 4), (4, 1, 5), (2, 5, 3), (3, 3, 1)]
)
def test_uneven_shares_weigh_what_they_should(count, batch, accumulation):
    settings = config(batch_size=batch, accumulation=accumulation)
    trainings, raised = together(count, settings, [picture()], all_steps)
    assert raised is None
    same(trainings[0], alone(settings, [picture()]))
    shares = [[part for training in trainings for part in training.parts()]]
    samples = [i for parts in shares for part in parts for i in range(settings.batch_size * accumulation)[part]]
    assert samples == list(range(batch * accumulation))
    assert all(part.stop - part.start <= batch for parts in shares for part in parts)


def test_too_few_samples_to_share_is_said():
    with pytest.raises(SettingError, match="batch_size x accumulation is 2, too few for 3 processes to share"):
        DividedTraining(FakeHost(), config(batch_size=2), [picture()], Seat(Table(3), 0))


class Bad(FakeHost):
    """Every timestep in four gives no number."""

    def predict(self, noisy_latents, timesteps, cond):
        lost = (timesteps % 16 == 3)[:, None, None, None]
        return torch.where(lost, torch.nan, super().predict(noisy_latents, timesteps, cond))


def test_a_step_that_is_no_number_in_one_of_them_is_dropped_by_all():
    settings = config(batch_size=2, steps=40)
    trainings, raised = together(2, settings, [picture()], all_steps, Bad)
    single = alone(settings, [picture()], Bad)
    assert raised is None
    assert [int(training.guard.dropped) for training in trainings] == [int(single.guard.dropped)] * 2
    assert int(single.guard.dropped) > 1
    same(trainings[0], single)


class Hopeless(FakeHost):
    def predict(self, noisy_latents, timesteps, cond):
        return super().predict(noisy_latents, timesteps, cond) * torch.nan


def test_a_lost_training_is_given_up_by_all(tmp_path):
    files = RunFiles(tmp_path / "embeddings", "mycat")
    trainings, raised = together(
        2, config(batch_size=2), [picture()], lambda training: list(run_to_files(training, files)), Hopeless
    )
    assert isinstance(raised, TrainingError)
    assert "no longer a finite number at step 5" in str(raised)
    assert [training.step for training in trainings] == [5, 5]


class Dull(FakeHost):
    """Prompts that begin with "dull" hold nothing that is learned."""

    def encode_prompts(self, prompts):
        found = super().encode_prompts(prompts)
        dull = torch.tensor([prompt.startswith("dull") for prompt in prompts])[:, None]
        return found.detach() if dull.all() else torch.where(dull, found.detach(), found)


def test_a_word_that_only_some_of_them_have_in_their_prompts_learns():
    settings = config(batch_size=2, seed=5, use_negative=False, template="dull [name]|a [name]")
    for steps in range(1, 9):  # until both of a step are dull, which ends the training
        trainings, raised = together(2, config(**(vars(settings) | {"steps": steps})), [picture()], all_steps, Dull)
        if raised:
            break
        same(trainings[0], alone(config(**(vars(settings) | {"steps": steps})), [picture()], Dull))
    assert steps > 2
    assert isinstance(raised, SettingError)
    assert 'the word "mycat" is not found in its own prompts' in str(raised)


class Full(FakeHost):
    """Runs out of memory in the fourth step of one process: of the one whose `fails` is set."""

    fails = False

    def __init__(self):
        super().__init__()
        self.passes = 0

    def predict(self, *arguments):
        self.passes += 1
        if self.fails and self.passes == 4:
            raise RuntimeError("CUDA out of memory.\nTried to allocate everything.")
        return super().predict(*arguments)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_in_one_of_them_ends_all_and_keeps_the_steps_that_were_made(tmp_path, rank):
    files = RunFiles(tmp_path / "embeddings", "mycat")

    def fail(training):
        list(run_to_files(training, files))

    settings = config(batch_size=2, save_every=2, check_every=12)
    built = iter(range(2))

    def host():
        made = Full()
        made.fails = next(built) == rank
        return made

    trainings, raised = together(2, settings, [picture()], fail, host)
    assert isinstance(raised, TrainingError)
    assert "out of memory at step 4; less_memory on needs less" in str(raised)
    assert files.last_snapshot().step == trainings[0].step == trainings[1].step == 3


@pytest.mark.parametrize(("rank", "sentence"), [(0, "the disk is gone"), (1, "process 2 of 2 cannot go on: the disk")])
def test_an_error_of_any_kind_is_heard_of_by_all(rank, sentence):
    class Unreadable(FakeHost):
        is_broken = False

        def predict(self, *arguments):
            if self.is_broken:
                raise OSError("the disk is gone")
            return super().predict(*arguments)

    built = iter(range(2))

    def host():
        made = Unreadable()
        made.is_broken = next(built) == rank
        return made

    _, raised = together(2, config(batch_size=2), [picture()], all_steps, host)
    assert sentence in str(raised)


def test_one_that_is_lost_ends_all_and_keeps_the_steps_that_were_made(tmp_path):
    files = RunFiles(tmp_path / "embeddings", "mycat")

    def lose(training):
        with closing(run_to_files(training, files)) as reports:
            for report in reports:
                if report.step == 5:
                    training.group.table.barrier.abort()

    _, raised = together(2, config(batch_size=2, save_every=2), [picture()], lose)
    assert isinstance(raised, TrainingError)
    assert str(raised) == "one of them is gone"
    assert files.last_snapshot().step == 5


def test_one_that_is_lost_after_the_last_step_spoils_nothing(tmp_path):
    files = RunFiles(tmp_path / "embeddings", "mycat")

    def lose(training):
        for report in run_to_files(training, files):
            if report.step == 12:
                training.group.table.barrier.abort()

    trainings, raised = together(2, config(batch_size=2, save_every=0), [picture()], lose)
    assert raised is None
    same(trainings[0], alone(config(batch_size=2), [picture()]))
    assert (files.out / "mycat.pt").exists()


def test_vectors_that_have_parted_are_found_at_the_snapshot(tmp_path):
    files = RunFiles(tmp_path / "embeddings", "mycat")
    found = []

    def part(training):
        with closing(run_to_files(training, files)) as reports:
            for report in reports:
                if report.step == 5:
                    with torch.no_grad():
                        training.pair.positive["clip"][0, 0] += 1e-12
                found.append(report.step)

    _, raised = together(2, config(batch_size=2, save_every=4), [picture()], part)
    assert isinstance(raised, TrainingError)
    assert "do not hold the same vectors any more at step 8" in str(raised)
    assert found[-1] == 7
    assert files.last_snapshot().step == 4


def test_only_the_first_writes_and_its_checks_decide_for_all(tmp_path):
    settings = config(batch_size=1, accumulation=2, steps=60, save_every=5, check_every=5, patience=1, keep="best")
    settings = config(**(vars(settings) | {"learning_rate": "0.3"}))
    single = Training(FakeHost(), settings, [picture()])
    list(run_to_files(single, RunFiles(tmp_path / "one" / "embeddings", "mycat")))
    there = RunFiles(tmp_path / "two" / "embeddings", "mycat")
    trainings, raised = together(2, settings, [picture()], lambda t: list(run_to_files(t, there)))
    assert raised is None
    assert trainings[1].step == trainings[0].step == single.step < 60
    assert trainings[1].checks == []
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one == two


def test_a_training_goes_on_with_any_number_of_processes():
    settings = config(batch_size=1, accumulation=6)
    whole = alone(settings, [picture()])
    snapshots = []

    def five_steps(training):
        with closing(training.run()) as reports:
            for report in reports:
                if report.step % 5 == 0:
                    break
        snapshots.append(training.snapshot())

    together(3, settings, [picture()], five_steps)
    single = Training(FakeHost(), settings, [picture()])
    single.restore(snapshots[0])
    all_steps(single)
    same(single, whole)
