"""`dreamartist train --processes`: processes of this machine, over gloo as they are on CPUs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from dreamartist_ext.engine.errors import SettingError
from dreamartist_ext.files import storage
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.hosts.diffusers import process_group

from .test_cli import here, model, run, start  # noqa: F401 - fixtures

pytest.importorskip("accelerate", reason='accelerate is not installed: pip install "dreamartist[accelerate]"')

COMMON = ("photo.png", "--name", "mycat", "--precision", "fp32", "--device", "cpu")


def written(out: Path) -> dict[str, bytes]:
    folders = out, out.with_name(f"{out.name}-training")
    files = [path for folder in folders for path in folder.rglob("*.*")]
    return {str(path.relative_to(out.parent)).replace(out.name, "OUT", 1): path.read_bytes() for path in files}


def children(process: int) -> list[int]:
    """The processes that train with this one; not the one that counts its semaphores."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in found}
    return [child for child, command in commands.items() if "spawn_main" in command]


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Two processes load their models here, beside whatever else the machine does; ends it where they do not come."""
    for _ in range(6000):
        if path.exists():
            return
        if process.poll() is not None:
            break
        signal.sigtimedwait([], 0.1)
    process.kill()
    pytest.fail(process.communicate()[1])


def wait_until_gone(others: list[int]) -> None:
    for process in others:
        for _ in range(600):
            try:
                state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
            except FileNotFoundError:
                break
            if state == "Z":
                break
            signal.sigtimedwait([], 0.1)
        else:
            pytest.fail(f"process {process} is still there")


def test_two_that_share_two_passes_write_the_bytes_of_one(here, model):  # noqa: F811
    flags = (*COMMON, "--model", model, "--accumulation", 2, "--save-every", 2, "--steps", 4)
    before = dict(os.environ)
    run("train", *flags, "--out", "one")
    assert "Written to two: mycat.pt, mycat-neg.pt" in run("train", *flags, "--out", "two", "--processes", 2)
    assert written(here / "one") == written(here / "two")
    assert len(written(here / "two")) > 8
    assert dict(os.environ) == before
    assert not torch.distributed.is_initialized()


def test_what_cannot_be_is_one_sentence_and_nobody_needs_accelerate_for_one_process(here, model, monkeypatch):  # noqa: F811
    flags = ("train", *COMMON, "--model", model, "--steps", 2, "--batch-size", 2)
    with pytest.raises(SettingError, match="batch_size x accumulation is 2, too few for 3 processes"):
        run(*flags, "--processes", 3)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(SettingError, match="2 processes need a GPU each, and there are 1 here"):
        run(*flags, "--device", "cuda", "--processes", 2)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(SettingError, match=r'need accelerate: pip install "dreamartist\[accelerate\]"'):
        run(*flags, "--processes", 2)
    assert not (here / "embeddings").exists() or not written(here / "embeddings")
    assert "Written to" in run(*flags)


def test_one_that_waits_for_what_will_never_come_is_ended(monkeypatch, capfd):
    """As on a GPU, which waits for another process's for ever."""
    left = threading.Event()
    monkeypatch.setattr(process_group, "PATIENCE", 0.01)
    monkeypatch.setattr(os, "_exit", lambda status: (status_of.append(status), left.set()))
    status_of = []
    other = multiprocessing.get_context("spawn").Process(target=exec, args=("raise SystemExit(3)",))
    other.start()
    with process_group.end_with([other]):
        assert left.wait(60)
    assert status_of == [1]
    assert "dreamartist: process 2 of 2 has ended, with exit status 3." in capfd.readouterr().err


@pytest.mark.slow
def test_two_that_share_one_batch_have_the_bits_of_two_passes(here, model):  # noqa: F811
    flags = (*COMMON, "--model", model, "--steps", 20)
    run("train", *flags, "--out", "one", "--batch-size", 2, "--accumulation", 2)
    run("train", *flags, "--out", "two", "--batch-size", 4, "--processes", 2)
    for name in ("mycat.pt", "mycat-neg.pt"):
        one, two = (storage.load_embedding(here / out / name).vectors["clip"] for out in ("one", "two"))
        assert one.equal(two)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--reconstruction", 0.3, "--mirror", "--random-crop", 0.2)])
