"""The check for a GPU, tried on a CPU: every part at a tiny size, and what becomes of those that fail or take long."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu_bundle, gpu_check, webui_check
from benchmarks.__main__ import QUESTIONS, asked
from benchmarks.gpu_check import ON_A_GPU, TABLE, TINY, WEBUI, Part, parts_for, run, table
from benchmarks.models import SIZES, TINY_SIZES, bench_of
from benchmarks.results import Answer, guarded, keep
from benchmarks.sdxl import SDXL, _unet
from benchmarks.trainings import differing, drawn, is_advice, said_without_memory
from benchmarks.work import floor

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=TINY_SIZES)
def bench(request, tmp_path_factory):
    return bench_of(request.param, "cpu", "fp32", tmp_path_factory.mktemp("bench"))


def test_a_training_in_every_precision_ends_well_and_leaves_the_model_as_it_was(bench):
    before = drawn(bench)
    answer = asked("trainings", bench, lambda told: None)
    assert answer.left_out == []
    assert {figure.what.split(", ")[1] for figure in answer.figures} == {"bf16", "fp16", "fp32"}
    assert [figure.what for figure in answer.figures if figure.is_met is False] == []
    assert all(0 < figure.spread.median < math.inf for figure in answer.figures if figure.unit in ("s", "MiB"))
    assert drawn(bench) == before
    assert bench.host.precision is torch.float32


def test_no_memory_is_one_sentence_and_the_model_is_as_it_was(bench):
    answer = asked("refusal", bench, lambda told: None)
    assert is_advice(answer.values["said"])
    assert [figure.is_met for figure in answer.figures] == [True, True]
    assert "predict" not in vars(bench.host)


@pytest.mark.parametrize("said", ["", "CUDA out of memory.", "out of memory at step 1; less_memory\non needs less."])
def test_what_gives_no_advice_in_one_sentence_is_seen(said):
    assert not is_advice(said)


def test_a_training_that_fits_all_the_same_has_said_nothing(bench, monkeypatch):
    monkeypatch.setattr("benchmarks.trainings.without_memory", lambda _bench: guarded(Answer("x"), "x"))
    assert said_without_memory(bench) == ""


def test_a_changed_picture_is_counted():
    assert differing(b"abc", b"abd") == 1


def test_the_floor_of_a_model_with_two_encoders_can_be_measured(bench):
    floor(bench, 2)()


def test_sdxls_shape_is_sdxls():
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in _unet(SDXL, 1024).parameters())
    assert count == 2_567_463_684  # as its authors' file has


def test_sizes_and_questions_are_there_and_the_time_is_enough():
    for part in [*ON_A_GPU, *TINY]:
        assert part.size in SIZES and set(part.questions) <= set(QUESTIONS)
    assert sum(part.seconds for part in ON_A_GPU) <= 520
    assert {part.size for part in parts_for("full", True)} == {"sd15-gpu", "sdxl-gpu", WEBUI}
    assert parts_for("tiny", False) == TINY
    assert set(gpu_check.IN_THE_WEBUI[0].questions) <= set(webui_check.WAYS)


@dataclass(frozen=True)
class Says(Part):
    """A part that is a script."""

    code: str = ""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.code]


def test_what_fails_or_takes_too_long_is_noted_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "SHORTEST", 0.0)
    parts = [
        Says("one", ("a",), 60, "raise SystemExit('no such card')"),
        Says("two", ("b",), 0.5, "import signal; signal.pause()"),
        Says("three", ("c",), 60, "import pathlib, sys; pathlib.Path(sys.argv[2], 'ran').touch()"),
    ]
    notes = run(parts, tmp_path, 100, ["no WebUI"])
    assert notes == ["no WebUI", "one: a: ended with 1; no such card", "two: b: cut off after 0 seconds"]
    assert (tmp_path / "ran").exists()
    assert all(note in (tmp_path / TABLE).read_text() for note in notes)


def test_no_part_begins_when_the_time_is_up(tmp_path):
    part = Says("one", ("a",), 60, "raise SystemExit(1)")
    assert run([part], tmp_path, 1) == ["one: a: no time was left for it"]


def test_the_table_has_what_is_there(bench, tmp_path):
    figures = asked("refusal", bench, lambda told: None).figures
    keep(Answer("refusal", figures, machine=webui_check.about(CPU), run="r"), tmp_path / "tiny.json")
    said = table(["tiny", "none"], tmp_path, ["something"])
    assert "## tiny" in said and "## none" not in said and "- something" in said
    assert said.count("met |") == 2


class FakeWebUI:
    def __init__(self, status="done", changes=False):
        self.status, self.changes, self.asked = status, changes, []

    def picture(self, prompt, **options):
        self.asked.append("picture")
        return bytes([len(self.asked) if self.changes else 0] * 4), ""

    def post(self, path, content, timeout=0):
        self.asked.append(content)
        return {"status": self.status, "message": "why not", "seconds_per_step": 0.5}

    def get(self, path):
        return {"cuda": {"allocated": {"peak": 3 * 2**20}}}


def test_in_the_webui_a_picture_comes_before_and_after_a_training():
    webui = FakeWebUI()
    step, peak, changed = webui_check.in_one(webui, "sdp", CPU)
    assert webui.asked[::2] == ["picture", "picture"]
    assert webui.asked[1]["settings"]["steps"] == webui_check.TINY_STEPS
    assert (step.spread.median, peak.spread.median, changed.is_met) == (0.5, 3, True)
    assert webui_check.in_one(FakeWebUI(changes=True), "sdp", CPU)[2].is_met is False


def test_a_training_that_fails_in_the_webui_says_why():
    with pytest.raises(RuntimeError, match="why not"):
        webui_check.in_one(FakeWebUI("failed"), "sdp", CPU)


def test_every_way_starts_the_webui_and_is_kept(tmp_path, monkeypatch):
    seen = []

    def running(_data, *flags, kind):
        seen.append(flags)
        raise RuntimeError("it did not start")

    monkeypatch.setattr(webui_check, "running", running)
    answers = [webui_check.measured(name, tmp_path, CPU) for name in ("medvram", "fp8")]
    assert seen == [("--api", "--medvram"), ("--api",)]
    assert [answer.left_out for answer in answers] == [
        ["medvram: RuntimeError: it did not start"],
        ["fp8: RuntimeError: it did not start"],
    ]


def test_only_where_there_is_no_gpu_the_webui_computes_on_the_cpu():
    assert "--use-cpu all" in webui_check.kind_on(CPU).flags
    assert "--use-cpu" not in webui_check.kind_on(torch.device("cuda")).flags


def test_a_machine_without_a_webui_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(webui_check, "has_webui", lambda: False)
    webui_check.main(["--only", "sdp", "--out", str(tmp_path)])
    assert "there is no WebUI" in table([WEBUI], tmp_path, [])


def test_what_travels_is_small_enough_and_says_how_it_is_run(tmp_path, monkeypatch, capsys):
    wheel = tmp_path / "einops-1-py3-none-any.whl"
    wheel.write_bytes(b"0" * 100)
    monkeypatch.setattr(gpu_bundle, "fetch", lambda out, packages: None)
    monkeypatch.setattr(gpu_bundle, "files_of_repository", lambda: [wheel])
    assert gpu_bundle.main(["--out", str(tmp_path)]) == 0
    assert gpu_bundle.command(tmp_path) in capsys.readouterr().out
    monkeypatch.setattr(gpu_bundle, "MOST", 250)
    assert gpu_bundle.main(["--out", str(tmp_path)]) == 0
    drawings = tmp_path / "drawings.zip"
    drawings.write_bytes(b"0" * 100)
    assert gpu_bundle.main(["--out", str(tmp_path), "--drawings", str(drawings)]) == 1, "the drawings travel too"
    monkeypatch.setattr(gpu_bundle, "MOST", 300)
    assert gpu_bundle.main(["--out", str(tmp_path), "--drawings", str(drawings)]) == 0
    assert f"tools.embedded_model.on_gpu train --drawings {drawings} --out ${{OUT:-" in capsys.readouterr().out


def test_wheels_that_are_there_are_not_fetched_again(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(gpu_bundle, "version", lambda name: "1.0")
    monkeypatch.setattr(gpu_bundle.subprocess, "run", lambda call, check: calls.append(call) or SimpleNamespace())
    (tmp_path / "einops-1.0-py3-none-any.whl").touch()
    gpu_bundle.fetch(tmp_path)
    gpu_bundle.fetch((tmp_path / "diffusers-1.0-py3-none-any.whl").touch() or tmp_path)
    assert [call[-1] for call in calls] == ["diffusers==1.0"]
    (tmp_path / "resvg_py-1.0-cp310-abi3-manylinux2014_x86_64.whl").touch()
    gpu_bundle.fetch(tmp_path, gpu_bundle.PACKAGES_OF_THE_MODEL)
    assert len(calls) == 1, "a wheel writes the name with a _"
