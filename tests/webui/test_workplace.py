"""The WebUI's queue and its Skip, Interrupt and Stop, on stand-ins of its modules: nothing stays behind."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pytest

from dreamartist_ext.files.storage import load_pair
from dreamartist_ext.hosts.a1111.workplace import A1111Workplace
from dreamartist_ext.hosts.webuis.called_off import stop_where_called_off
from dreamartist_ext.webui.training.job import Status
from dreamartist_ext.webui.training.jobs import Desk

from .fake_workplace import SETTINGS, FakeWorkplace
from .training.test_jobs import picture  # noqa: F401 - a fixture

FLAGS = ("skipped", "interrupted", "stopping_generation")


class State(SimpleNamespace):
    """As the WebUI's: it empties the GPU's cache at both ends, which can fail."""

    def __init__(self):
        super().__init__(job="", job_count=0, failing="", **dict.fromkeys(FLAGS, False))

    def begin(self, job):
        self.job, self.job_count = job, -1
        self.fails("begin")

    def end(self):
        self.fails("end")
        self.job, self.job_count = "", 0

    def fails(self, where):
        if self.failing == where:
            raise RuntimeError("CUDA error")


class Progress:
    def __init__(self, state):
        self.state, self.current_task, self.pending_tasks = state, None, {}

    def add_task_to_queue(self, task):
        self.pending_tasks[task] = 0.0

    def start_task(self, task):
        self.current_task = task
        self.pending_tasks.pop(task, None)
        self.state.fails("start")

    def finish_task(self, task):
        self.current_task = None
        self.state.fails("finish")


@pytest.fixture
def webui(monkeypatch):
    state = State()
    modules = SimpleNamespace(
        call_queue=SimpleNamespace(queue_lock=threading.Lock()),
        progress=Progress(state),
        shared=SimpleNamespace(state=state, demo=None),
    )
    monkeypatch.setitem(sys.modules, "modules", modules)
    return modules


@pytest.mark.parametrize("failing", ["", "begin", "start", "inside", "finish", "end"])
def test_the_queue_is_free_and_at_rest_whatever_fails(webui, failing):
    state = webui.shared.state
    state.failing = failing
    with suppress(RuntimeError), A1111Workplace().gpu("task(a)"):
        assert webui.call_queue.queue_lock.locked()
        assert (state.job, webui.progress.current_task) == ("task(a)", "task(a)")
        state.skipped = state.interrupted = state.stopping_generation = True
        state.fails("inside")
    assert not webui.call_queue.queue_lock.locked()
    assert [getattr(state, flag) for flag in FLAGS] == [False] * 3
    assert (state.job, state.job_count) == ("", 0)
    assert (webui.progress.current_task, webui.progress.pending_tasks) == (None, {})


class Pressed(FakeWorkplace):
    """A training under the WebUI's own buttons."""

    gpu, begin, interrupted = A1111Workplace.gpu, A1111Workplace.begin, A1111Workplace.interrupted


@pytest.mark.parametrize("button", FLAGS)
def test_skip_interrupt_and_stop_end_a_training_and_keep_its_best(webui, tmp_path, picture, button, monkeypatch):  # noqa: F811
    monkeypatch.setattr("dreamartist_ext.hosts.webuis.workplace.page_is_closing", lambda: False)
    place = Pressed(tmp_path)
    place.show = lambda step, steps, text: setattr(webui.shared.state, button, step == 5)
    mine = Desk(place)
    job = mine.run(mine.prepare(SETTINGS, [picture]))
    assert (job.status, job.step) == (Status.STOPPED, 5)
    assert job.used_step in (2, 4)
    assert load_pair(place.embeddings, "cat").step == job.used_step
    assert not getattr(webui.shared.state, button), "the next picture is not skipped by this click"


@pytest.mark.parametrize("button", FLAGS)
def test_a_click_for_a_waiting_picture_calls_that_off_alone(webui, tmp_path, picture, button, monkeypatch):  # noqa: F811
    monkeypatch.setattr("dreamartist_ext.hosts.webuis.workplace.page_is_closing", lambda: False)
    place, state = Pressed(tmp_path), webui.shared.state

    def show(step, steps, text):
        if step == 3:
            webui.progress.pending_tasks["task(picture)"] = 1.0
        setattr(state, button, step == 3)

    place.show = show
    mine = Desk(place)
    job = mine.run(mine.prepare(SETTINGS, [picture]))
    assert (job.status, job.step) == (Status.DONE, 6)
    webui.progress.current_task = "task(another)"
    stop_where_called_off()
    assert not state.interrupted
    webui.progress.current_task = "task(picture)"
    stop_where_called_off()
    assert state.interrupted
    state.interrupted = False
    stop_where_called_off()
    assert not state.interrupted, "once"