def test_three_with_uneven_shares_make_the_vectors_of_one(here, model, more):  # noqa: F811
    flags = (*COMMON, "--model", model, "--batch-size", 4, "--steps", 30, *more)
    run("train", *flags, "--out", "one")
    run("train", *flags, "--out", "three", "--processes", 3)
    for name in ("mycat.pt", "mycat-neg.pt"):
        one, three = (storage.load_embedding(here / out / name).vectors["clip"] for out in ("one", "three"))
        torch.testing.assert_close(three, one, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(1, 2), (2, 1)])
def test_a_training_goes_on_with_another_number_of_processes(here, model, counts):  # noqa: F811
    flags = (*COMMON, "--model", model, "--accumulation", 2, "--save-every", 2)
    run("train", *flags, "--out", "whole", "--steps", 6)
    run("train", *flags, "--out", "parts", "--steps", 4, "--processes", counts[0])
    run("train", *flags, "--out", "parts", "--steps", 6, "--processes", counts[1], "--resume")
    for name in ("mycat.pt", "mycat-neg.pt"):
        assert (here / "whole" / name).read_bytes() == (here / "parts" / name).read_bytes()


@pytest.mark.slow
def test_a_refusal_is_said_once_and_leaves_nobody_behind(here, model):  # noqa: F811
    flags = ("--accumulation", "2", "--processes", "2", "--device", "cpu")
    run("train", *COMMON, "--model", model, "--accumulation", 2, "--steps", 2)
    process = start(here, model, *flags, "--steps", "4", "--resume", "--seed", "9")
    _, error = process.communicate(timeout=600)
    assert process.returncode == 2
    assert error == "dreamartist: this training was started with seed 0, so it cannot go on with 9.\n"


@pytest.mark.slow
@pytest.mark.parametrize("who", ["all", "second", "first"])
def test_ctrl_c_and_a_death_end_all_and_lose_nothing(here, model, who):  # noqa: F811
    """Ctrl-C reaches all processes of a terminal; a kill reaches one of them."""
    files = RunFiles(here / "embeddings", "mycat")
    flags = ("--accumulation", "2", "--processes", "2", "--device", "cpu", "--save-every", "3")
    command = [sys.executable, "-m", "dreamartist_ext", "train", "photo.png", "--name", "mycat", "--model", str(model)]
    process = subprocess.Popen(
        [*command, "--precision", "fp32", "--steps", "100000", *flags],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(files.snapshot, process)
    others = children(process.pid)
    assert len(others) == 1
    if who == "all":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(others[0] if who == "second" else process.pid, signal.SIGKILL)
    said, error = process.communicate(timeout=600)
    wait_until_gone(others)
    sentence = error.splitlines()[-1] if error else ""
    assert said == ""
    if who == "all":
        assert sentence.endswith("the same command with --resume goes on from there.")
    if who == "second":
        assert sentence.startswith("dreamartist: one of the 2 processes has ended; the training can go on")
        assert sentence.endswith("The same command with --resume does that.")
    assert process.returncode == {"all": 130, "second": 1, "first": -signal.SIGKILL}[who]
    assert "Traceback" not in error
    step = files.last_snapshot().step
    common = (*COMMON, "--model", model, "--accumulation", 2, "--save-every", 3, "--steps", step + 2)
    run("train", *common, "--resume", "--processes", 2)
    run("train", *common, "--out", "whole")
    assert (here / "embeddings" / "mycat.pt").read_bytes() == (here / "whole" / "mycat.pt").read_bytes()


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs here that torch can use")
def test_two_gpus_make_what_one_makes(here, model):  # noqa: F811
    flags = (*COMMON[:-2], "--device", "cuda", "--model", model, "--accumulation", 2, "--steps", 6)
    run("train", *flags, "--out", "one")
    run("train", *flags, "--out", "two", "--processes", 2)
    for name in ("mycat.pt", "mycat-neg.pt"):
        one, two = (storage.load_embedding(here / out / name).vectors["clip"] for out in ("one", "two"))
        assert (one - two).norm() < 0.01 * one.norm()
