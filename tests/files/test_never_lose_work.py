"""Kills, damage and refusals while a training writes: the disk holds whole files, a resume ends with the same bytes."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from dreamartist_ext.engine import check_loss, trainer
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import FileError, TrainingError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files import run
from dreamartist_ext.files.concepts.trash import bring_back, list_trash
from dreamartist_ext.files.generations import last_snapshot, one_before
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.storage import load_pair, load_snapshot

from ..engine.fake_host import FakeHost
from ..engine.test_trainer import config, picture
from .kills import killed_after, touches_of

SETTINGS = {"steps": 6, "save_every": 2, "check_every": 2, "ema": 0.9, "save_ema": True, "warmup": 2}
LONG = {"steps": 200, "save_every": 20, "check_every": 40, "ema": 0.9, "save_ema": True, "warmup": 2}


def trained(out: Path, settings: TrainConfig) -> RunFiles:
    """Train to the end, from the last snapshot if there is one."""
    files = RunFiles(out, "mycat")
    training = Training(FakeHost(), settings, [picture(0), picture(1)])
    with suppress(FileError):
        training.restore(files.last_snapshot())
    for _ in run_to_files(training, files):
        pass
    return files


def result(files: RunFiles) -> dict[str, bytes]:
    """Everything that a training leaves, but for the trash and the snapshot before the last."""
    folders = [folder for folder in (files.out, files.folder) if folder.is_dir()]
    found = {path.name: path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()}
    found.pop(one_before(files.snapshot).name, None)
    return found


def test_a_kill_at_any_touch_of_the_disk_and_a_resume_give_the_same_bytes(tmp_path):
    settings = config(**SETTINGS)
    expected = result(trained(tmp_path / "whole" / "out", settings))
    assert {"mycat.pt", "mycat-neg.pt", "snapshot.safetensors", "mycat-000002.pt"} <= expected.keys()
    (tmp_path / "rehearsal").mkdir()
    touches = touches_of(tmp_path / "rehearsal", lambda: trained(tmp_path / "rehearsal" / "out", settings))
    assert touches > 40
    for count in range(touches):
        folder = tmp_path / str(count)
        folder.mkdir()
        with killed_after(count, folder):
            trained(folder / "out", settings)
        assert result(trained(folder / "out", settings)) == expected, f"killed after {count} of {touches} touches"


def fail_once(monkeypatch, owner: object, name: str, fails_now: Callable[[int], bool]) -> None:
    """Let a function run out of memory at the first call, counted from 1, for which `fails_now` says so."""
    real, calls = getattr(owner, name), []

    def failing(*arguments, **named):
        calls.append(len(calls) + 1)
        if fails_now(calls[-1]):
            raise RuntimeError("CUDA out of memory")
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize("save_every", [0, 2])
@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        *((check_loss.CheckLoss, "__call__", count) for count in (1, 2, 3)),
        *((run, "save_pair", count) for count in (1, 2)),
        *((run, "keep_snapshot", count) for count in (1, 2)),
        *((trainer, "average_in", count) for count in (1, 3, 6)),
        *((trainer, "copies", count) for count in (1, 4)),
    ],
)
def test_an_error_in_a_check_a_save_or_a_step_and_a_resume_give_the_same_bytes(
    tmp_path, monkeypatch, owner, name, count, save_every
):
    values = {"save_every": save_every, "keep": "best", "learning_rate": "0.05"}
    settings = config(**{**SETTINGS, **values})
    expected = result(trained(tmp_path / "whole" / "out", settings))
    with monkeypatch.context() as patch:
        fail_once(patch, owner, name, lambda call: call == count)
        with pytest.raises(TrainingError, match="out of memory at step"):
            trained(tmp_path / "out", settings)
    assert result(trained(tmp_path / "out", settings)) == expected


def test_what_helps_when_the_memory_is_full_is_possible_when_going_on(tmp_path, monkeypatch):
    files = RunFiles(tmp_path / "out", "mycat")
    with monkeypatch.context() as patch:
        fail_once(patch, FakeHost, "predict", lambda call: call > 3)
        with pytest.raises(TrainingError, match=r"less_memory on needs less, also for going on; or begin again with"):
            trained(files.out, config(steps=6))
    step = files.last_snapshot().step
    assert 0 < step < 6
    training = Training(FakeHost(), config(steps=6, less_memory="on"), [picture(0), picture(1)])
    training.restore(files.last_snapshot())
    assert len(list(run_to_files(training, files))) == 6 - step


def test_a_snapshot_that_was_put_back_stays_as_it_was():
    training = Training(FakeHost(), config(steps=4), [picture()])
    steps = training.run()
    next(steps)
    snapshot = training.snapshot()
    before = {name: tensor.clone() for name, tensor in snapshot.tensors.items()}
    again = Training(FakeHost(), config(steps=4), [picture()])
    again.restore(snapshot)
    list(again.run())
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot.tensors.items())


def kill_at_random_moments(
    tmp_path: Path,
    kills: int,
    seed: int,
    train: Callable[[Path, TrainConfig], RunFiles] = trained,
    settings: dict = LONG,
    module: str = __name__,
) -> int:
    """How many of the kills hit a training under way; every one of them is followed by a resume and a comparison.

    `module` is loaded before the processes that train are forked.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    chance = random.Random(seed)
    wanted = config(**settings)
    train(tmp_path / "first" / "out", wanted)  # slower than those after it
    began = time.monotonic()
    expected = result(train(tmp_path / "whole" / "out", wanted))
    lasts = time.monotonic() - began
    server = context.Process(target=int)  # starts what the others are forked from
    server.start()
    server.join()
    hits = 0
    for number in range(kills):
        out = tmp_path / str(number) / "out"
        process = context.Process(target=train, args=(out, wanted))
        process.start()
        process.join(timeout=chance.uniform(0, lasts))
        process.kill()  # SIGKILL
        process.join()
        hits += process.exitcode != 0
        assert result(train(out, wanted)) == expected, f"kill {number}"
    return hits


