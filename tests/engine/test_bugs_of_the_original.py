"""The bugs that the method's original has: one test for each, named after it, in the order of their list."""

from __future__ import annotations

import ast
import itertools
import pickletools
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import DreamArtistError, SettingError
from dreamartist_ext.engine.guidance import Guidance, combine
from dreamartist_ext.engine.objective import noise_loss
from dreamartist_ext.engine.preview import draw
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.pairing import Pairing
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.storage import load_pair, load_snapshot, save_pair, save_snapshot

from .fake_host import LATENT, FakeHost
from .test_trainer import config, picture, vectors_after

PACKAGE = Path(__file__).parents[2] / "dreamartist_ext"


def test_it_does_not_load_because_an_import_has_moved():
    """What is the WebUI's own is imported where it is used: no change of it keeps the extension from loading."""
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in itertools.chain.from_iterable(_run_on_import(statement) for statement in tree.body):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            foreign = [name for name in names if name.split(".")[0] in ("modules", "ldm", "sgm")]
            assert not foreign, f"{file.name} imports {foreign} when it is loaded"


def _run_on_import(statement: ast.stmt):
    """The imports in a statement, but for those in functions."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield statement
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.stmt):
            yield from _run_on_import(child)


@pytest.mark.parametrize("ending", ["an error", "the end"])
def test_its_loss_is_patched_onto_the_live_model_and_left_there(ending):
    host = FakeHost()
    before = dict(vars(host))
    training = Training(host, config(), [picture()])
    if ending == "an error":
        with pytest.raises(RuntimeError, match="interrupted"):
            for _ in training.run():
                raise RuntimeError("interrupted")
    else:
        list(training.run())
    assert vars(host) == before
    assert all(value is before[name] for name, value in vars(host).items() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("code", ["__import__('os').getpid()", "1-2:__import__('os')", "3-5:lambda r: r", "2*3", "1e1"])
def test_a_text_box_is_evaluated(code):
    with pytest.raises(SettingError, match="guidance must be a number or a range"):
        config(guidance=code)
    for file in PACKAGE.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
        run = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("eval", "exec")]
        assert all(isinstance(argument, ast.Constant) for call in run for argument in call.args), file.name


def test_use_negative_off_crashes():
    settings = config(use_negative=False)
    assert set(vectors_after(settings)) == {"mycat"}
    one, other = (vectors_after(config(use_negative=False, guidance=g))["mycat"] for g in ("3", "1.5-7:cos"))
    assert torch.equal(one, other), "plain textual inversion knows no guidance"


@pytest.mark.parametrize("guidance", ["1.5-3", "1.5-3:cos", "5-2:cos2"])
def test_a_range_of_guidance_breaks_for_batches_above_one(guidance):
    timesteps = torch.tensor([0, 7, 49])
    scales = Guidance.parse(guidance).at(timesteps, 50)
    assert scales.shape == (3, 1, 1, 1)
    uncond, cond = torch.randn(2, 3, *LATENT, generator=torch.Generator().manual_seed(0))
    whole = combine(uncond, cond, scales)
    alone = [
        combine(uncond[i], cond[i], float(Guidance.parse(guidance).at(timesteps[i : i + 1], 50))) for i in range(3)
    ]
    torch.testing.assert_close(whole, torch.stack(alone))
    parts = [vectors_after(config(batch_size=b, accumulation=6 // b, guidance=guidance)) for b in (1, 2, 6)]
    for word in parts[0]:
        for part in parts[1:]:
            torch.testing.assert_close(part[word], parts[0][word], rtol=1e-9, atol=1e-12)


def test_accumulation_beyond_two_drops_gradients():
    def first_gradient(batch_size, accumulation):
        training = Training(FakeHost(), config(batch_size=batch_size, accumulation=accumulation), [picture()])
        with closing(training.run()) as reports:
            next(reports)
        return {word: half["clip"].grad for word, half in training.pair.named().items()}

    whole = first_gradient(12, 1)
    for accumulation in (2, 3, 4, 12):
        parts = first_gradient(12 // accumulation, accumulation)
        for word, gradient in whole.items():
            assert gradient.abs().max() > 0
            torch.testing.assert_close(parts[word], gradient, rtol=1e-9, atol=1e-12)


def test_the_rate_ratio_of_the_negative_is_lost_at_the_first_change_of_the_schedule():
    settings = config(learning_rate="0.02:3, 0.004:6, 0.001", negative_lr_ratio=0.25, steps=9)
    training = Training(FakeHost(), settings, [picture()])
    rates = [[group["lr"] for group in training.optimizer.param_groups] for _ in training.run()]
    assert rates == [[0.02, 0.005]] * 3 + [[0.004, 0.001]] * 3 + [[0.001, 0.00025]] * 3


def test_v_prediction_is_refused():
    training = Training(FakeHost("v_prediction"), config(steps=200, batch_size=4, learning_rate="0.05"), [picture()])
    losses = [float(report.loss) for report in training.run()]
    assert sum(losses[-40:]) < 0.9 * sum(losses[:40])
    host, timesteps = FakeHost("v_prediction"), torch.tensor([0, 20, 49])
    latents, noise = torch.randn(2, 3, *LATENT, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    abar = host.schedule.alphas_cumprod[timesteps][:, None, None, None]
    host.predict = lambda *_: (abar.sqrt() * noise - (1 - abar).sqrt() * latents).repeat(2, 1, 1, 1)
    loss = noise_loss(host, latents, noise, timesteps, torch.zeros(6, 6), 3.0)
    torch.testing.assert_close(loss, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


class HalfPrecisionHost(FakeHost):
    """The gradients are tiny and pass through float16, in which those below 6e-8 are 0 and those above 65504 are not
    finite any more."""

    def __init__(self, loss_scale):
        super().__init__()
        self.loss_scale = loss_scale

    def predict(self, noisy_latents, timesteps, cond):
        return super().predict(noisy_latents, timesteps, _ThroughHalf.apply(cond))


class _ThroughHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return (gradient * 2.0**-34).half().double() * 2.0**34


def test_there_is_no_scaler_of_gradients_in_half_precision():
    settings = config(batch_size=4)
    exact = vectors_after(settings)

    def learned(loss_scale):
        training = Training(HalfPrecisionHost(loss_scale), settings, [picture()])
        start = training.pair.detached().named()
        assert all(torch.isfinite(report.loss) for report in training.run())
        return start, {word: half["clip"].detach() for word, half in training.pair.named().items()}

    start, unscaled = learned(1.0)
    assert all((unscaled[word] - start[word]["clip"]).abs().max() < 1e-6 for word in unscaled), "nothing is left"
    _, scaled = learned(2.0**30)
    for word, vectors in scaled.items():
        torch.testing.assert_close(vectors, exact[word], rtol=0, atol=2e-3)
    _, overflowing = learned(2.0**54)  # comes down, at the price of some steps
    for word, vectors in overflowing.items():
        assert torch.isfinite(vectors).all()
        assert (vectors - start[word]["clip"]).abs().max() > 1e-3


@pytest.mark.parametrize("stop", [1, 7, 11])
def test_there_is_no_resume_and_the_state_of_the_optimizer_is_not_saved(tmp_path, stop):
    settings = config(batch_size=2, accumulation=3, learning_rate="0.02:6, 0.004", warmup=2)
    whole = vectors_after(settings, [picture(0), picture(1)])
    stopped = Training(FakeHost(), settings, [picture(0), picture(1)])
    with closing(stopped.run()) as reports:
        for _ in itertools.islice(reports, stop):
            pass
    save_snapshot(stopped.snapshot(), tmp_path / "snapshot.safetensors")
    resumed = Training(FakeHost(), settings, [picture(0), picture(1)])
    resumed.restore(load_snapshot(tmp_path / "snapshot.safetensors"))
    list(resumed.run())
    assert all(torch.equal(half["clip"].detach(), whole[word]) for word, half in resumed.pair.named().items())


def test_with_both_save_intervals_at_0_training_dies_for_want_of_a_folder(tmp_path):
    files = RunFiles(tmp_path / "nowhere" / "yet" / "embeddings", "mycat")
    list(run_to_files(Training(FakeHost(), config(save_every=0), [picture()]), files))
    assert load_pair(files.out, "mycat").step == 12
    assert load_snapshot(files.snapshot).step == 12


def test_what_a_user_does_wrong_is_asserted():
    for values, words in (
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, got 2.5"),
        ({"name": ""}, "name must be"),
        ({"learning_rate": "fast"}, "learning_rate must be"),
        ({"template": "a photo"}, "template must contain"),
        ({"no_such": 1}, 'there is no setting "no_such"'),
    ):
        with pytest.raises(DreamArtistError) as refused:
            TrainConfig.from_mapping({"name": "mycat", **values})
        assert words in str(refused.value)
        assert str(refused.value).count(". ") == 0, "one sentence"


def test_some_builds_refuse_its_pt_files(tmp_path):
    """Their unpicklers know the members and types of old torch alone: no sd_hijack class, no member but these."""
    pair = EmbeddingPair("mycat", {"clip": torch.rand(3, 8)}, {"clip": torch.rand(6, 8)}, 7, {"settings": "{}"})
    for path in save_pair(pair, tmp_path):
        with zipfile.ZipFile(path) as archive:
            inner = {name.partition("/")[2] for name in archive.namelist()}
            assert inner == {"data.pkl", "version", "data/0"}
            globals_ = {
                argument
                for opcode, argument, _ in pickletools.genops(archive.read(next(iter(archive.namelist()))))
                if opcode.name == "GLOBAL"
            }
        assert globals_ == {"torch._utils _rebuild_tensor_v2", "torch FloatStorage", "collections OrderedDict"}
        content = torch.load(path, weights_only=True)
        assert set(content) >= {"string_to_token", "string_to_param", "name", "step"}


class DrawingHost(FakeHost):
    def predict(self, noisy_latents, timesteps, cond):
        return super().predict(noisy_latents.double(), timesteps, cond)


def test_previews_after_the_first_come_from_stale_conditioning():
    """A preview is of the vectors as they are: that of a moment is the same however many were drawn before."""
    settings = config(learning_rate="0.5")

    def previews(at):
        training = Training(DrawingHost(), settings, [picture()])
        shown = []
        for report in training.run():
            if report.step in at:
                with training.kept_bound():
                    (image,) = draw(training.host, ["mycat"], ["mycat-neg"], [1], LATENT, 4, 3.0)
                shown.append(image.tobytes())
        return shown

    first, last = previews({3, 12})
    assert first != last
    assert previews({12}) == [last]


def test_foo_matches_inside_foo_neg():
    words = ("foo", "foo-neg", "foo2", "foo-neg-neg", "foobar-neg")
    pairing = Pairing(dict.fromkeys(words))
    found = {word: pairing.negative_of(word) for word in words}
    assert {word: negative for word, negative in found.items() if negative} == {
        "foo": "foo-neg",
        "foo-neg": "foo-neg-neg",
    }
