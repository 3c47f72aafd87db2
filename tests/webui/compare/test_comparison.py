"""Compare, without a browser: what it draws, in which columns, and what it refuses."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from dreamartist_ext.cli.advice import add_advice
from dreamartist_ext.engine.errors import DreamArtistError, FileError, SettingError
from dreamartist_ext.evaluation.features import PACKAGES, check_packages
from dreamartist_ext.files.storage import load_pair, save_pair
from dreamartist_ext.webui.training.job import Status
from dreamartist_ext.webui.training.jobs import Desk

gr = pytest.importorskip("gradio")

from dreamartist_ext.webui.compare.comparison import Comparer, What  # noqa: E402
from dreamartist_ext.webui.compare.tab import ComparisonActions  # noqa: E402
from dreamartist_ext.webui.compare.view import comparison_html  # noqa: E402

from ...evaluation.studio import a_pair, a_picture  # noqa: E402
from ..fake_workplace import FakeWorkplace  # noqa: E402

PROMPTS = ("a [name]", "[name] on a red background")
SMALL = {"seeds": 2, "steps": 2}


@pytest.fixture
def place(tmp_path):
    place = FakeWorkplace(tmp_path)
    save_pair(a_pair("mycat", 1, settings='{"initialization_text": "cat"}'), place.embeddings)
    save_pair(a_pair("lone", 2, with_negative=False), place.embeddings)
    files = Desk(place).files("mycat")
    for step in (10, 20):
        save_pair(a_pair("mycat", step), files.folder, stem=files.step_stem(step))
    return place


@pytest.fixture
def comparer(place):
    return Comparer(Desk(place))


def compared(comparer, name="mycat", what=What.WAYS, prompts=PROMPTS, **more):
    comparison = comparer.run(comparer.prepare(name, what, prompts, **{**SMALL, **more}))
    assert comparison.status is Status.DONE, comparison.message
    return comparison


def test_every_cell_holds_every_seed_and_the_ways_differ(comparer):
    comparison = compared(comparer)
    assert [column.label for column in comparison.columns] == ["the pair", "positive only", "“cat”"]
    assert set(comparison.cells) == {(row, column) for row in range(2) for column in range(3)}
    assert all(len(pictures) == 2 for pictures in comparison.cells.values())
    assert comparison.cells[0, 0] != comparison.cells[1, 0]
    assert len({comparison.cells[0, column] for column in range(3)}) == 3
    assert comparison.done == comparison.total


def test_packages_that_a_report_lacks_are_named_and_brought_in_by_a_button(comparer, place, monkeypatch):
    monkeypatch.setattr("dreamartist_ext.evaluation.features.MODULES", ("no_such_module",))
    actions, brought = ComparisonActions(comparer.desk), []
    says, button = actions.evaluate("mycat", 1, 5, 2)
    assert "Measuring pictures needs two small packages" in says
    assert button["visible"]
    place.install = brought.append
    says, button = actions.install()
    assert "ask for the report again" in says
    assert not button["visible"]
    assert brought == [PACKAGES]
    with pytest.raises(SettingError) as caught:
        check_packages()
    add_advice(caught.value, "evaluate")
    assert 'pip install "dreamartist[evaluation]" brings them.' in str(caught.value)


def test_any_two_of_its_pictures_can_be_laid_over_each_other(comparer):
    html = comparison_html(compared(comparer))
    labels = re.findall("<option[^>]*>([^<]+)</option>", html)
    assert labels[:12] == re.findall('alt="([^"]+)"', html)[:12], (
        "in the order of the grid, where the script finds them"
    )
    assert labels[0] == "a mycat, the pair, seed 0"
    assert re.findall('<option value="(\\d+)" selected', html) == ["0", "2"], "the same seed, the pair and the positive"


def test_steps_are_columns_and_one_can_be_put_in_use(comparer, place):
    comparison = compared(comparer, what=What.STEPS)
    assert [column.label for column in comparison.columns] == ["step 10", "step 20"]
    assert comparison.cells[0, 0] != comparison.cells[0, 1]
    assert comparer.use_step(10) == "mycat"
    in_use = load_pair(place.embeddings, "mycat")
    assert (in_use.positive["clip"] == a_pair("mycat", 10).positive["clip"]).all()
    with pytest.raises(SettingError, match="step 30 is not shown"):
        comparer.use_step(30)


def test_without_a_negative_there_are_two_columns(comparer):
    assert [column.label for column in compared(comparer, "lone").columns] == ["positive only", "“thing”"]


def test_what_was_drawn_is_not_drawn_again(comparer, place):
    first = compared(comparer)
    told = len(place.told)
    again = compared(comparer)
    assert len(place.told) == told
    assert again.cells == first.cells
    compared(comparer, prompts=(*PROMPTS, "one more [name]"))
    assert len(place.told) == told + 3 * SMALL["steps"]


def test_interrupt_and_stop_end_it_and_the_same_again_goes_on(comparer, place):
    place.interrupt_at = 4
    stopped = comparer.run(comparer.prepare("mycat", What.WAYS, PROMPTS, **SMALL))
    assert stopped.status is Status.STOPPED
    assert len(stopped.cells) < 6
    place.interrupt_at = None
    waiting = comparer.prepare("mycat", What.WAYS, PROMPTS, **SMALL)
    comparer.stop()
    assert comparer.run(waiting).status is Status.STOPPED
    assert len(compared(comparer).cells) == 6
    with pytest.raises(SettingError, match="nothing is being compared"):
        comparer.stop()


def test_one_at_a_time(comparer):
    comparer.prepare("mycat", What.WAYS, PROMPTS, **SMALL)
    with pytest.raises(SettingError, match="mycat is being compared; stop it first"):
        comparer.prepare("lone", What.WAYS, PROMPTS, **SMALL)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"prompts": ("a cat",)}, SettingError, "prompt 1: .name. must be in it"),
        ({"prompts": ()}, SettingError, "prompts must be 1 to 12, got 0"),
        ({"seeds": 9}, SettingError, "seeds must be 1 to 8, got 9"),
        ({"steps": 0}, SettingError, "steps must be 1 to 100, got 0"),
        ({"guidance": float("nan")}, SettingError, "the guidance must be 0 to 30, got nan"),
        ({"name": "nobody"}, FileError, "there is no embedding nobody"),
        ({"name": "lone", "what": What.STEPS}, SettingError, "lone has no saved steps"),
        ({"name": "../mycat"}, DreamArtistError, "name must be"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_model_is_asked(comparer, place, change, kind, said):
    asked = {"name": "mycat", "what": What.WAYS, "prompts": PROMPTS, **SMALL, **change}
    with pytest.raises(kind, match=said):
        comparer.prepare(**asked)
    assert comparer.current is None
    assert not place.told


def test_an_error_while_drawing_is_said_and_leaves_the_model_free(comparer, place, monkeypatch):
    def fail(*_arguments):
        raise RuntimeError("no memory")

    monkeypatch.setattr(place.tiny, "predict", fail)
    failed = comparer.run(comparer.prepare("mycat", What.WAYS, PROMPTS, **SMALL))
    assert failed.status is Status.FAILED
    assert "no memory" in failed.message
    assert not place.turn.locked()


def test_the_page_follows_and_sends_only_what_changed(comparer):
    actions = ComparisonActions(comparer.desk)
    comparer = actions.comparer
    assert actions.compare("mycat", What.STEPS.value, "a [name]\n\n", 1, 5, 2) == ""
    deadline = time.monotonic() + 60
    while not comparer.current.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    grid, steps, row, *_, seen = actions.refresh({})
    assert grid.count("<img") == 2 + 2  # cells, and the two that lie over each other
    assert steps["choices"] == ["10", "20"]
    assert row["visible"]
    nothing = actions.refresh(seen)
    assert nothing[:5] == [gr.update()] * 5
    assert "is now the pair of step 20" in actions.use("20")
    assert "dreamartist-error" in actions.use(None)
    assert "dreamartist-error" in actions.compare("", What.WAYS.value, "a [name]", 1, 5, 2)
    assert "The guidance must be" in actions.compare("mycat", What.WAYS.value, "a [name]", 1, 99, 2)


def test_a_full_report_from_the_page(place, tmp_path):
    actions = ComparisonActions(Desk(place))
    assert "There is no picture of mycat" in actions.evaluate("mycat", 1, 5, 2)[0]
    kept = actions.desk.files("mycat").folder / "pictures" / "001-photo.png"
    kept.parent.mkdir(parents=True)
    a_picture("red").save(kept)
    assert actions.evaluate("mycat", 1, 5, 2) == ["", gr.update(visible=False)]
    deadline = time.monotonic() + 120
    while not actions.evaluator.current.is_over:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    *_, report, file, _, _ = actions.refresh({})
    assert 'data-status="done"' in report
    assert file["visible"]
    assert "How good is mycat?" in Path(file["value"]).read_text()
    assert "dreamartist-error" in actions.stop()


def test_prompts_are_text_in_the_page(comparer):
    page = comparison_html(compared(comparer, prompts=("<b onclick=x> [name] </b>",), seeds=1))
    assert "<b onclick" not in page
    assert "&lt;b onclick=x&gt; mycat &lt;/b&gt;" in page


def test_no_input_has_the_label_of_another_part(comparer):
    """The WebUI keeps one default for all inputs of a tab that have the same label."""
    from dreamartist_ext.webui.tab import build_tab

    with gr.Blocks() as page:
        build_tab(comparer.desk)
    labels = {True: set(), False: set()}
    for block in page.blocks.values():
        if isinstance(block, (gr.Slider, gr.Number, gr.Textbox, gr.Dropdown, gr.Radio, gr.Checkbox)) and block.label:
            labels[str(block.elem_id).startswith("dreamartist_compare")].add(block.label)
    assert len(labels[True]) == 7
    assert not labels[True] & labels[False]
