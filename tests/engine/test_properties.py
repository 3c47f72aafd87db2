"""What holds for every setting of a piece, not for an example of it: schedules, ramps, steps, averages, settings."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.draws import bucket_order
from dreamartist_ext.engine.guidance import RAMPS, Guidance, combine
from dreamartist_ext.engine.learning_rate import RateSchedule, lr_at
from dreamartist_ext.engine.options import field_type
from dreamartist_ext.engine.trainer import Training

from .fake_host import FakeHost
from .test_trainer import config, picture, vectors_after

RATES = st.floats(1e-7, 10)


@st.composite
def stages(draw):
    """Rates and the last step of each, the last one's perhaps left open."""
    ends = sorted(draw(st.sets(st.integers(1, 5000), min_size=1, max_size=5)))
    rates = [draw(RATES) for _ in ends]
    return list(zip(rates, ends, strict=True)), draw(st.booleans())


def written(found, is_open):
    parts = [f"{rate!r}:{end}" for rate, end in found]
    return ", ".join([*parts[:-1], repr(found[-1][0])] if is_open else parts)


@given(stages(), st.integers(1, 6000))
def test_a_schedule_says_what_was_written(found, step):
    found, is_open = found
    schedule = RateSchedule.parse(written(found, is_open))
    ends = [*(end for _, end in found[:-1]), math.inf if is_open else found[-1][1]]
    assert schedule.stages == tuple(zip((rate for rate, _ in found), ends, strict=True))
    due = next((rate for rate, end in zip((r for r, _ in found), ends, strict=True) if step <= end), found[-1][0])
    assert schedule.rate(step) == due


@given(stages(), st.integers(1, 400), st.integers(0, 200), st.booleans(), st.data())
def test_a_rate_is_never_more_than_its_stage_and_warm_up_joins_without_a_jump(found, steps, warmup, cosine, data):
    schedule = RateSchedule.parse(written(*found))
    step = data.draw(st.integers(1, steps))
    rate = lr_at(schedule, step, steps, warmup, cosine)
    assert 0 < rate <= schedule.rate(step) * (1 + 1e-12)
    if warmup:
        assert lr_at(schedule, warmup, steps, warmup, cosine) == pytest.approx(schedule.rate(warmup))
    if not cosine and step > warmup:
        assert rate == schedule.rate(step)


@given(st.sampled_from(sorted(RAMPS)), st.floats(0.5, 20), st.floats(0.5, 20), st.integers(2, 1000))
def test_a_ramp_runs_one_way_from_its_start_to_its_end(ramp, start, end, count):
    guidance = Guidance.parse(f"{start:f}-{end:f}:{ramp}")
    scales = guidance.at(torch.arange(count), count)
    assert scales.shape == (count, 1, 1, 1)
    values = scales.flatten().double()
    assert float(values[0]) == pytest.approx(start, rel=1e-4)
    assert float(values[-1]) == pytest.approx(end, rel=1e-4)
    assert bool(((values.diff() * (end - start)) >= -1e-4).all())


@given(st.floats(-20, 20), st.integers(0, 99))
def test_guidance_of_two_equal_predictions_is_that_prediction(scale, seed):
    cond, uncond = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.equal(combine(cond, cond, scale), cond)
    torch.testing.assert_close(combine(uncond, cond, 1.0), cond)
    torch.testing.assert_close(combine(uncond, cond, scale) + combine(cond, uncond, scale), uncond + cond)


@settings(max_examples=25)
@given(limit=st.floats(1e-4, 1.0), rate=st.floats(1e-4, 0.1), ratio=st.floats(0.1, 4), seed=st.integers(0, 99))
def test_each_sides_gradient_is_shortened_by_itself(limit, rate, ratio, seed):
    """What AdamW is given: the same direction as without clipping, and neither side longer than the limit."""
    gradients = {}
    for clip in (0.0, limit):
        values = {"clip_gradient": clip, "learning_rate": repr(rate), "negative_lr_ratio": ratio, "seed": seed}
        training = Training(FakeHost(), config(steps=1, **values), [picture()])
        list(training.run())
        gradients[clip] = {word: half["clip"].grad for word, half in training.pair.named().items()}
        rates = [group["lr"] for group in training.optimizer.param_groups]
        assert rates == pytest.approx([rate, rate * ratio])
    for word, whole in gradients[0.0].items():
        shortened = gradients[limit][word]
        length = float(whole.norm())
        assert float(shortened.norm()) <= limit * (1 + 1e-6)
        torch.testing.assert_close(shortened, whole * min(1.0, limit / (length + 1e-6)), rtol=1e-6, atol=1e-12)


