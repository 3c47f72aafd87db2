"""The tab without a browser: what its buttons return, what it draws, and that it is built whole."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import shutil
import time
from dataclasses import fields
from itertools import combinations
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import DreamArtistError
from dreamartist_ext.engine.host import Kept
from dreamartist_ext.engine.stopping import Check
from dreamartist_ext.files.pictures import load_mask
from dreamartist_ext.files.presets import KINDS, PRESET_HELP, PRESETS
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import save_pair

gr = pytest.importorskip("gradio")

from dreamartist_ext.webui import gradio_compat, tab  # noqa: E402
from dreamartist_ext.webui.training import (  # noqa: E402
    kept_pictures,
    kinds,
    live_view,
    page_state,
    picture_tray,
    recall,
    settings_view,
)
from dreamartist_ext.webui.training.actions import Actions  # noqa: E402
from dreamartist_ext.webui.training.curve_svg import curve_svg, ticks  # noqa: E402
from dreamartist_ext.webui.training.estimate import Estimate  # noqa: E402
from dreamartist_ext.webui.training.job import Ask, Job, PreviewRow, Stage, Status  # noqa: E402
from dreamartist_ext.webui.training.jobs import Desk  # noqa: E402
from dreamartist_ext.webui.training.memory_hint import MemoryHint  # noqa: E402
from dreamartist_ext.webui.training.own_recipes import RecipeActions  # noqa: E402
from dreamartist_ext.webui.training.preview_plan import PreviewPlan  # noqa: E402
from dreamartist_ext.webui.training.queue import QUEUE  # noqa: E402
from dreamartist_ext.webui.training.queue_actions import PLACES  # noqa: E402
from dreamartist_ext.webui.training.sentences import how_it_ended, is_worse_than_nothing  # noqa: E402

from .fake_workplace import FakeWorkplace  # noqa: E402
from .test_page import PATIENCE  # noqa: E402


@pytest.fixture
def actions(tmp_path):
    return Actions(Desk(FakeWorkplace(tmp_path)))


def data_url(picture, kind="png"):
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def tray(colour="red", paint=None, size=(64, 64), **more):
    """What the page's script sends of one picture, with `paint` (mode L) as its mask."""
    item = {"name": "pot.png", "data": data_url(Image.new("RGB", size, colour)), "mask": "", "mask_file": ""}
    if paint is not None:
        layer = Image.new("RGBA", paint.size, (255, 122, 0, 255))
        layer.putalpha(paint)
        item["mask"] = data_url(layer)
    return json.dumps([item | more])


def options(actions, **changed):
    values = actions.usual() | {"template": "a [name]", "steps": 4, "save_every": 2, "check_every": 2} | changed
    return [values[item.name] for item in kinds.OPTION_FIELDS]


def shown(actions, seen=None, name=""):
    """The page's parts by name, and what it has seen then."""
    *values, state = actions.refresh(seen or {}, name)
    return dict(zip(page_state.PARTS, values, strict=True)), state


def in_the_form(before, sent):
    """The values that fields have after an answer, which leaves some as they are."""
    return [old if new == gradio_compat.NOTHING else new for old, new in zip(before, sent, strict=True)]


def in_use(parts):
    (step,) = re.findall(r'data-key="(\d+)" aria-pressed="true"', parts["steps"])
    return step


def wait(actions):
    deadline = time.monotonic() + 60 * PATIENCE
    while not actions.desk.job.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_train_begins_and_the_page_follows(actions):
    said = actions.train(tray(), " mycat ", "", False, (True,), *options(actions, keep="last"))
    assert said == [""] * len(PLACES)
    wait(actions)
    job = actions.desk.job
    assert (job.status, job.config.name, job.config.initialization_text) == (Status.DONE, "mycat", "*")
    parts, seen = shown(actions)
    assert "mycat" in parts["live"]
    assert "<svg" in parts["curve"]
    assert len(parts["gallery"]["value"]) == 2 * 3
    assert len(parts["alone"]["value"]) == 2 * 3
    assert re.findall(r'data-key="(\d+)"', parts["steps"]) == ["2", "4"]
    assert in_use(parts) == "4"
    assert [parts[name]["visible"] for name in ("controls", "done", "undo", "to_go_on")] == [False, True, False, False]
    assert parts["train"] == gr.update(value="Train", interactive=True)
    assert 'data-active="0"' in parts["beat"]
    again, _ = shown(actions, seen)
    assert {part for part in again if again[part] != gradio_compat.NOTHING} == {"beat"}, "the rest is not sent again"
    assert "pair of step 2" in actions.use_step('{"key": "2"}')
    parts, _ = shown(actions, seen)
    assert in_use(parts) == "2"
    assert "now the pair of step 2" in parts["live"]


