"""The loop: exact accumulation, exact resume, nothing left on the host."""

from __future__ import annotations

import itertools
import math
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.draws import Draws, picture_order, seed_for
from dreamartist_ext.engine.errors import FileError, SettingError
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.storage import load_snapshot, pt_bytes, save_snapshot

from .fake_host import FakeHost


def picture(seed: int = 0, masked: bool = False) -> TrainingPicture:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(3, 16, 16, generator=generator) * 2 - 1
    mask = torch.rand(16, 16, generator=generator) * 255 if masked else None
    return TrainingPicture(pixels, mask, "a caption", "picture.png")


def config(**values) -> TrainConfig:
    return TrainConfig(**{"name": "mycat", "steps": 12, "seed": 3, **values})


def vectors_after(settings: TrainConfig, pictures=None) -> dict[str, torch.Tensor]:
    training = Training(FakeHost(), settings, pictures or [picture()])
    for _ in training.run():
        pass
    return {word: half["clip"].detach().clone() for word, half in training.kept().named().items()}


def test_the_loss_falls_and_both_sides_move():
    training = Training(FakeHost(), config(steps=300, batch_size=4, learning_rate="0.05"), [picture()])
    start = training.pair.detached()
    losses = [float(report.loss) for report in training.run()]
    assert sum(losses[-50:]) < 0.8 * sum(losses[:50])
    for before, after in ((start.positive, training.pair.positive), (start.negative, training.pair.negative)):
        assert (before["clip"] - after["clip"].detach()).abs().min() > 1e-4


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("negative", [True, False])
def test_accumulating_n_equals_one_batch_of_n(count, negative):
    pictures = [picture(seed, masked=seed == 1) for seed in range(3)]
    common = {"use_negative": negative, "guidance": "1.5-3:cos"}
    whole = vectors_after(config(batch_size=2 * count, **common), pictures)
    parts = vectors_after(config(batch_size=2, accumulation=count, **common), pictures)
    for word in whole:
        torch.testing.assert_close(parts[word], whole[word], rtol=1e-9, atol=1e-12)


OPTIONS = {
    "plain inversion": {"use_negative": False},
    "pair": {},
    "guidance": {"guidance": "5"},
    "guidance range": {"guidance": "1.5-4:cos2"},
    "min-SNR": {"min_snr": 5.0},
    "range of timesteps": {"timestep_start": 0.2, "timestep_end": 0.6},
    "betas": {"beta1": 0.5, "beta2": 0.9},
    "weight decay": {"weight_decay": 0.3},
    "negative's rate": {"negative_lr_ratio": 0.25},
    "stages": {"learning_rate": "0.02:4, 0.003"},
    "warm-up and cosine": {"warmup": 4, "cosine": True},
    "vectors": {"vectors": 1, "negative_vectors": 2},
    "mask": {"masked": True},
    "start": {"initialization_text": "cat dog"},
    "negative's start": {"negative_initialization_text": "mouse"},
    "clipping": {"clip_gradient": 0.05},
    "length of the positive": {"fix_norm": "positive"},
    "length of both": {"fix_norm": "both", "clip_gradient": 0.05},
    "kept average": {"ema": 0.8, "save_ema": True},
    "replaced by the average": {"ema": 0.8, "ema_replace_every": 3},
    "average of fixed lengths": {"ema": 0.5, "save_ema": True, "ema_replace_every": 5, "fix_norm": "both"},
}


@pytest.mark.parametrize("values", OPTIONS.values(), ids=OPTIONS.keys())
def test_every_option_does_what_a_second_implementation_does(values):
    """The whole loop again, from the paper's formulas, without the engine's objective, guidance or rates."""
    values = dict(values)
    masked = values.pop("masked", False)
    settings = config(batch_size=2, **values)
    shown = picture(masked=masked)
    ours = vectors_after(settings, [shown])
    theirs = reference(settings, shown)
    assert ours.keys() == theirs.keys()
    for word in ours:
        torch.testing.assert_close(ours[word], theirs[word])
    usual = vectors_after(config(batch_size=2))
    if values or masked:
        same = all(ours[w].shape == usual[w].shape and torch.equal(ours[w], usual[w]) for w in ours)
        assert not same or not settings.use_negative, "the option changed nothing"


