"""Every question of the benchmark, asked once of a tiny model; and that what it measures with tells the truth."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPTokenizer

from benchmarks import script
from benchmarks.__main__ import CUT_OFF, QUESTIONS, asked, stored
from benchmarks.alone import run_script
from benchmarks.busy import kernels_of, merged
from benchmarks.clock import FEWEST_ROUNDS, Seconds, Spread, ratio, spread_of, taking_turns
from benchmarks.curves import POINTS
from benchmarks.gpu import WAYS, compared
from benchmarks.memory import peak
from benchmarks.models import SIZES, TINY_SIZES, bench_of
from benchmarks.page import number, write_page
from benchmarks.results import Answer, Curve, Figure, guarded, keep, read
from benchmarks.shapes import TINY, TOKENIZER, shaped, tokenizer_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return bench_of("tiny", "cpu", "fp32", tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def answer_to(bench):
    return lru_cache(lambda name: QUESTIONS[name](bench))


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_gets_an_answer(bench, answer_to, name):
    answer = answer_to(name)
    assert answer.question == name
    assert answer.figures or answer.curves or answer.left_out
    assert all(math.isfinite(figure.spread.median) for figure in answer.figures)
    assert all(math.isfinite(y) and y >= 0 for curve in answer.curves for _, y in curve.points)
    assert all(parameter.grad is None for parameter in bench.host.parts.unet.parameters())


def test_concepts_in_a_pass_have_no_aim_on_a_cpu(answer_to):
    (figure,) = answer_to("sharing").figures
    assert figure.aim is None and figure.spread.median > 0


def test_nothing_is_left_of_a_training(answer_to):
    left = {figure.what: figure.spread.median for figure in answer_to("memory").figures if figure.unit == "bytes"}
    assert left == {"gradients left after training": 0, "allocated after training": 0}


def test_growth_compares_whole_quarters(bench):
    answer = QUESTIONS["growth"](replace(bench, size=replace(bench.size, growth=40)))
    assert [figure.spread.rounds for figure in answer.figures] == [2, 2, 2]
    assert answer.figures[0].what == "tensors held at the end of 40 steps"


def test_ways_to_compute_are_compared_and_undone(bench):
    unet = bench.host.parts.unet
    processors = {name: type(way) for name, way in unet.attn_processors.items()}
    left_out = {"fp32 with TF32", "weights cast in every pass"}  # the others are undone on a CPU too
    ways = {name: way for name, way in WAYS.items() if name not in left_out}
    answer = Answer("gpu")
    compared(bench, ways, answer, rounds=1)
    assert answer.left_out == []
    assert [figure.what for figure in answer.figures] == [f"a step, {name}" for name in ways]
    assert {name: type(way) for name, way in unet.attn_processors.items()} == processors
    assert bench.host.precision is torch.float32
    assert unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert "forward" not in vars(unet) and "predict" not in vars(bench.host)
    assert {parameter.dtype for part in bench.host._modules() for parameter in part.parameters()} == {torch.float32}


def test_what_fails_or_takes_too_long_is_a_sentence_and_the_rest_goes_on():
    answer = Answer("gpu")
    with guarded(answer, "first"):
        raise ValueError("no such thing\nand more")
    with guarded(answer, "second", seconds=1):
        while True:
            pass
    with guarded(answer, "third", seconds=1):
        answer.values["third"] = 1
    assert answer.left_out == ["first: ValueError: no such thing", "second: TimeoutError: more than 1 seconds"]
    assert answer.values == {"third": 1}


def test_what_is_cut_off_keeps_the_parts_that_were_finished(bench, tmp_path, monkeypatch):
    def cut_off(_bench):
        made = Answer("gpu")
        with guarded(made, "first"):
            made.figures.append(figure(1.2))
        with guarded(made, "second"):
            raise KeyboardInterrupt

    file = tmp_path / "tiny.json"
    store = partial(stored, file, "tiny-1", MACHINE, 0.0)
    monkeypatch.setitem(QUESTIONS, "gpu", cut_off)
    with pytest.raises(KeyboardInterrupt):
        asked("gpu", bench, partial(store, is_part=True))
    (kept,) = read(file)
    assert (kept.figures, kept.left_out, kept.run) == ([figure(1.2)], [CUT_OFF], "tiny-1")


def test_what_fails_outside_of_its_parts_keeps_them_too(bench, monkeypatch):
    def fails(_bench):
        made = Answer("gpu")
        with guarded(made, "first"):
            made.figures.append(figure(1.2))
        raise ValueError("no such thing")

    monkeypatch.setitem(QUESTIONS, "gpu", fails)
    told = []
    found = asked("gpu", bench, told.append)
    assert found.figures == [figure(1.2)]
    assert found.left_out == ["all of it: ValueError: no such thing"]
    assert len(told) == 1


def test_what_the_device_does_at_once_counts_once():
    assert merged([(5, 6), (0, 2), (1, 3), (3, 4)]) == [(0, 4), (5, 6)]
    kernels = kernels_of(lambda: torch.ones(8) + torch.ones(8), CPU)
    assert "aten::add" in {name for name, _, _ in kernels}
    assert all(end >= start for _, start, end in kernels)


def test_works_take_turns_and_the_first_rounds_do_not_count():
    calls = []
    works = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    taken = taking_turns(works, 2, CPU, warm=1)
    assert "".join(calls) == "abbaab"
    assert [len(seconds) for seconds in taken.values()] == [2, 2]


def test_no_round_begins_when_the_time_is_up_but_a_few_are_made():
    taken = taking_turns({"a": lambda: None}, 8, CPU, most_seconds=0)
    assert len(taken["a"]) == FEWEST_ROUNDS
    assert len(taking_turns({"a": lambda: None}, 2, CPU, most_seconds=0)["a"]) == 2


def test_a_ratio_is_of_the_same_round_and_of_computing_time():
    taken = {"a": [Seconds(9, 2), Seconds(1, 30)], "b": [Seconds(1, 1), Seconds(9, 10)]}
    assert ratio(taken, "a", "b", CPU) == Spread(2.5, 2.25, 2.75, 2)


def test_the_peak_is_the_most_that_was_held_at_once():
    def work():
        for _ in range(3):
            torch.empty(2**20)
        both = torch.empty(2**20), torch.empty(2**20)
        del both

    assert peak(work, CPU) == 2 * 4 * 2**20


def figure(value: float, **about) -> Figure:
    return Figure("a", "b", spread_of([value]), **about)


def test_an_aim_is_met_from_its_own_side():
    assert figure(1.2, aim=1.1).is_met is False
    assert figure(1.1, aim=1.1).is_met is True
    assert figure(2.5, aim=2.0, at_least=True).is_met is True
    assert figure(1.5, aim=2.0, at_least=True).is_met is False
    assert figure(1.5).is_met is None


MACHINE = {
    "model": "m",
    "side": 16,
    "precision": "float32",
    "device": "CPU",
    "processor": "p",
    "cores": 2,
    "threads": 1,
    "load": 0.5,
    "python": "3.11",
    "versions": {"torch": "2"},
}


def answer(question: str, value: float) -> Answer:
    curve = Curve("memory", "steps", "MiB", [(0.0, 1.0), (10.0, 1.0)], "flat")
    return Answer(question, [figure(value, aim=1.1)], [curve], ["no GPU"], {"x": 1}, "tiny-1", 2.0, MACHINE)


def test_an_answer_takes_the_place_of_an_earlier_one_and_of_no_other(tmp_path):
    file = tmp_path / "tiny.json"
    step, memory = answer("step", 1.0), answer("memory", 1.2)
    for given in (step, memory, later := replace(step, run="tiny-2")):
        keep(given, file)
    assert read(file) == [later, memory]


def test_a_page_names_the_run_and_keeps_what_is_around(tmp_path):
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- tiny -->\nold\n<!-- end of tiny -->\nafter\n")
    write_page([answer("step", 1.0), answer("memory", 1.2)], "tiny", page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "`tiny-1` (step, memory)" in text and "Not measured (step): no GPU" in text
    assert text.count("met |") == 1 and text.count("**missed**") == 1
    with Image.open(tmp_path / "speed-tiny.png") as picture:
        assert picture.width == 1000


@pytest.mark.parametrize(("value", "said"), [(4.4e-16, "0"), (-0.09, "-0.09"), (0.03416, "0.0342"), (1404.2, "1404")])
def test_a_number_has_three_digits_and_no_noise(value, said):
    assert number(value) == said


@pytest.mark.parametrize("size", sorted(set(SIZES) - {*TINY_SIZES}))
def test_every_size_has_a_place_in_the_documentation(size):
    page = (Path(__file__).parents[2] / "docs" / "evidence" / "speed.md").read_text(encoding="utf-8")
    assert page.index(f"<!-- {size} -->") < page.index(f"<!-- end of {size} -->")
    assert size in POINTS


def test_a_page_without_a_place_is_refused(tmp_path):
    page = tmp_path / "speed.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="tiny"):
        write_page([answer("step", 1.0)], "tiny", page)


SCRIPT = """
import sys
import torch