def test_what_ends_while_the_page_is_made_up_is_asked_for_again(actions, monkeypatch):
    actions.train(tray(), "mycat", "", False, (True,), *options(actions))
    wait(actions)
    job, shown_state = actions.desk.job, page_state.shown_state
    job.status = Status.RUNNING

    def ends_meanwhile(*given):
        state = shown_state(*given)
        job.status = Status.DONE
        return state

    monkeypatch.setattr(page_state, "shown_state", ends_meanwhile)
    parts, seen = shown(actions)
    assert 'data-status="running"' in parts["live"]
    assert (parts["controls"]["visible"], parts["done"]["visible"]) == (True, False)
    assert 'data-active="1"' in parts["beat"], "it asks again"
    parts, _ = shown(actions, seen)
    assert 'data-status="done"' in parts["live"]
    assert (parts["controls"]["visible"], parts["done"]["visible"]) == (False, True)


def test_a_training_that_ends_before_any_page_has_seen_it_go_on_is_shown(actions, monkeypatch):
    actions.train(tray(), "mycat", "", False, (True,), *options(actions))
    wait(actions)
    _, seen = shown(actions, name="mycat")
    actions.train(tray(), "mydog", "", False, (True,), *options(actions))
    wait(actions)
    parts, seen = shown(actions, seen, "mycat")
    assert "mydog" in parts["live"]
    assert parts["shown"]["value"] == "mydog"
    parts, _ = shown(actions, seen, "mycat")
    assert "mycat" in parts["live"], "once it is chosen there"

    def fails(job):
        raise DreamArtistError("the checkpoint is gone.")

    monkeypatch.setattr(actions.desk, "_train", fails)
    actions.train(tray(), "mydog", "", True, (True,), *options(actions))
    wait(actions)
    parts, _ = shown(actions, seen, "mycat")
    assert 'data-status="failed"' in parts["live"]


@pytest.mark.parametrize(
    ("changed", "arguments", "place", "words"),
    [
        ({}, {"tray": "[]"}, "pictures", "There is no picture"),
        ({}, {"tray": "{"}, "pictures", "did not arrive whole"),
        (
            {},
            {"tray": json.dumps([{"data": "data:text/plain;base64,aaaa"}])},
            "pictures",
            "did not arrive as a picture",
        ),
        ({}, {"name": "a/b"}, "name", "must be letters"),
        ({}, {"name": "taken"}, "name", "Prompts would take"),
        ({"template": "a photo of [name]"}, {"name": "photo"}, "name", "the prompts to train with hold that word"),
        ({"steps": -3}, {}, "settings", "Steps must be at least 1"),
        ({"learning_rate": "fast"}, {}, "settings", 'data-field="learning_rate"'),
    ],
)
def test_a_bad_wish_is_said_where_it_belongs_and_nothing_begins(actions, changed, arguments, place, words):
    given = {"tray": tray(), "name": "mycat", "start": "", "overwrite": False, "previews": (True,)} | arguments
    said = dict(zip(PLACES, actions.train(*given.values(), *options(actions, **changed)), strict=True))
    assert words in said[place]
    assert "dreamartist-error" in said[place]
    assert [each for each in said.values() if each] == [said[place]]
    assert actions.desk.job is None


def test_a_name_is_checked_while_it_is_typed_as_train_does(actions):
    for name, kind, words in (
        ("a/b", "error", "must be letters"),
        ("cat", "warning", "&quot;cat&quot; is an ordinary word: every prompt with it will change."),
        ("a", "warning", "every prompt with"),
        ("1", "warning", "every prompt with"),
        ("sks", "warning", "&quot;sks&quot; is a word that the model knows: every prompt with it will change."),
        ("drawing", "error", "the prompts to train with hold that word"),
        ("taken", "error", "Prompts would take"),
        ("mycat", "good", "mycat is free."),
    ):
        said, box = actions.check_word(name, "drawing of [name]")
        assert words in said, name
        assert f"dreamartist-{kind}" in said, name
        assert not box["visible"]
    assert actions.check_word("  ", "")[0] == ""


def test_a_word_to_go_on_from_brings_its_numbers_of_vectors(actions):
    pair = EmbeddingPair("other", {"clip": torch.ones(2, 8)}, {"clip": torch.ones(5, 8)})
    save_pair(pair, actions.desk.workplace.embeddings)
    save_pair(EmbeddingPair("lone", {"clip": torch.ones(4, 8)}, None), actions.desk.workplace.embeddings)
    assert actions.count_vectors(" Other ") == [2, 5]
    assert actions.count_vectors("lone") == [4, gradio_compat.NOTHING]
    for word in ("", "othe", "../other", "\0", "x" * 5000):
        assert actions.count_vectors(word) == [gradio_compat.NOTHING, gradio_compat.NOTHING]
    given = options(actions, start_from="other", vectors=2, negative_vectors=5)
    _, _, _, _, *values = actions.choose("style", kinds.RECIPE_LABELS[""], ["thing", ""], *given)
    found = dict(zip(kinds.OPTION_NAMES, in_the_form(given, values), strict=True))
    assert (found["start_from"], found["vectors"], found["negative_vectors"]) == ("other", 2, 5)