def test_a_few_kills_at_random_moments(tmp_path):
    kill_at_random_moments(tmp_path, 3, seed=random.randrange(10**6))


@pytest.mark.slow
def test_fifty_kills_at_random_moments(tmp_path):
    hits = kill_at_random_moments(tmp_path, 50, seed=random.randrange(10**6))
    print(f"{hits} of 50 kills hit a training under way; all 50 ended with the same bytes")
    assert hits > 25


@pytest.mark.parametrize("damage", ["truncated", "a bit", "empty", "gone"])
def test_a_damaged_snapshot_is_replaced_by_the_one_before(tmp_path, damage):
    settings = config(**SETTINGS)
    expected = result(trained(tmp_path / "whole" / "out", settings))
    files = RunFiles(tmp_path / "out", "mycat")
    training = Training(FakeHost(), settings, [picture(0), picture(1)])
    reports = run_to_files(training, files)
    for report in reports:
        if report.step == 5:
            break  # without closing the generator: as a power cut
    content = bytearray(files.snapshot.read_bytes())
    content[-1] ^= 1  # a bit of the last number
    spoilt = {"truncated": content[:-7], "a bit": content, "empty": b""}
    if damage == "gone":
        files.snapshot.unlink()
    else:
        files.snapshot.write_bytes(spoilt[damage])
    snapshot = files.last_snapshot()
    assert snapshot.step == 2
    what = "is not there" if damage == "gone" else "is damaged"
    assert snapshot.notice == f"the last snapshot {what}; the training goes on from the one before it, of step 2."
    assert load_snapshot(one_before(files.snapshot)).notice == ""
    assert result(trained(tmp_path / "out", settings)) == expected
    del reports