def reference(settings: TrainConfig, shown: TrainingPicture) -> dict[str, torch.Tensor]:
    host = FakeHost()
    text = settings.initialization_text
    halves = {"mycat": host.initial_vectors(text, settings.vectors)["clip"]}
    if settings.use_negative:
        jitter = torch.Generator().manual_seed(seed_for(settings.seed, "negative", 0))
        text = settings.negative_initialization_text or text
        start = host.initial_vectors(text, settings.negative_vectors)["clip"]
        halves["mycat-neg"] = start + 1e-3 * torch.randn(start.shape, generator=jitter)
    fixed = {"off": [], "positive": ["mycat"], "both": ["mycat", "mycat-neg"]}[settings.fix_norm]
    halves = {word: stretched(half) if word in fixed else half for word, half in halves.items()}
    averages = {word: half.clone() for word, half in halves.items()}
    for half in halves.values():
        half.requires_grad_(True)
    optimizers = [
        torch.optim.AdamW([half], lr=1, betas=(settings.beta1, settings.beta2), weight_decay=settings.weight_decay)
        for half in halves.values()
    ]
    latents = host.encode_images(shown.pixels[None])
    mask = torch.ones(2, 2) if shown.mask is None else weights_of(shown.mask)
    for step in range(12):
        draws = Draws(settings.seed, step)
        noise, first = draws.noise((2, 4, 2, 2)).double(), round(50 * settings.timestep_start)
        timesteps = first + draws.integers(round(50 * settings.timestep_end) - first, 2)
        loss = torch.zeros((), dtype=torch.float64)
        for b in range(2):
            t = int(timesteps[b])
            abar = host.schedule.alphas_cumprod[t]
            z_t = abar.sqrt() * latents + (1 - abar).sqrt() * noise[b]
            outputs = [host.predict(z_t, timesteps[b : b + 1], half.mean(0)[None]) for half in halves.values()]
            prediction = outputs[0]
            if settings.use_negative:
                prediction = outputs[1] + scale_at(settings.guidance, t / 49) * (outputs[0] - outputs[1])
            snr = abar / (1 - abar)
            weight = min(float(snr), settings.min_snr) / snr if settings.min_snr else 1.0
            loss = loss + weight * (mask * (prediction - noise[b]) ** 2).mean() / 2
        for half in halves.values():
            half.grad = None
        loss.backward()
        for word, half in halves.items():
            if word in fixed:
                along = (half.grad * half.detach()).sum(1) / half.detach().square().sum(1)
                half.grad -= along[:, None] * half.detach()
            if settings.clip_gradient:
                half.grad *= min(1.0, settings.clip_gradient / (float(half.grad.square().sum() ** 0.5) + 1e-6))
        for optimizer, ratio in zip(optimizers, (1.0, settings.negative_lr_ratio), strict=False):
            optimizer.param_groups[0]["lr"] = ratio * rate_of(settings, step)
            optimizer.step()
        for word, half in halves.items():
            if word in fixed:
                half.data = stretched(half.data)
            averages[word] = settings.ema * averages[word] + (1 - settings.ema) * half.detach()
            if word in fixed:
                averages[word] = stretched(averages[word])
            if settings.ema_replace_every and (step + 1) % settings.ema_replace_every == 0:
                half.data = averages[word].clone()
    return averages if settings.save_ema else {word: half.detach() for word, half in halves.items()}


def stretched(rows: torch.Tensor) -> torch.Tensor:
    """To the length 2, which the fake host says its vocabulary has."""
    return torch.stack([2 * row / row.square().sum().sqrt() for row in rows])


def scale_at(guidance: str, r: float) -> float:
    return {"3": 3.0, "5": 5.0}.get(guidance) or 1.5 + (1 - math.cos(r * math.pi / 2)) * 2.5


def rate_of(settings: TrainConfig, step: int) -> float:
    if settings.learning_rate.startswith("0.02"):
        return 0.02 if step < 4 else 0.003
    if settings.warmup:
        return 0.005 * ((step + 1) / 4 if step < 4 else 0.5 * (1 + math.cos(math.pi * (step - 4) / 8)))
    return 0.005


