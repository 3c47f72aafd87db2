"""The tab without a browser: what its buttons return, what it draws, and that it is built whole."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import fields
from xml.etree import ElementTree

import pytest
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.stopping import Check
from dreamartist_ext.files.pictures import load_mask
from dreamartist_ext.files.presets import PRESET_HELP, PRESETS

gr = pytest.importorskip("gradio")

from dreamartist_ext.webui import gradio_compat, tab  # noqa: E402
from dreamartist_ext.webui.training import live_view, settings_view  # noqa: E402
from dreamartist_ext.webui.training.job import Ask, Job, PreviewRow, Status  # noqa: E402
from dreamartist_ext.webui.training.jobs import Desk  # noqa: E402

from .training.test_jobs import FakeWorkplace  # noqa: E402


@pytest.fixture
def actions(tmp_path):
    return tab.Actions(Desk(FakeWorkplace(tmp_path)))


def painted(colour="red", paint=None):
    """What the picture component of this gradio hands over."""
    picture = Image.new("RGBA", (64, 64), colour)
    if gradio_compat.MAJOR < 4:
        return {"image": picture, "mask": (paint or Image.new("L", (64, 64), 0)).convert("RGBA")}
    layers = []
    if paint is not None:
        layer = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
        layer.putalpha(paint)
        layers = [layer]
    return {"background": picture, "layers": layers, "composite": picture}


def options(actions, **changed):
    values = actions.defaults() | {"template": "a [name]", "steps": 4, "save_every": 2, "check_every": 2} | changed
    return [values[item.name] for item in tab.OPTION_FIELDS]


def wait(actions):
    deadline = time.monotonic() + 60
    while not actions.desk.job.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_train_begins_and_the_page_follows(actions):
    said = actions.train(painted(), None, " cat ", "", False, True, *options(actions))
    assert said == ""
    wait(actions)
    job = actions.desk.job
    assert (job.status, job.config.name, job.config.initialization_text) == (Status.DONE, "cat", "*")
    live, curve, previews, steps, row, _, *buttons, seen = actions.refresh({})
    assert "cat is learned" in live
    assert "<svg" in curve
    assert previews.count("<img") == 2 * 2 * 3
    assert [label.split()[0] for label in steps["choices"]] == ["2", "4"]
    assert row["visible"]
    assert [button["visible"] for button in buttons] == [False, True, False, False], "nothing to stop, a word to use"
    assert 'download="cat.png"' in actions.share()
    again = actions.refresh(seen)
    assert again[:-1] == [gradio_compat.NOTHING] * 10, "what has not changed is not sent again"
    assert "pair of step 2" in actions.use_step(steps["choices"][0])


@pytest.mark.parametrize(
    ("changed", "arguments", "words"),
    [
        ({}, {"picture": None}, "There is no picture"),
        ({}, {"name": "a/b"}, "Name must be letters"),
        ({"steps": -3}, {}, "Steps must be at least 1"),
        ({"learning_rate": "fast"}, {}, "Learning rate must be"),
    ],
)
def test_a_bad_wish_is_said_and_nothing_begins(actions, changed, arguments, words):
    given = {"picture": painted(), "more": None, "name": "cat", "start": "", "overwrite": False, "previews": True}
    given |= arguments
    said = actions.train(*given.values(), *options(actions, **changed))
    assert words in said
    assert "dreamartist-error" in said
    assert actions.desk.job is None


def test_a_painted_mask_is_shown_spread_and_then_used_so(actions):
    paint = Image.new("L", (64, 64), 0)
    paint.paste(255, (10, 10, 30, 30))
    said, strength = actions.spread(painted(paint=paint), None, "", "", *options(actions))
    assert said.count("<img") == 2
    assert strength == 1.0
    said, strength = actions.spread(painted(paint=paint), None, "cat", "", *options(actions, spread_mask=0.5))
    assert "is 0.5" in said
    assert strength == 0.5
    said, strength = actions.spread(painted(), None, "cat", "", *options(actions))
    assert "Nothing is painted yet" in said
    assert strength == gradio_compat.NOTHING


def test_an_estimate_says_what_views_cost(actions):
    plain = actions.estimate(painted(), None, "", "", *options(actions))
    assert "4 steps of" in plain
    assert "encode" not in plain
    views = actions.estimate(painted(), None, "", "", *options(actions, mirror=True, views=8))
    assert "to encode 8 views, then 4 steps of" in views


def test_paint_becomes_a_mask_beside_the_picture(tmp_path):
    paint = Image.new("L", (64, 64), 0)
    paint.paste(255, (0, 0, 32, 64))
    (path,) = tab.saved_picture(painted(paint=paint), tmp_path)
    mask = load_mask(tmp_path / "0000_att.png", 64, 64)
    assert path.name == "0000.png"
    assert mask[32, 10] == 255
    assert mask[32, 60] == tab.UNPAINTED


def test_without_paint_there_is_no_mask(tmp_path):
    tab.saved_picture(painted(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0000.png"]
    assert tab.saved_picture(None, tmp_path) == []


def test_an_empty_sheet_is_no_picture(tmp_path):
    assert tab.saved_picture(painted((0, 0, 0, 0), Image.new("L", (64, 64), 255)), tmp_path) == []


def test_presets_are_settings(actions):
    assert set(PRESETS) == set(PRESET_HELP)
    for kind, preset in PRESETS.items():
        TrainConfig.from_mapping(preset | {"name": "cat"})
        shown = dict(zip((item.name for item in tab.OPTION_FIELDS), actions.choose_kind(kind), strict=True))
        assert preset.items() <= shown.items()


def test_a_preset_goes_into_a_file_and_comes_back(actions, tmp_path):
    names = [item.name for item in tab.OPTION_FIELDS]
    link = settings_view.saved("cat", actions.checked_values("cat", "a dog", options(actions, steps=77)))
    content = base64.b64decode(re.search(r"base64,([^\"]+)", link)[1])
    assert 'download="cat-preset.json"' in link
    (tmp_path / "mine.json").write_bytes(content)
    said, start, *values = settings_view.loaded(str(tmp_path / "mine.json"), names)
    assert "settings are those of mine.json" in said
    assert (start, dict(zip(names, values, strict=True))["steps"]) == ("a dog", 77)
    (tmp_path / "few.json").write_text('{"steps": 5}')
    _, start, *values = settings_view.loaded(str(tmp_path / "few.json"), names)
    assert start == gradio_compat.NOTHING
    assert [v for v in values if v != gradio_compat.NOTHING] == [5]


def test_an_embedding_fills_the_settings_of_its_training(actions):
    actions.train(painted(), None, "cat", "", False, False, *options(actions, steps=3, guidance="2"))
    wait(actions)
    names = [item.name for item in tab.OPTION_FIELDS]
    _, _, *values = settings_view.loaded(str(actions.desk.workplace.embeddings / "cat-neg.pt"), names)
    shown = dict(zip(names, values, strict=True))
    assert (shown["steps"], shown["guidance"], shown["template"]) == (3, "2", "a [name]")


def test_a_file_without_settings_is_said_and_changes_nothing(tmp_path):
    (tmp_path / "x.json").write_text("[")
    said, *rest = settings_view.loaded(str(tmp_path / "x.json"), ["steps"])
    assert "dreamartist-error" in said
    assert rest == [gradio_compat.NOTHING] * 2
    assert settings_view.loaded(None, ["steps"]) == ["", *rest]  # the file was taken out again


def test_every_setting_has_an_input():
    with gr.Blocks() as page:
        tab.build_tab(Desk(type("Place", (), {"defaults": {}, "embeddings": None})()))
    found = {getattr(block, "elem_id", None) for block in page.blocks.values()}
    for item in fields(TrainConfig):
        name = {"initialization_text": "start"}.get(item.name, item.name)
        assert f"dreamartist_{name}" in found


def test_nothing_to_stop_is_said(actions):
    for what in Ask:
        assert "Nothing is being trained" in actions.ask(what)
    assert "Nothing to continue" in actions.resume(None)
    assert "no snapshot" in actions.resume("ghost")
    assert "Nothing to keep" in actions.keep("")


def test_an_unfinished_training_is_offered(actions):
    actions.train(painted(), None, "cat", "", False, False, *options(actions, steps=30_000))
    while actions.desk.job.step < 3:
        time.sleep(0.01)
    actions.ask(Ask.PAUSE)
    wait(actions)
    step = actions.desk.job.step
    offered = actions.refresh({})[5]
    assert offered["choices"] == ["cat"]
    assert f"cat stopped at step {step} of 30000" in offered["label"]
    assert f"as it was at step {step}" in actions.keep("cat")
    assert "in the trash" in actions.discard("cat")
    *_, offered, _, _, undo, unfinished, _ = actions.refresh({})
    assert offered["choices"] == []
    assert [undo["visible"], unfinished["visible"]] == [True, False]
    assert "is back" in actions.undo_discard()
    *_, offered, controls, use, undo, unfinished, _ = actions.refresh({})
    assert offered["choices"] == ["cat"]
    assert [button["visible"] for button in (controls, use, undo, unfinished)] == [False, False, False, True]
    assert "not in the trash" in actions.undo_discard()


def test_what_ends_a_training_is_there_while_it_goes_on(actions):
    actions.train(painted(), None, "cat", "", False, False, *options(actions, steps=300))
    *_, controls, use, _, _, _ = actions.refresh({})
    assert [controls["visible"], use["visible"]] == [True, False]
    actions.ask(Ask.DISCARD)
    wait(actions)
    *_, controls, use, _, _, _ = actions.refresh({})
    assert [controls["visible"], use["visible"]] == [False, False]


def job(**changed):
    made = Job(TrainConfig.from_mapping({"name": "cat", "steps": 100}), files=None)
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def test_messages_are_escaped():
    evil = "<img src=x onerror=alert(1)>"
    assert "<img src=x" not in live_view.message_html(evil)
    assert "<img src=x" not in live_view.progress_html(job(status=Status.FAILED, message=evil))


def test_progress_tells_the_time_left():
    shown = live_view.progress_html(
        job(status=Status.RUNNING, step=40, seconds_per_step=0.5, peak_memory=5_100_000_000)
    )
    assert "0:30 left" in shown
    assert "5.1 GB" in shown
    assert "40 of 100" in shown
    assert live_view.duration(3725) == "1:02:05"
    assert "Nothing" in live_view.progress_html(None)


def test_the_curve_is_drawn_to_scale_with_the_best_marked():
    checks = (Check(20, 0.2, 0.3), Check(60, 0.1, 0.3), Check(100, 0.15, 0.3))
    svg = ElementTree.fromstring(live_view.curve_html(job(checks=checks, best_step=60))).find("svg")
    points = [tuple(map(float, p.split(","))) for p in svg.find("polyline").get("points").split()]
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[0][1] < points[2][1] < points[1][1], "lower loss is lower on the page"
    assert [circle.get("class") for circle in svg.findall("circle")] == [None, "best", None]
    assert float(svg.find("line").get("y1")) < points[0][1], "the baseline is above"
    assert live_view.curve_html(job()) == ""
    flat = ElementTree.fromstring(live_view.curve_html(job(checks=(Check(20, 0.30001, 0.3),)))).find("svg")
    assert [text.text for text in flat.findall("text")] == ["0.3000", "0", "100"], "no number over its own copy"


def test_previews_come_newest_first():
    rows = (PreviewRow(10, (b"a",), (b"b",)), PreviewRow(20, (b"c",), (b"d",)))
    shown = live_view.previews_html(job(previews=rows, best_step=10))
    assert shown.index("step 20") < shown.index("step 10")
    assert shown.count("best so far") == 1
