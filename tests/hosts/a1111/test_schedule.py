"""The WebUI's schedule and what a checkpoint says of it, against a stand-in for the WebUI's two functions."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from dreamartist_ext.engine.noise import PredictionType
from dreamartist_ext.hosts.a1111.schedule import schedule_of, schedule_remark

CPU = torch.device("cpu")


def without_signal(abar):
    return torch.cat([abar[:-1], torch.tensor([4.8973451890853435e-08])])


@pytest.fixture
def opened(monkeypatch):
    """A model as the WebUI has it, its settings, and what it asks."""
    options = SimpleNamespace(zero=False, half=False)

    def override(model):
        model.alphas_cumprod = model.alphas_cumprod_original
        if options.half:
            model.alphas_cumprod = model.alphas_cumprod.half()
        if options.zero:
            model.alphas_cumprod = without_signal(model.alphas_cumprod.float())

    functions = SimpleNamespace(apply_alpha_schedule_override=override, rescale_zero_terminal_snr_abar=without_signal)
    monkeypatch.setitem(sys.modules, "modules", SimpleNamespace(sd_models=functions))
    original = torch.linspace(0.999, 0.005, 10)
    model = SimpleNamespace(
        alphas_cumprod="of the last picture", alphas_cumprod_original=original, parameterization="v"
    )
    return SimpleNamespace(model=model, options=options, original=original)


def checkpoint(folder, *marks):
    save_file({name: torch.zeros(1) for name in ("x", *marks)}, folder / "m.safetensors")
    return folder / "m.safetensors"


@pytest.mark.parametrize("zero", [False, True], ids=["default", "zero terminal SNR"])
@pytest.mark.parametrize("marks", [(), ("ztsnr",)], ids=["unmarked", "marked"])
def test_the_last_step_is_noise_where_the_settings_or_the_checkpoint_say_so(opened, tmp_path, zero, marks):
    path = checkpoint(tmp_path, *marks)
    opened.options.zero = zero
    schedule = schedule_of(opened.model, CPU, path)
    expected = without_signal(opened.original) if zero or marks else opened.original
    assert torch.equal(schedule.alphas_cumprod, expected)
    assert schedule.prediction_type is PredictionType.V
    assert opened.model.alphas_cumprod == "of the last picture", "as it was"
    assert bool(schedule_remark(opened.model, path)) is (bool(marks) and not zero)


def test_a_schedule_that_is_rounded_for_pictures_is_rounded_for_training(opened, tmp_path):
    opened.options.half = True
    schedule = schedule_of(opened.model, CPU, checkpoint(tmp_path))
    assert torch.equal(schedule.alphas_cumprod, opened.original.half().float())
    assert not torch.equal(schedule.alphas_cumprod, opened.original)


def test_a_file_of_another_kind_says_nothing(opened, tmp_path):
    for path in (tmp_path / "gone.safetensors", tmp_path / "m.ckpt"):
        assert torch.equal(schedule_of(opened.model, CPU, path).alphas_cumprod, opened.original)
        assert schedule_remark(opened.model, path) == ""