def weights_of(mask: torch.Tensor) -> torch.Tensor:
    """Grey 16x16 -> the means of the weights over 8x8 tiles"""
    weights = torch.where(mask <= 127, mask / 127, 1 + 4 * (mask.clamp(min=128) - 128) / 127).clamp(max=5)
    return weights.reshape(2, 8, 2, 8).mean((1, 3)).double()


def test_a_word_that_its_prompts_hide_is_refused():
    class Deaf(FakeHost):
        def encode_prompts(self, prompts):
            return torch.zeros(len(prompts), 6, dtype=torch.float64)

    with pytest.raises(SettingError, match='the word "mycat" is not found in its own prompts'):
        list(Training(Deaf(), config(), [picture()]).run())


def test_the_negatives_rate_ratio_holds_through_schedule_changes():
    training = Training(FakeHost(), config(learning_rate="0.01:3, 0.001", negative_lr_ratio=0.5), [picture()])
    rates = [tuple(group["lr"] for group in training.optimizer.param_groups) for _ in training.run()]
    assert rates == [(0.01, 0.005)] * 3 + [(0.001, 0.0005)] * 9


AVERAGED = {"ema": 0.9, "ema_replace_every": 4, "save_ema": True, "fix_norm": "both", "clip_gradient": 0.1}


@pytest.mark.parametrize("stop", [1, 5, 11])
@pytest.mark.parametrize("values", [{}, {"use_negative": False}, AVERAGED], ids=["pair", "plain", "averaged"])
def test_resume_gives_the_same_bytes(tmp_path, stop, values):
    settings = config(batch_size=2, accumulation=2, warmup=3, cosine=True, **values)
    pictures = [picture(0), picture(1), picture(2)]
    whole = Training(FakeHost(), settings, pictures)
    for _ in whole.run():
        pass
    stopped = Training(FakeHost(), settings, pictures)
    with closing(stopped.run()) as reports:
        for _ in itertools.islice(reports, stop):
            pass
    save_snapshot(stopped.snapshot(), tmp_path / "s.safetensors")
    resumed = Training(FakeHost(), settings, pictures)
    resumed.restore(load_snapshot(tmp_path / "s.safetensors"))
    assert [report.step for report in resumed.run()] == list(range(stop + 1, 13))
    for kept, whole_one in ((resumed.pair, whole.pair), (resumed.kept(), whole.kept())):
        for word, half in whole_one.named().items():
            assert pt_bytes(word, kept.named()[word], kept.step, {}) == pt_bytes(word, half, whole_one.step, {})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cpu fp32 abc", "cpu fp32 abc skip 2", "with clip skip 1, so it cannot go on with 2"),
        ("cuda torch.float16 abc vae None skip 2", "cuda torch.float16 abc vae None skip 1", "clip skip 2"),
        ("cuda torch.float16 abc vae my vae skip 1", "cuda torch.float16 abc vae None skip 1", "the VAE my vae"),
        ("cpu fp32 abc", "cpu bf16 abc", "with precision fp32, so it cannot go on with bf16"),
        ("cpu fp32 abc", "cuda fp32 abc", "with device cpu, so it cannot go on with cuda"),
        (
            "cpu fp32 abc",
            "cuda fp16 abc",
            "with device cpu and precision fp32, so it cannot go on with device cuda and precision fp16",
        ),
        (
            "cpu torch.float32 abc skip 2",
            "cpu torch.bfloat16 abc",
            "with clip skip 2 and precision float32, so it cannot go on with clip skip 1 and precision bfloat16",
        ),
        ("cpu fp32 abc skip 2", "cuda fp16 xyz", "on another model, so it cannot go on with this one"),
        ("cpu fp32 abc", "cpu fp32 xyz", "on another model"),
        ("cpu fp32 abc", "cpu fp32 xyz skip 2", "on another model"),
    ],
)
def test_resume_says_what_differs(old, new, words):
    host = FakeHost()
    host.identity = lambda: old
    snapshot = Training(host, config(), [picture(0)]).snapshot()
    host.identity = lambda: new
    with pytest.raises(SettingError, match=words):
        Training(host, config(), [picture(0)]).restore(snapshot)