def test_the_word_in_training_is_not_free_and_a_taken_one_can_be_replaced(actions):
    actions.train(tray(), "mycat", "", False, (False,), *options(actions, steps=30_000))
    assert "is being trained right now" in actions.check_word("MyCat", "")[0]
    parts, _ = shown(actions)
    assert parts["train"]["interactive"] is False
    assert "Training" in parts["train"]["value"]
    assert 'data-active="1"' in parts["beat"]
    actions.ask(Ask.STOP)
    wait(actions)
    said, box = actions.check_word("mycat", "")
    assert "is taken" in said
    assert "resume" not in said
    assert str(actions.desk.workplace.embeddings) not in said
    assert box["visible"]
    said = actions.train(tray(), "mycat", "", False, (False,), *options(actions))
    assert "is taken" in dict(zip(PLACES, said, strict=True))["name"]
    assert actions.train(tray(), "mycat", "", True, (False,), *options(actions)) == [""] * len(PLACES)
    wait(actions)


def test_a_painted_mask_is_shown_spread_and_then_used_so(actions):
    paint = Image.new("L", (64, 64), 0)
    paint.paste(255, (10, 10, 30, 30))
    said, strength = actions.spread(tray(paint=paint), "", "", *options(actions))
    assert said.count("<img") == 2
    assert strength == 1.0
    said, strength = actions.spread(tray(paint=paint), "cat", "", *options(actions, spread_mask=0.5))
    assert "Spread the mask at 0.5" in said
    assert strength == 0.5
    said, strength = actions.spread(tray(), "cat", "", *options(actions))
    assert "Nothing is painted yet" in said
    assert strength == gradio_compat.NOTHING


def measured(actions):
    deadline = time.monotonic() + 60 * PATIENCE
    while actions.measuring.is_under_way:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return shown(actions)[0]["measured"]


def test_an_estimate_says_for_which_size_and_what_views_cost(actions):
    assert "Measuring" in actions.estimate(tray(), "", "", *options(actions))
    plain = measured(actions)
    assert "at 64x64: 4 steps of" in plain
    assert "encode" not in plain
    actions.estimate(tray(), "", "", *options(actions, mirror=True, views=8))
    assert "to encode 8 views, then 4 steps of" in measured(actions)


def test_an_estimate_says_what_a_step_takes_and_what_its_previews(actions):
    found = Estimate(4, 110.0, 0, 1, 0.5, 0, 0, reconstruction=0.0, step=0.5, width=64, height=64)
    text = live_view.estimate_text(found)
    assert text.startswith("About 1:50 at 64x64: 4 steps of 0.5 s and 1:48 for checks and previews.")
    assert "previews" not in live_view.estimate_text(dataclasses.replace(found, seconds=3.0))


def test_an_estimate_that_waits_is_seen_and_called_off(actions):
    with actions.desk.workplace.turn:
        actions.estimate(tray(), "", "", *options(actions))
        parts, _ = shown(actions)
        assert "call off" in parts["estimate"]["value"]
        assert 'data-active="1"' in parts["beat"]
        assert "Called off" in actions.estimate(tray(), "", "", *options(actions))
        assert shown(actions)[0]["estimate"]["value"] == page_state.MEASURE
    time.sleep(0.2)
    assert "Called off" in shown(actions)[0]["measured"], "what it found afterwards is not shown"


def test_paint_becomes_a_mask_beside_the_picture_and_a_caption_a_file(tmp_path):
    paint = Image.new("L", (32, 32), 0)
    paint.paste(255, (0, 0, 16, 32))
    (path,) = picture_tray.saved_pictures(tray(paint=paint, caption=" a  red pot "), tmp_path)
    mask = load_mask(tmp_path / "0000-pot_att.png", 64, 64)
    assert path.name == "0000-pot.png"
    assert mask[32, 10] == 255
    assert mask[32, 60] == picture_tray.UNPAINTED
    assert (tmp_path / "0000-pot.txt").read_text() == "a red pot"