weight = torch.nn.Parameter(torch.zeros(2**18))
torch.empty(2**22)
optimizer = torch.optim.AdamW([weight])
for _ in range(int(sys.argv[1])):
    weight.grad = torch.ones_like(weight)
    optimizer.step()
"""


@pytest.fixture
def peer(tmp_path):
    path = tmp_path / "peer.py"
    path.write_text(SCRIPT)
    return path


def test_a_script_is_cut_at_its_steps_and_adamw_is_as_before(peer):
    before = torch.optim.AdamW.__init__, torch.optim.AdamW.step, sys.argv
    assert len(run_script(peer, ["6"]).seconds) == 4
    assert (torch.optim.AdamW.__init__, torch.optim.AdamW.step, sys.argv) == before


def test_a_scripts_peak_is_above_what_was_there_when_it_made_its_optimizer(peer):
    mebi = 2**20  # of the gradient and of each of the two moments; what an update needs besides is less than four
    assert 3 * mebi <= run_script(peer, ["2"], memory=True).peak < 8 * mebi


def test_a_peer_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(script, "SCRIPT", tmp_path / "none.py")
    assert script.missing() == script.NO_SCRIPT
    monkeypatch.setattr(script, "SCRIPT", Path(__file__))
    monkeypatch.setattr(script, "NEEDED", ("no_such_package",))
    assert script.missing() == script.NO_PACKAGES


def test_a_table_of_tokens_grows_by_tokens_that_no_text_has(tmp_path):
    parts = shaped(TINY, "tiny", 64, tokenizer_of(5000, tmp_path / "tokenizer"))("cpu", "fp32").parts
    usual = CLIPTokenizer.from_pretrained(TOKENIZER)
    assert len(parts.tokenizer) == parts.text_encoder.get_input_embeddings().num_embeddings == 5000
    text = "a photo of <zyx> beside a house, 12 % off!"
    assert parts.tokenizer(text).input_ids == usual(text).input_ids
    assert len(usual) == script.FEWER_ROWS


def test_peaks_of_the_script_are_compared_by_way_and_aimed_at_with_the_large_table():
    taken = {kind: [{"seconds": [2.0], "torch": "2"}] for kind in script.KINDS}
    peaks = {way: {"pair": 40, "plain": 10, "script": 100} for way in script.WAYS}
    found = [figure for figure in script.figures(taken, peaks) if "peak" in figure.what]
    assert [figure.spread.median for figure in found] == [0.4, 0.1] * 3
    assert [figure.is_met for figure in found] == [True] * 4 + [None] * 2


def test_less_memory_is_asked_of_both(tmp_path):
    for less in (False, True):
        assert ("--less" in script.our_arguments(tmp_path, 3, less)) is less
        assert ("--gradient_checkpointing" in script.script_arguments(tmp_path, 3, less)) is less
