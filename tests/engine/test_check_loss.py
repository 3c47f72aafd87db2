"""The check loss and the previews: fixed draws, no trace in the training."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from dreamartist_ext.engine import preview
from dreamartist_ext.engine.check_loss import CheckLoss, spread_over
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.snapshot import pair_of
from dreamartist_ext.engine.stopping import CHECK_SAMPLES as SAMPLES
from dreamartist_ext.engine.stopping import Check
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.storage import load_pair, load_snapshot

from ..models import tiny_host


def training(tmp_path, **settings):
    host = tiny_host(tmp_path)
    pixels = torch.linspace(-1, 1, 3 * 64 * 64).reshape(3, 64, 64)
    values = {
        "name": "cat",
        "template": "a [name]",
        "steps": 6,
        "save_every": 2,
        "check_every": 2,
        "learning_rate": "0.05",
    } | settings
    return Training(host, TrainConfig.from_mapping(values), [TrainingPicture(pixels, None, "", "x")])


def test_it_is_the_formula_over_its_own_draws(tmp_path):
    run = training(tmp_path, guidance="3")
    with run.host.session(), run.host.bind(run.pair.named()):
        check = CheckLoss(run)()
        latents = run.encoded().latents([0])
        noise = torch.randn(SAMPLES, *latents.shape[1:], generator=torch.Generator().manual_seed(20221121))
        count = run.host.schedule.timesteps
        errors, plain = [], []
        for i in range(SAMPLES):
            t = torch.tensor([int((i + 0.5) * count / SAMPLES)])
            abar = run.host.schedule.alphas_cumprod[t].item()
            noisy = abar**0.5 * latents + (1 - abar) ** 0.5 * noise[i : i + 1]
            predicted = {
                prompt: run.host.predict(noisy, t, run.host.encode_prompts([prompt])).detach().numpy()
                for prompt in ("a cat", "cat-neg", "")
            }
            guided = predicted["cat-neg"] + 3 * (predicted["a cat"] - predicted["cat-neg"])
            errors.append(np.mean((guided - noise[i].numpy()) ** 2))
            plain.append(np.mean((predicted[""] - noise[i].numpy()) ** 2))
    assert check.step == 0
    assert check.loss == pytest.approx(np.mean(errors), rel=1e-4)
    assert check.baseline == pytest.approx(np.mean(plain), rel=1e-4)


@given(count=st.integers(1, 100), samples=st.integers(1, 16))
def test_every_part_of_the_pictures_is_checked(count, samples):
    chosen = spread_over(count, samples)
    assert len(chosen) == samples
    if count <= samples:
        assert chosen == [i % count for i in range(samples)]
    else:
        gaps = [after - before for before, after in pairwise([*chosen, count])]
        assert chosen[0] == 0
        assert max(gaps) - min(gaps) <= 1


def test_pictures_beyond_the_eighth_count(tmp_path):
    def check_of(pictures):
        run = training(tmp_path)
        run.pictures = pictures
        with run.host.session(), run.host.bind(run.pair.named()):
            return CheckLoss(run)()

    first = training(tmp_path).pictures[0]
    other = replace(first, pixels=-first.pixels)
    same = check_of([first] * 20)
    assert check_of([first] * 8 + [other] * 12).loss != same.loss
    assert check_of([first] * 20) == same


def test_the_timesteps_are_those_that_are_trained(tmp_path):
    run = training(tmp_path, timestep_start=0.6, timestep_end=0.9)
    seen, predict = [], run.host.predict
    run.host.predict = lambda noisy, timesteps, *cond: (
        seen.extend(timesteps.tolist()),
        predict(noisy, timesteps, *cond),
    )[1]
    for _ in run.run():
        CheckLoss(run)()
    count = run.host.schedule.timesteps
    assert 0.6 * count <= min(seen) and max(seen) < 0.9 * count


def test_a_training_that_goes_on_for_longer_is_checked_as_before(tmp_path):
    """Fewer samples were affordable in the short one; on others its curve could not go on."""
    short = training(tmp_path, steps=50, save_every=0, check_every=0)
    files = RunFiles(tmp_path / "out", "cat")
    for _ in run_to_files(short, files):
        pass
    assert [check.samples for check in short.checks] == [3]
    longer = training(tmp_path, steps=52, save_every=1, check_every=1)
    longer.restore(files.last_snapshot())
    for _ in run_to_files(longer, files):
        pass
    assert [check.samples for check in longer.checks] == [3, 3, 3]
    assert len({check.baseline for check in longer.checks}) == 1


def test_checks_change_nothing_and_come_back_with_a_snapshot(tmp_path):
    plain = training(tmp_path)
    for _ in plain.run():
        pass
    checked = training(tmp_path)
    files = RunFiles(tmp_path / "out", "cat")
    for _ in run_to_files(checked, files):
        pass
    for name, half in plain.pair.named().items():
        assert torch.equal(half["clip"], checked.pair.named()[name]["clip"])
    assert [check.step for check in checked.checks] == [2, 4, 6]
    assert load_snapshot(files.snapshot).checks == tuple(checked.checks)
    again = training(tmp_path)
    again.restore(load_snapshot(files.snapshot))
    assert again.checks == checked.checks


def test_the_best_step_on_disk_can_be_made_the_pair(tmp_path):
    run, files = training(tmp_path), RunFiles(tmp_path / "out", "cat")
    for _ in run_to_files(run, files):
        pass
    assert files.kept_steps() == [2, 4, 6]
    checks = [Check(2, 0.3, 1.0), Check(4, 0.1, 1.0), Check(5, 0.0, 1.0), Check(6, 0.2, 1.0)]
    assert files.best_step(checks) == 4  # step 5 is not on disk
    assert files.best_step([]) is None
    last = load_pair(files.out, "cat")
    files.use_step(4)
    used = load_pair(files.out, "cat")
    assert used.step == 4
    assert not torch.equal(used.positive["clip"], last.positive["clip"])
    assert torch.equal(used.positive["clip"], load_pair(files.folder, "cat-000004").positive["clip"])


def test_a_snapshot_holds_the_pair(tmp_path):
    run = training(tmp_path)
    for _ in run.run():
        pass
    pair = pair_of(run.snapshot(), "cat")
    assert pair.step == 6
    assert torch.equal(pair.positive["clip"], run.pair.positive["clip"])
    assert torch.equal(pair.negative["clip"], run.pair.negative["clip"])
    assert pair_of(training(tmp_path, use_negative=False).snapshot(), "cat").negative is None


def test_previews_are_the_pictures_of_diffusers_own_ddim(tmp_path):
    """A second implementation: the standalone host draws with diffusers' scheduler, here "trailing" as well."""
    host = tiny_host(tmp_path)
    options = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
    host.parts = replace(host.parts, scheduler=DDIMScheduler.from_config(host.parts.scheduler.config, **options))
    expected = host.generate(["a", "cat"], ["c", "c"], [1, 2], steps=10, guidance_scale=3)
    with host.session():
        drawn = preview.draw(host, ["a", "cat"], ["c", "c"], [1, 2], (4, 8, 8), 10, 3)
    for one, other in zip(drawn, expected, strict=True):
        difference = np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int))
        assert difference.max() <= 1
    assert np.asarray(drawn[0]).std() > 1


def test_the_word_in_a_caption_stays_out_of_every_negative_prompt(tmp_path):
    captioned = {"template": "[name], [filewords]", "negative_template": "[name], [filewords]", "steps": 1}
    run = training(tmp_path, **captioned)
    run.pictures = [replace(run.pictures[0], caption="red cat")]
    asked, encode = set(), run.host.encode_prompts
    run.host.encode_prompts = lambda prompts: (asked.update(prompts), encode(prompts))[1]
    for _ in run.run():
        CheckLoss(run)()
    assert asked == {"cat, red cat", "cat-neg, red", ""}


def test_its_prompts_are_those_of_the_training(tmp_path):
    captioned = {"template": "[filewords] [name]", "negative_template": "[filewords] [name]"}
    run = training(tmp_path, filewords_positive_only=True, **captioned)
    run.pictures = [replace(run.pictures[0], caption="red")]
    asked, encode = set(), run.host.encode_prompts
    run.host.encode_prompts = lambda prompts: (asked.update(prompts), encode(prompts))[1]
    with run.host.session(), run.host.bind(run.pair.named()):
        CheckLoss(run)()
    assert asked == {"red cat", "cat-neg", ""}
