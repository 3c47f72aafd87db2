"""`train-many` on several local workers and on a cluster whose machines die: the bytes are those of one process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.many.concepts import Outcome, concepts_in, groups_of
from dreamartist_ext.many.group import Job, train_group
from dreamartist_ext.many.workers import _board, _connect, train_on_ray

from .test_train_many import COLOURS, here, model, result  # noqa: F401 - fixtures

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "dreamartist[many]"')
pytestmark = pytest.mark.slow

SETTINGS = {"steps": 60, "save_every": 20, "batch_size": 1}


@pytest.fixture(autouse=True)
def on_a_busy_machine(monkeypatch):
    """Ray's workers would otherwise give way to everything else that runs here."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def job(here, model) -> Job:  # noqa: F811
    return Job(SETTINGS, here / "pairs", (model, "cpu", "fp32", 1))


def groups(job: Job, per_pass: int):
    return groups_of(concepts_in(Path("pictures"), job.settings)[0], per_pass, job.out)


def expected(job: Job, per_pass: int) -> dict[str, bytes]:
    """What one process makes of it."""
    out = job.out.with_name("whole")
    for group in groups(job, per_pass):
        train_group(Job(job.settings, out, job.loading), group, lambda made, spared: False)
    return result(out)


def on_ray(job: Job, per_pass: int, show=lambda made, spared: None, address=None, is_stopped=lambda: False):
    return list(train_on_ray(job, groups(job, per_pass), 2, address, 3, show, is_stopped))


def workers_of_ours(title: bytes = b"ray::_train") -> list[int]:
    """Processes of Ray under this title that descend from this one; those that train, unless told."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(title) and _descends(int(folder.name), os.getpid()):
            found.append(int(folder.name))
    return found


def _descends(process: int, ancestor: int) -> bool:
    while process > 1:
        if process == ancestor:
            return True
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return False
        process = int(stat.rpartition(")")[2].split()[1])
    return False


def test_a_worker_that_is_killed_loses_nothing_and_a_bad_picture_ends_its_own_training_only(job):
    bytes_of_one_process = expected(job, 2)
    (Path("pictures") / "fly.png").write_text("no picture")
    killed = []

    def kill_one(made: int, spared: int) -> None:
        if made >= 30 and not killed:
            killed.append(workers_of_ours()[0])
            os.kill(killed[0], signal.SIGKILL)

    outcomes = {outcome.name: outcome for outcome in on_ray(job, 2, kill_one)}
    assert killed, "nobody was killed, which shows nothing"
    assert "cannot be opened as a picture" in outcomes.pop("fly").sentence
    assert outcomes == {name: Outcome(name, "trained") for name in COLOURS}
    assert result(job.out) == bytes_of_one_process


def test_a_killed_board_loses_nothing(job):
    bytes_of_one_process = expected(job, 2)
    killed = []

    def kill_the_board(made: int, spared: int) -> None:
        if made >= 30 and not killed:
            killed.extend(workers_of_ours(b"ray::Board"))
            os.kill(killed[0], signal.SIGKILL)

    outcomes = {outcome.name: outcome for outcome in on_ray(job, 2, kill_the_board)}
    assert len(killed) == 1, "nobody was killed, which shows nothing"
    assert outcomes == {name: Outcome(name, "trained") for name in COLOURS}
    assert result(job.out) == bytes_of_one_process


def test_the_board_lives_where_the_command_does():
    """On another machine its end would be the command's. Ray picks one by chance where it may, so it is asked often."""
    from ray.cluster_utils import Cluster

    def where(board) -> str:
        return ray.get_runtime_context().get_node_id()

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        _connect(1, cluster.address)
        places = {ray.get(_board().__ray_call__.remote(where)) for _ in range(6)}
        assert places == {ray.get_runtime_context().get_node_id()}
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_stop_keeps_all_that_was_made_and_another_place_goes_on(job):
    bytes_of_one_process = expected(job, 1)
    made_so_far = [0]
    outcomes = on_ray(job, 1, lambda made, spared: made_so_far.append(made), None, lambda: made_so_far[-1] > 0)
    assert {outcome.what for outcome in outcomes} <= {"stopped", "trained"}
    assert [outcome.what for outcome in outcomes].count("stopped") >= 2
    begun = [files for name in COLOURS if (files := RunFiles(job.out, name)).snapshot.exists()]
    assert 0 < sum(files.last_snapshot().step for files in begun) < 4 * SETTINGS["steps"]
    for group in groups(job, 1):
        train_group(job, group, lambda made, spared: False)
    assert result(job.out) == bytes_of_one_process


def test_a_machine_that_dies_loses_nothing(job):
    """Two machines of one core each; one of them goes while it trains."""
    from ray.cluster_utils import Cluster

    bytes_of_one_process = expected(job, 1)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]

    def remove_one(made: int, spared: int) -> None:
        if made >= 30 and len(nodes) == 2:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    try:
        outcomes = on_ray(job, 1, remove_one, cluster.address)
        assert len(nodes) == 1, "nothing was removed, which shows nothing"
        assert {outcome.name: outcome for outcome in outcomes} == {name: Outcome(name, "trained") for name in COLOURS}
        assert result(job.out) == bytes_of_one_process
    finally:
        cluster.shutdown()