def test_resume_refuses_other_settings_and_other_pictures():
    training = Training(FakeHost(), config(), [picture(0)])
    snapshot = training.snapshot()
    with pytest.raises(SettingError, match="started with seed 3, so it cannot go on with 4"):
        Training(FakeHost(), config(seed=4), [picture(0)]).restore(snapshot)
    with pytest.raises(SettingError, match='started with caption "", so it cannot go on with red pot'):
        Training(FakeHost(), config(caption="red pot"), [picture(0)]).restore(snapshot)
    with pytest.raises(SettingError, match="another model"):
        Training(FakeHost("v_prediction"), config(), [picture(0)]).restore(snapshot)
    with pytest.raises(FileError, match="damaged"):
        lacking = {name: tensor for name, tensor in snapshot.tensors.items() if name != "negative.clip"}
        Training(FakeHost(), config(), [picture(0)]).restore(replace(snapshot, tensors=lacking))
    averaged = Training(FakeHost(), config(ema=0.9), [picture(0)])
    with pytest.raises(FileError, match="damaged"):
        averaged.restore(replace(averaged.snapshot(), tensors=snapshot.tensors))
    with pytest.raises(SettingError, match="another picture"):
        Training(FakeHost(), config(), [picture(1)]).restore(snapshot)
    Training(FakeHost(), config(steps=500, save_every=7), [picture(0)]).restore(snapshot)


@pytest.mark.parametrize("ending", ["done", "closed", "error"])
def test_the_host_is_put_back_whichever_way_it_ends(ending):
    host = FakeHost()
    training = Training(host, config(), [picture()])
    if ending == "error":
        host.predict = lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory"))
        with pytest.raises(RuntimeError, match="out of memory"):
            next(training.run())
    else:
        reports = training.run()
        next(reports)
        assert host.open_sessions == 1
        assert set(host.embeddings) == {"mycat", "mycat-neg"}
        if ending == "closed":
            reports.close()
        else:
            list(reports)
    assert host.open_sessions == 0
    assert host.embeddings == {}


def test_a_step_that_fails_between_two_passes_leaves_no_trace():
    settings = config(batch_size=1, accumulation=3)
    training, calls = Training(FakeHost(), settings, [picture()]), []
    true_predict = training.host.predict

    def fails_once(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise RuntimeError("out of memory")
        return true_predict(*arguments)

    training.host.predict = fails_once
    with pytest.raises(RuntimeError, match="out of memory"):
        list(training.run())
    assert training.step == 1
    list(training.run())
    for word, vectors in vectors_after(settings).items():
        assert torch.equal(training.pair.named()[word]["clip"], vectors)


def test_a_mask_of_plain_weight_changes_nothing_and_another_one_does():
    shaped = picture(0)
    plain = TrainingPicture(shaped.pixels, torch.full((16, 16), 127.0), "", "")
    left = torch.zeros(16, 16)
    left[:, :8] = 255
    lopsided = TrainingPicture(shaped.pixels, left, "", "")
    without, same, other = (vectors_after(config(), [p])["mycat"] for p in (shaped, plain, lopsided))
    assert torch.equal(vectors_after(config(use_mask=False), [lopsided])["mycat"], without)
    torch.testing.assert_close(same, without)
    assert (other - without).abs().max() > 1e-4


def test_the_same_seed_gives_the_same_vectors_whatever_the_global_one():
    torch.manual_seed(1)
    first = vectors_after(config())
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = vectors_after(config())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[word], second[word]) for word in first)
    assert not torch.equal(first["mycat"], vectors_after(config(seed=4))["mycat"])


def test_every_picture_comes_once_per_epoch():
    order = picture_order(0, 5, 0, 15)
    assert [sorted(order[i : i + 5]) for i in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3
    assert picture_order(0, 5, 7, 4) == order[7:11]


def test_the_negative_starts_as_the_positive_with_a_little_noise():
    training = Training(FakeHost(), config(vectors=3, negative_vectors=3), [picture()])
    distance = (training.pair.positive["clip"] - training.pair.negative["clip"]).detach().abs()
    assert 0 < distance.max() < 6e-3