@settings(max_examples=25)
@given(decay=st.floats(0.01, 0.999), every=st.integers(1, 6), steps=st.integers(1, 8), fused=st.booleans())
def test_an_average_is_of_the_vectors_of_its_steps_and_takes_their_place_when_due(decay, every, steps, fused):
    """`fused`: the vectors are replaced by it every so often; otherwise it only runs beside them."""
    values = {"ema": decay, "ema_replace_every": every if fused else 0, "learning_rate": "0.05"}
    training = Training(FakeHost(), config(steps=steps, **values), [picture()])
    expected = {word: half["clip"].detach().clone() for word, half in training.pair.named().items()}
    halves = training.pair.named()
    stepped = {}
    take = training.optimizer.step
    training.optimizer.step = lambda: (
        take(),
        stepped.update({word: half["clip"].detach().clone() for word, half in halves.items()}),
    )
    for report in training.run():
        for word, half in halves.items():
            expected[word] = decay * expected[word] + (1 - decay) * stepped[word]
            torch.testing.assert_close(training.average.named()[word]["clip"], expected[word])
            due = fused and report.step % every == 0
            assert torch.equal(half["clip"].detach(), training.average.named()[word]["clip"] if due else stepped[word])


@settings(max_examples=20)
@given(parts=st.integers(2, 4), batch=st.integers(1, 3), pictures=st.integers(1, 4), values=st.data())
def test_accumulating_n_is_one_batch_of_n(parts, batch, pictures, values):
    chosen = {
        "use_negative": values.draw(st.booleans()),
        "guidance": values.draw(st.sampled_from(["3", "1.5-4:cos2"])),
        "min_snr": values.draw(st.sampled_from([0.0, 5.0])),
        "noisy_weight": values.draw(st.sampled_from([0.0, 0.5])),
        "timestep_start": values.draw(st.sampled_from([0.0, 0.3])),
        "latent_sampling": values.draw(st.sampled_from(["mean", "each"])),
        "clip_gradient": values.draw(st.sampled_from([0.0, 0.05])),
    }
    shown = [picture(seed, masked=seed % 2 == 1) for seed in range(pictures)]
    whole = vectors_after(config(steps=3, batch_size=parts * batch, **chosen), shown)
    split = vectors_after(config(steps=3, batch_size=batch, accumulation=parts, **chosen), shown)
    for word in whole:
        torch.testing.assert_close(split[word], whole[word], rtol=1e-8, atol=1e-11)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.integers(1, 4), st.integers(0, 99))
def test_a_step_is_of_one_bucket_and_an_epoch_shows_every_picture_equally_often(buckets, samples, seed):
    count = len(buckets)
    shown = []
    for step in range(count):
        order = bucket_order(seed, buckets, step, samples)
        assert len(order) == samples
        assert len({buckets[i] for i in order}) == 1
        shown += order
    assert [shown.count(i) for i in range(count)] == [samples] * count


def values_of(item):
    """Any value that the setting's own range allows, where it does not depend on another setting."""
    about, kind = item.metadata, field_type(item)
    if about["choices"]:
        return st.sampled_from(about["choices"])
    if kind is bool:
        return st.booleans()
    least = about["least"] if about["least"] is not None else about["above"]
    if kind is int:
        return st.integers(int(least), int(about["most"]))
    return st.floats(least, about["most"], exclude_min=about["above"] is not None)


DEPENDENT = ("width", "height", "save_ema", "ema_replace_every", "patience", "timestep_start", "timestep_end", "views")
FREE = {i.name: values_of(i) for i in fields(TrainConfig) if i.name not in DEPENDENT and field_type(i) is not str}
FREE |= {i.name: values_of(i) for i in fields(TrainConfig) if i.metadata["choices"]}
FREE |= {"width": st.integers(0, 64).map(lambda n: 64 * n), "learning_rate": stages().map(lambda s: written(*s))}


@given(st.fixed_dictionaries({}, optional=FREE))
def test_any_settings_come_back_from_json_and_from_text(values):
    values |= {"steps": max(values.get("steps", 1000), values.get("warmup", 0))}  # a longer warm-up is refused
    made = TrainConfig.from_mapping(values)
    assert TrainConfig.from_json(made.to_json()) == made
    assert TrainConfig.from_mapping(json.loads(json.dumps(made.to_mapping()))) == made
    as_text = {n: v if isinstance(v, (bool, str)) else repr(v) for n, v in made.to_mapping().items()}
    assert TrainConfig.from_mapping(as_text) == made