def test_without_paint_there_is_no_mask(tmp_path):
    picture_tray.saved_pictures(tray(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0000-pot.png"]
    assert picture_tray.saved_pictures("", tmp_path) == []


def test_a_hand_set_value_survives_a_change_of_kind_and_recipe(actions):
    actions.desk.workplace.defaults = {"guidance": "2"}
    given = [actions.usual()[name] for name in kinds.OPTION_NAMES]
    given[kinds.OPTION_NAMES.index("steps")] = 77

    def after(kind, recipe, before, values):
        *_, chosen = actions.choose(kind, kinds.RECIPE_LABELS[recipe], before, *values)[:4]
        new = actions.choose(kind, kinds.RECIPE_LABELS[recipe], before, *values)[-len(kinds.OPTION_NAMES) :]
        return chosen, dict(zip(kinds.OPTION_NAMES, in_the_form(values, new), strict=True))

    chosen, style = after("style", "", ["thing", ""], given)
    assert chosen == ["style", ""]
    assert (style["steps"], style["guidance"]) == (77, "2")
    assert style["template"] == PRESETS["style"]["template"]
    _, paper = after("style", "paper-style", ["style", ""], style.values())
    assert (paper["steps"], paper["guidance"], paper["negative_vectors"]) == (77, "5", 5)
    _, back = after("thing", "", ["style", "paper-style"], paper.values())
    assert {key: value for key, value in back.items() if value != actions.usual()[key]} == {"steps": 77}
    (steps,) = (v for v in actions.set_back('{"key": "steps"}', "thing", "") if v != gradio_compat.NOTHING)
    assert steps == actions.usual()["steps"]
    assert actions.set_back("{}", "thing", "") == [actions.usual()[name] for name in kinds.OPTION_NAMES]


NAMES = {
    "été d'été.png": "été d'été",
    "e\u0301te\u0301.png": "été",
    "猫, a cat.png": "猫, a cat",
    "a small cat that sits on a red chair in the garden.png": "a small cat that sits on a red chair in the garden",
    "गिटार.jpg": "गिटार",
    'what is "this"? <b>.png': "what is  this    b",
    "caf\ud800.png": "caf",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_pictures_name_says_is_its_caption_on_the_page_too(actions, name):
    """As on the command line, whatever the letters and however many."""
    given = options(actions, template="a [name], [filewords]", steps=2)
    actions.train(tray(name=name), "mycat", "", False, (False,), *given)
    wait(actions)
    (item,) = json.loads(Actions(Desk(actions.desk.workplace)).again("")[1])
    assert item["caption"] == " ".join(NAMES[name].split())
    assert item["name"].rpartition(".")[0].replace("_", " ").split() == NAMES[name].split(), "as it was dropped"


def test_pictures_that_are_recalled_give_the_words_that_they_gave_before(actions):
    given = options(actions, steps=2)
    actions.train(tray(name="2024-garçon.png"), "mycat", "", False, (False,), *given)
    wait(actions)
    pictures = Actions(Desk(actions.desk.workplace)).again("")[1]
    said = actions.each(pictures, "", "", False, (False,), *given)[0]
    assert "In the queue: 2024-garcon." in said


def test_each_ordinary_word_of_a_folder_is_warned_of(actions):
    pictures = json.dumps([json.loads(tray(name=f"{name}.png"))[0] for name in ("cat", "sks", "mycat2", "ça")])
    said = actions.each(pictures, "", "", False, (False,), *options(actions, steps=2))[0]
    wait(actions)
    assert "&quot;cat&quot; is an ordinary word" in said
    assert "&quot;sks&quot; is a word that the model knows" in said
    assert "gives the word &quot;ca&quot;" in said
    assert said.count("dreamartist-warning") == 2


def test_a_training_is_found_on_disk_by_another_page_and_fills_the_form(actions):
    actions.train(tray(caption="a red pot"), "mycat", "a dog", False, (True,), *options(actions, guidance="2"))
    wait(actions)
    later = Actions(Desk(actions.desk.workplace))  # another day
    parts, _ = shown(later)
    assert "mycat" in parts["live"]
    assert 'data-status="done"' in parts["live"]
    assert parts["live"].count("<img") == 1, "the picture that it was learned from"
    assert "Guidance" in parts["live"]
    assert "<svg" in parts["curve"]
    assert len(parts["gallery"]["value"]) == 2
    assert in_use(parts) in ("2", "4")
    says, pictures, name, kind, _, _, start, *values = later.again("")
    assert "mycat" in says
    assert (name, kind, start) == ("mycat", "thing", "a dog")
    (item,) = json.loads(pictures)
    assert item["caption"] == "a red pot"
    assert item["data"] == json.loads(tray())[0]["data"]
    assert dict(zip(kinds.OPTION_NAMES, values, strict=True))["guidance"] == "2"


def test_a_card_fills_the_form_with_its_training_or_with_what_its_file_says(actions):
    values = options(actions, guidance="2")
    actions.train(tray(), "mycat", "a dog", False, (False,), *values)
    wait(actions)
    with actions.desk.workplace.turn:  # another one is trained now, and shown
        actions.train(tray("blue"), "other", "", False, (False,), *options(actions))
        says, pictures, name, _, _, _, start, *_ = actions.again_of('{"key": "mycat"}')
        assert "the picture and the settings of mycat" in says
        assert (name, start, json.loads(pictures)[0]["data"]) == ("mycat", "a dog", json.loads(tray())[0]["data"])
    wait(actions)
    shutil.rmtree(actions.desk.files("mycat").folder)
    says, pictures, *_, start = actions.again_of('{"key": "mycat"}')[:7]
    assert "the settings, but no picture, of mycat" in says
    assert (pictures, start) == ("[]", "a dog")
    (actions.desk.workplace.embeddings / "mycat.pt").write_bytes(b"")
    for key in ("mycat", "nothing", "../x"):
        says, *rest = actions.again_of(json.dumps({"key": key}))
        assert "dreamartist-error" in says
        assert all(each == gradio_compat.NOTHING for each in rest)


def test_any_two_pictures_of_a_training_can_be_laid_over_each_other(actions):
    actions.train(tray(), "mycat", "", False, (True, "", "1, 2"), *options(actions))
    wait(actions)
    made = shown(actions)[0]["slider"]
    page = ElementTree.fromstring(re.sub("(<(?:img|input)[^>]*)>", r"\1/>", made.replace(" selected", "")))
    labels = [option.text for option in page.findall(".//label[1]//option")]
    assert labels[0] == "the picture that is learned"
    assert labels[1:] == [f"step {step}: mycat, seed {seed}" for step in (4, 2) for seed in (1, 2)]
    pool = page.findall("template/img")
    assert [image.get("alt") for image in pool] == labels
    left, right = page.findall("div/img")
    assert left.get("src") == pool[0].get("src")
    assert right.get("alt") in labels[1:]


def test_a_recipe_of_ones_own_is_saved_chosen_and_deleted(actions, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMARTIST_RECIPES", str(tmp_path / "recipes"))
    do, names = RecipeActions(actions), kinds.OPTION_NAMES
    usual = [actions.usual()[name] for name in names]
    assert "No setting is changed" in do.save("mine", "thing", "", *usual)[0]
    given = list(usual)
    given[names.index("steps")] = 77
    says, chosen = do.save(" mine ", "thing", "", *given)
    assert "mine is among the recipes" in says
    assert (chosen["value"], chosen["choices"][-1]) == ("mine (yours)", "mine (yours)")
    assert "choose it first to change it" in do.save("mine", "thing", "", *given)[0]
    _, about, marks, now, *sent = actions.choose("thing", "mine (yours)", ["thing", ""], *usual)
    values = in_the_form(usual, sent)
    assert "Saved by you. Changes: Steps 77" in about
    assert dict(zip(names, values, strict=True))["steps"] == 77
    assert (now, "77" in marks) == (["thing", "mine"], True)
    says, chosen = do.delete("mine (yours)")
    assert "the form keeps its settings" in says
    assert "mine (yours)" not in chosen["choices"]
    *_, now = actions.choose("thing", chosen["value"], ["thing", "mine"], *values)[:4]
    kept = in_the_form(values, actions.choose("thing", chosen["value"], ["thing", "mine"], *values)[4:])
    assert (now, dict(zip(names, kept, strict=True))["steps"]) == (["thing", ""], 77)
    assert "Only recipes of your own" in do.delete(chosen["value"])[0]
    (tmp_path / "recipes" / "broken.json").write_text("{")
    assert "broken (yours)" not in kinds.recipe_labels().values()


def test_no_two_answers_that_come_by_themselves_write_the_same(tmp_path):
    """The older one may come last, and would stay: what is usual for *thing*, while *style* is chosen."""
    with gr.Blocks() as page:
        tab.build_tab(Desk(FakeWorkplace(tmp_path)))
    config = page.get_config_file()
    names = {each["id"]: each["props"].get("elem_id", "") for each in config["components"]}
    written = {}
    for answer in config["dependencies"]:
        target = answer["targets"][0] if answer["targets"] else ("", "")
        asked_by = names.get(target[0] if isinstance(target, list | tuple) else target, "").removeprefix("dreamartist_")
        if asked_by in ("look", "check", "choose", "count") and answer["backend_fn"]:
            written[asked_by] = {names[output] for output in answer["outputs"]}
    assert len(written) == 4
    both = {(one, other): written[one] & written[other] for one, other in combinations(sorted(written), 2)}
    assert {pair: shared for pair, shared in both.items() if shared} == {
        ("choose", "count"): {"dreamartist_vectors", "dreamartist_negative_vectors"}  # both by what it goes on from
    }


def test_the_models_own_size_comes_with_what_the_settings_take(actions):
    hint = MemoryHint(128, 128, Kept(0, 0), free=0, less=False, own=64)
    actions.hints = SimpleNamespace(look=lambda *_: hint)
    said = actions.look(*options(actions))
    assert 'data-own="64"' in said
    assert "64x64" in said


def test_going_through_the_kinds_ends_with_the_last_one_whatever_was_answered_between(actions):
    usual = [actions.usual()[name] for name in kinds.OPTION_NAMES]
    _, _, _, _, *style = actions.choose("style", kinds.RECIPE_LABELS[""], ["thing", ""], *usual)
    _, _, _, _, *thing = actions.choose("thing", kinds.RECIPE_LABELS[""], ["thing", ""], *usual)  # sent before style's
    assert in_the_form(in_the_form(usual, style), thing) == usual


def test_an_emptied_field_gets_its_usual_value_again(actions):
    given = [0 if name == "save_every" else actions.usual()[name] for name in kinds.OPTION_NAMES]
    actions.desk.workplace.defaults = {"save_every": 0}
    given[kinds.OPTION_NAMES.index("save_every")] = None
    _, _, _, _, *sent = actions.choose("thing", kinds.RECIPE_LABELS[""], ["thing", ""], *given)
    assert in_the_form(given, sent)[kinds.OPTION_NAMES.index("save_every")] == 0


def test_of_many_pictures_some_are_shown_and_one_on_its_way_stops_nothing(tmp_path, monkeypatch):
    files = RunFiles(tmp_path, "manypots")
    folder = files.folder / kept_pictures.STAGED
    folder.mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / f"{number:02}.png")
    whole = (folder / "00.png").read_bytes()
    (folder / "00.png").write_bytes(whole[: len(whole) // 2])
    opened = []
    small = recall.thumbnails.small_jpeg
    monkeypatch.setattr(recall.thumbnails, "small_jpeg", lambda content: opened.append(content) or small(content))
    said = recall.pictures_html(Job(TrainConfig(name="manypots"), files))
    assert (said.count("<img"), len(opened)) == (recall.SHOWN_PICTURES - 1, recall.SHOWN_PICTURES)
    assert f"and {12 - recall.SHOWN_PICTURES} more" in said


def test_trainings_wait_in_a_queue_change_places_and_are_called_off(actions):
    def add(name):
        return dict(zip(PLACES, actions.add(tray(), name, "", False, (False,), *options(actions)), strict=True))

    with actions.desk.workplace.turn:  # the model is in use
        actions.train(tray(), "one", "", False, (False,), *options(actions))
        for name in ("two", "three", "four"):
            assert "is in the queue" in add(name)["train"]
        assert "in the queue already" in add("Two")["name"]
        assert "being trained" in add("one")["train"] + add("one")["name"]
        actions.do('{"do": "queue_earlier", "key": "three"}')
        actions.do('{"do": "queue_off", "key": "four"}')
        assert [each.name for each in actions.desk.queue.jobs] == ["three", "two"]
        assert not actions.desk.files("four").folder.exists()
        parts, _ = shown(actions)
        assert parts["queue"].index("three") < parts["queue"].index("two")
        assert parts["add"]["visible"]
        actions.do('{"do": "queue_pause", "key": "*"}')
    wait(actions)
    time.sleep(0.3)
    assert (actions.desk.job.name, len(actions.desk.queue.jobs)) == ("one", 2), "it is paused"
    actions.do('{"do": "queue_pause", "key": "*"}')
    deadline = time.monotonic() + 60 * PATIENCE
    while actions.desk.queue.jobs or not actions.desk.job.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert actions.desk.job.name == "two"
    for name in ("one", "two", "three"):
        assert (actions.desk.workplace.embeddings / f"{name}.pt").is_file()


def test_what_learned_nothing_is_not_called_learned():
    checks = (Check(2, 0.3, 0.2), Check(4, 0.25, 0.2))
    assert is_worse_than_nothing(checks, 4)
    assert not is_worse_than_nothing((Check(4, 0.1, 0.2),), 4)
    words = how_it_ended(job(step=100, used_step=4, is_worse=True))
    assert "has not learned" in words
    assert "Try another picture" in words
    assert "dreamartist-warning" in live_view.progress_html(job(status=Status.DONE, message=words, is_worse=True))


def test_the_queue_outlives_its_process_and_waits_until_it_may_go_on(actions):
    values = options(actions)
    with actions.desk.workplace.turn:  # the model is in use
        actions.train(tray(), "one", "", False, (False,), *values)
        for name in ("two", "three"):
            actions.add(tray(), name, "", False, (True, "a [name] here", "7"), *values)
        later = Actions(Desk(actions.desk.workplace))
        later.desk.finish_interrupted()
        assert [each.name for each in later.desk.queue.jobs] == ["two", "three"]
        assert later.desk.queue.jobs[0].plan == PreviewPlan(("a [name] here",), (7,))
        assert "In the queue, which is paused" in shown(later)[0]["queue"]
        actions.desk.queue.call_off("two")
        actions.desk.queue.call_off("three")
    wait(actions)
    assert not (later.desk.files("x").folder.parent / QUEUE).exists()
    kept_pictures.keep_pictures(later.desk.queue.jobs[0].files, [], later.desk.queue.jobs[0].config)
    later.do('{"do": "queue_off", "key": "three"}')
    again = Desk(actions.desk.workplace)
    again.finish_interrupted()
    (job,) = again.queue.jobs
    assert again.queue.is_paused
    again.queue.is_paused = False
    assert again.next_in_queue() is job
    killed = Desk(actions.desk.workplace)  # before the first step of what was taken
    killed.finish_interrupted()
    assert [each.name for each in killed.queue.jobs] == ["two"]
    again.queue.forget(job)
    (later.desk.files("x").folder.parent / QUEUE).write_text('[{"settings": {"name": "../x"}}, 5, {"settings": []}]')
    last = Desk(actions.desk.workplace)
    last.finish_interrupted()
    assert last.queue.jobs == (), "what cannot be read is left out"


def test_each_picture_becomes_a_training_named_as_its_file_is(actions):
    items = [json.loads(tray(name=name))[0] for name in ("red pot.png", "blue-pot.png", "1.png")]
    with actions.desk.workplace.turn:
        said = actions.each(json.dumps(items), "", "", False, (False,), *options(actions))[0]
        assert "In the queue: red-pot, blue-pot." in said
        assert "1.png: Its name" in said
    deadline = time.monotonic() + 60 * PATIENCE
    while actions.desk.queue.jobs or not actions.desk.job.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for name in ("red-pot", "blue-pot"):
        assert len(kept_pictures.kept_pictures(actions.desk.files(name))) == 1
        assert (actions.desk.workplace.embeddings / f"{name}.pt").is_file()


def test_previews_are_of_the_prompts_and_seeds_that_were_asked_for(actions):
    wish = (True, "a [name] in snow\n[name] at night", "5, 6")
    actions.train(tray(), "mycat", "", False, wish, *options(actions, steps=2))
    wait(actions)
    captions = [words for _, words in shown(actions)[0]["gallery"]["value"]]
    assert captions[:2] == [
        "step 2, best so far: a mycat in snow, seed 5",
        "step 2, best so far: a mycat in snow, seed 6",
    ]
    assert len(captions) == 4
    later = shown(Actions(Desk(actions.desk.workplace)))[0]["gallery"]["value"]
    assert [words for _, words in later] == captions[:1], "of a training on disk there is the first"
    for prompts, seeds, words in (
        ("no word", "", "Preview prompt 1: [name] must be in it"),
        ("", "x", "Preview seeds must be whole numbers"),
        ("", "1,2,3,4,5,6,7,8,9,10,11,12,13", "are 13 pictures; 12 are the most."),
    ):
        assert words in actions.train(tray(), "dog", "", False, (True, prompts, seeds), *options(actions))[0]


def test_presets_are_settings(actions):
    assert set(PRESETS) == set(PRESET_HELP)
    for kind, preset in PRESETS.items():
        TrainConfig.from_mapping(preset | {"name": "cat"})
        values = actions.usual(*((kind, "") if kind in KINDS else ("thing", kind)))
        assert preset.items() <= values.items()


def test_a_preset_goes_into_a_file_and_comes_back(actions, tmp_path):
    names = [item.name for item in kinds.OPTION_FIELDS]
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
    actions.train(tray(), "cat", "", False, (False,), *options(actions, steps=3, guidance="2"))
    wait(actions)
    names = [item.name for item in kinds.OPTION_FIELDS]
    _, _, *values = settings_view.loaded(str(actions.desk.workplace.embeddings / "cat-neg.pt"), names)
    shown = dict(zip(names, values, strict=True))
    assert (shown["steps"], shown["guidance"], shown["template"]) == (3, "2", "a [name]")


def test_a_file_without_settings_is_said_and_changes_nothing(tmp_path):
    (tmp_path / "x.json").write_text("[")
    said, *rest = settings_view.loaded(str(tmp_path / "x.json"), ["steps"])
    assert "dreamartist-error" in said
    assert rest == [gradio_compat.NOTHING] * 2
    assert settings_view.loaded(None, ["steps"]) == ["", *rest]  # the file was taken out again


def test_every_setting_has_an_input(tmp_path):
    with gr.Blocks() as page:
        tab.build_tab(Desk(FakeWorkplace(tmp_path)))
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
    actions.train(tray(), "cat", "", False, (False,), *options(actions, steps=30_000))
    while actions.desk.job.step < 3:
        time.sleep(0.01)
    actions.ask(Ask.PAUSE)
    wait(actions)
    step = actions.desk.job.step
    parts, _ = shown(actions)
    assert parts["unfinished"]["choices"] == ["cat"]
    assert f"cat stopped at step {step} of 30000" in parts["unfinished"]["label"]
    assert "as it was at step" in actions.keep("cat")
    parts, _ = shown(actions)
    assert parts["unfinished"]["choices"] == [], "stopped and kept is not unfinished"
    assert "was stopped at step" in parts["live"], "and the headline says so"
    assert parts["go_on"]["visible"]
    assert "in the trash" in actions.discard("cat")
    parts, _ = shown(actions)
    assert [parts["undo"]["visible"], parts["to_go_on"]["visible"]] == [True, False]
    assert "Drop a picture" in parts["live"]
    assert "is back" in actions.undo_discard()
    parts, _ = shown(actions)
    assert [parts[name]["visible"] for name in ("controls", "done", "undo")] == [False, True, False]
    assert "not in the trash" in actions.undo_discard()


def test_what_ends_a_training_is_there_while_it_goes_on(actions):
    actions.train(tray(), "cat", "", False, (False,), *options(actions, steps=30_000))
    parts, _ = shown(actions)
    assert [parts["controls"]["visible"], parts["done"]["visible"]] == [True, False]
    actions.ask(Ask.DISCARD)
    wait(actions)
    parts, _ = shown(actions)
    assert [parts["controls"]["visible"], parts["done"]["visible"]] == [False, False]


def job(**changed):
    made = Job(TrainConfig.from_mapping({"name": "cat", "steps": 100}), files=None)
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def test_messages_are_escaped():
    evil = "<img src=x onerror=alert(1)>"
    assert "<img src=x" not in live_view.message_html(evil)
    assert "<img src=x" not in live_view.progress_html(job(status=Status.FAILED, message=evil))


def test_progress_tells_the_stage_and_the_time_left_with_the_drawings():
    running = job(status=Status.RUNNING, step=40, seconds_per_step=0.5, peak_memory=5_100_000_000, previews_wanted=True)
    running.enter(Stage.TRAINING)
    running.drawings = (7.0,)
    left = 60 * 0.5 + running._drawings_left * 7
    assert running._drawings_left >= 1
    shown = live_view.progress_html(running)
    assert f"about {live_view.duration(left)} left" in shown
    assert '<li class="now" aria-current="step">training</li>' in shown
    assert "5.1 GB" in shown
    assert "40 of 100" in shown
    assert 'aria-label="training cat"' in shown
    running.step = 100
    running.enter(Stage.DRAWING)
    assert 5 < running.seconds_left <= 7
    assert live_view.duration(3725) == "1:02:05"
    assert "Drop a picture" in live_view.progress_html(None)


def test_the_curve_is_drawn_to_scale_with_the_best_marked():
    checks = (Check(20, 0.2, 0.3), Check(60, 0.1, 0.3), Check(100, 0.15, 0.3))
    svg = ElementTree.fromstring(live_view.curve_html(job(checks=checks, best_step=60))).find("svg")
    points = [tuple(map(float, p.split(","))) for p in svg.find("polyline").get("points").split()]
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[0][1] < points[2][1] < points[1][1], "lower loss is lower on the page"
    assert [circle.get("class") for circle in svg.iter("circle")] == [None, "best", None]
    baseline = next(line for line in svg.iter("line") if line.get("class") == "baseline")
    assert float(baseline.get("y1")) < points[0][1], "the baseline is above"
    assert any("step 60: 0.1000" in (text.text or "") for text in svg.iter("text")), "numbers on hover"
    assert live_view.curve_html(job()) == ""


def test_a_long_curve_is_smoothed_over_its_dots():
    points = [(step, 0.2 + 0.05 * (step % 2)) for step in range(1, 200)]
    svg = ElementTree.fromstring(curve_svg(points, 200, 0.3, None))
    raw, smooth = ([float(p.split(",")[1]) for p in line.get("points").split()] for line in svg.findall("polyline"))
    assert max(smooth[20:]) - min(smooth[20:]) < (max(raw) - min(raw)) / 2
    assert len(list(svg.iter("circle"))) <= 60
    assert "<circle" not in curve_svg(points, 200, None, None), "single steps are noise"
    assert ticks(0, 100, 5) == [0, 20, 40, 60, 80, 100]


def test_previews_come_newest_first():
    png = base64.b64decode(data_url(Image.new("RGB", (8, 8))).split(",")[1])
    rows = (PreviewRow(10, (png,), (png,)), PreviewRow(20, (png,), (png,)))
    shown = [words for _, words in page_state.pictures(job(previews=rows, best_step=10), False)]
    assert shown == ["step 20", "step 10, best so far"]