def test_a_damaged_last_snapshot_never_takes_the_place_of_the_good_one_before(tmp_path):
    files = trained(tmp_path / "out", config(**SETTINGS))
    good = one_before(files.snapshot).read_bytes()
    files.snapshot.write_bytes(files.snapshot.read_bytes()[:-1])
    training = Training(FakeHost(), config(**SETTINGS), [picture(0), picture(1)])
    training.restore(files.last_snapshot())
    reports = run_to_files(training, files)
    next(reports)
    reports.close()  # keeps a snapshot
    assert one_before(files.snapshot).read_bytes() == good
    assert last_snapshot(files.snapshot).step == 5


def test_both_generations_damaged_is_said(tmp_path):
    files = trained(tmp_path / "out", config(**SETTINGS))
    for path in (files.snapshot, one_before(files.snapshot)):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError, match=r"the snapshot snapshot\.safetensors is damaged"):
        files.last_snapshot()


def test_a_snapshot_of_an_earlier_version_without_a_digest_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("dreamartist_ext.files.storage._digest", lambda *_: "")
    files = trained(tmp_path / "out", config(**SETTINGS))
    monkeypatch.undo()
    assert load_snapshot(files.snapshot).step == 6


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_refusal_at_any_write_leaves_whole_files_and_a_sentence(tmp_path, monkeypatch, code):
    """A full disk or a folder that became read-only, from the n-th write on; once it is well, the rest is done."""
    settings = config(**SETTINGS)
    expected = result(trained(tmp_path / "whole" / "out", settings))
    refusals = 0
    for limit in range(0, 40, 3):
        out = tmp_path / str(limit) / "out"
        count = 0

        def refusing(descriptor: int, limit: int = limit) -> None:
            nonlocal count
            count += 1
            if count > limit:
                raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", refusing)
        try:
            trained(out, settings)
        except FileError as error:
            assert os.strerror(code) in str(error)
            assert "\n" not in str(error)
            refusals += 1
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)
        assert result(trained(out, settings)) == expected
    assert refusals > 5


def test_the_pair_that_is_written_over_can_be_brought_back_and_only_the_last_one_is_kept(tmp_path):
    out = tmp_path / "out"
    first = None
    for seed in range(3):
        files = RunFiles(out, "mycat")
        for _ in run_to_files(Training(FakeHost(), config(seed=seed, **SETTINGS), [picture()]), files):
            pass
        first = first or (out / "mycat.pt").read_bytes()
        if seed == 1:
            (only,) = list_trash(out)
            assert only.name == "mycat"
            assert (only.place / "mycat.pt").read_bytes() == first
            second = {path.name: path.read_bytes() for path in out.iterdir()}
    (only,) = list_trash(out)
    assert {path.name: path.read_bytes() for path in only.place.iterdir()} == second
    assert sorted(path.name for path in out.iterdir()) == ["mycat-neg.pt", "mycat.pt"]
    for path in (*out.iterdir(), *(path for path in files.folder.iterdir() if path.is_file())):
        path.unlink()
    bring_back(files)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == second


def test_going_back_and_forth_between_steps_on_disk_fills_no_trash(tmp_path):
    files = trained(tmp_path / "out", config(**SETTINGS))
    for step in (2, 4, 6, 2):
        files.use_step(step)
    assert list_trash(files.out) == []


def test_a_last_step_that_is_nowhere_else_is_kept_when_another_is_chosen(tmp_path):
    files = trained(tmp_path / "out", config(**{**SETTINGS, "steps": 7}))
    last = load_pair(files.out, "mycat").positive["clip"]
    files.use_step(4)
    (thrown,) = list_trash(files.out)
    assert load_pair(thrown.place, "mycat").positive["clip"].equal(last)


def test_a_folder_for_the_training_that_cannot_be_made_is_said_before_any_work(tmp_path):
    files = RunFiles(tmp_path / "out", "mycat")
    files.folder.parent.write_text("a file, where the folder should be")
    with pytest.raises(FileError, match=r"could not be written to .*out-training"):
        files.check(resume=False, overwrite=False)
