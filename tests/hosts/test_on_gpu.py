"""The same trainings on a real GPU, against those on the CPU, which are computed here as well."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.latents import EncodedPictures
from dreamartist_ext.engine.passes import losses
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.step_guard import READ_EVERY
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.engine.transfer import to_device
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.files.storage import load_snapshot, save_snapshot
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, load_host
from dreamartist_ext.many.together import Member, SharedPasses, SharedTraining, train_together

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here that torch can use"),
]
DEVICE = "cuda"
TEAPOT = EMBEDDED_MODEL.parent / "samples" / "teapot.png"
VALUES = {"name": "zyx", "steps": 20, "learning_rate": "0.005", "template": "a photo of [name]", "less_memory": "off"}


@pytest.fixture(autouse=True)
def full_fp32(monkeypatch):
    """Convolutions of fp32 in 10 bits, torch's default, are not what the CPU computes."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@lru_cache(maxsize=4)
def host_on(device: str, precision: str) -> DiffusersHost:
    return load_host(None, device, precision)


@lru_cache(maxsize=1)
def teapot() -> TrainingPicture:
    return load_pictures([TEAPOT], 128, 128)[0]


def masked() -> TrainingPicture:
    mask = torch.full((128, 128), 128.0)
    mask[:, :64] = 255
    return TrainingPicture(teapot().pixels, mask, "", "masked.png")


def training(device: str = DEVICE, precision: str = "fp32", **values) -> Training:
    return Training(host_on(device, precision), TrainConfig(**VALUES | values), [teapot()])


def trained(device: str = DEVICE, precision: str = "fp32", **values) -> tuple[Training, list[float]]:
    made = training(device, precision, **values)
    return made, [float(report.loss) for report in made.run()]


def distance(ours: Training, theirs: Training) -> float:
    """The mean difference of a coordinate, as a share of how far it came from its start."""
    start = training("cpu", **{"name": theirs.config.name, "seed": theirs.config.seed}).pair.named()
    shares = []
    for word, half in theirs.pair.named().items():
        end, other = half["clip"].detach().cpu(), ours.pair.named()[word]["clip"].detach().cpu()
        shares.append(float((end - other).abs().mean() / (end - start[word]["clip"].detach()).abs().mean()))
    return max(shares)


def test_twenty_steps_are_those_of_the_cpu():
    (ours, on_gpu), (theirs, on_cpu) = trained(), trained("cpu")
    apart = distance(ours, theirs)
    print(f"apart {apart:.2g}, losses {max(abs(a / b - 1) for a, b in zip(on_gpu, on_cpu, strict=True)):.2g}")
    assert on_gpu == pytest.approx(on_cpu, rel=2e-3, abs=1e-5)
    assert apart < 0.02


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns(precision):
    made = training(precision=precision, steps=100, batch_size=4, less_memory="auto")
    before, _, after = loss_now(made), [None for _ in made.run()], loss_now(made)
    print(f"{precision}: {before:.4f} -> {after:.4f}")
    assert made.is_sound() and int(made.guard.dropped) == 0
    assert {vectors.dtype for half in made.pair.named().values() for vectors in half.values()} == {torch.float32}
    assert after < 0.95 * before


def loss_now(made: Training) -> float:
    """Of the samples of the first sixteen steps."""
    host = made.host
    with torch.no_grad(), host.session(), host.bind(made.pair.named()):
        parts = [part for step in range(16) for part in made.passes(made.encoded(), step)]
        return float(torch.cat([losses(host, made.config, part) for part in parts]).mean())


def test_half_precision_follows_the_full_one():
    _, exact = trained(steps=10)
    for precision in ("bf16", "fp16"):
        _, half = trained(precision=precision, steps=10)
        assert half == pytest.approx(exact, rel=0.05, abs=1e-3)


def test_less_memory_changes_nothing_but_the_peak():
    peaks, found = [], []
    for setting in ("off", "on"):
        trained(steps=2, less_memory=setting, batch_size=4)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        found.append(trained(steps=5, less_memory=setting, batch_size=4))
        peaks.append(torch.cuda.max_memory_allocated())
    (plain, losses_plain), (less, losses_less) = found
    assert losses_less == pytest.approx(losses_plain, rel=1e-3, abs=1e-5)
    assert distance(less, plain) < 0.01
    assert peaks[1] < peaks[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_bytes_that_a_pass_keeps_are_those_that_were_computed(precision):
    host, found = host_on(DEVICE, precision), {}

    def hold(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with host.session():
        computed = host.kept_for_backward(4, 16, 16).plain
        with torch.no_grad():
            states = host.encode_prompts(["a cat"] * 4)
        noisy, timesteps = torch.randn(4, 4, 16, 16, device=DEVICE), torch.zeros(4, dtype=torch.long, device=DEVICE)
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            prediction = host.predict(noisy, timesteps, states.requires_grad_())
    weights = {p.untyped_storage().data_ptr() for p in host.parts.unet.parameters()}
    held = sum(storage.nbytes() for pointer, storage in found.items() if pointer not in weights)
    print(f"{precision}: computed {computed}, held {held}")
    assert prediction.requires_grad
    assert computed == pytest.approx(held, rel=0.15)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_model_and_the_memory_are_as_before(precision):
    trained(precision=precision, steps=3)  # what libraries keep for themselves is there from now on
    host = host_on(DEVICE, precision)
    before = {name: tensor.clone() for module in host._modules() for name, tensor in module.state_dict().items()}
    level = allocated()
    trained(precision=precision, steps=3)
    assert allocated() == level
    after = {name: tensor for module in host._modules() for name, tensor in module.state_dict().items()}
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert all(parameter.grad is None for module in host._modules() for parameter in module.parameters())


def allocated() -> int:
    gc.collect()
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_stopped_training_goes_on(tmp_path, precision):
    whole, _ = trained(precision=precision, steps=12)
    first = training(precision=precision, steps=12)
    with closing(first.run()) as steps:
        for _ in range(6):
            next(steps)
        save_snapshot(first.snapshot(), tmp_path / "snapshot.safetensors")
    second = training(precision=precision, steps=12)
    second.restore(load_snapshot(tmp_path / "snapshot.safetensors"))
    made = [report.step for report in second.run()]
    assert made == list(range(7, 13))
    assert second.optimizer.state[second.pair.positive["clip"]]["step"].device.type == DEVICE
    assert distance(second, whole) < 0.02


@contextmanager
def no_waiting() -> Iterator[None]:
    """Inside, whatever waits for the GPU raises."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


OPTIONS = [
    {},
    {"use_negative": False},
    {"batch_size": 2, "accumulation": 2},
    {"guidance": "1.5-3:cos", "min_snr": 5.0, "noisy_weight": 0.5},
    {"ema": 0.9, "clip_gradient": 1.0, "fix_norm": "both"},
    {"less_memory": "on"},
    {"latent_sampling": "each"},
    {"reconstruction": 1.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "defaults")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_waits_for_nothing(precision, options):
    host = host_on(DEVICE, precision)
    made = Training(host, TrainConfig(**VALUES | options), [masked(), teapot()])
    with closing(made.run()) as steps:
        next(steps)
        for step in range(2, READ_EVERY):
            with no_waiting():
                assert next(steps).step == step


def test_a_step_with_latents_from_disk_waits_for_nothing(tmp_path):
    made = training(precision="bf16")
    with made.host.session():
        made._encoded = EncodedPictures(made.host, made.config, made.pictures, tmp_path, most=0)
    assert made._encoded._latents.bytes_on_disk
    with closing(made.run()) as steps:
        next(steps)
        with no_waiting():
            next(steps)


def test_whoever_waits_is_seen():
    with pytest.raises(RuntimeError), no_waiting():
        float(torch.ones((), device=DEVICE))


def test_what_is_sent_arrives():
    sent = [to_device(torch.full((2**16,), float(number)), torch.device(DEVICE)) for number in range(200)]
    assert all(bool((tensor == number).all()) for number, tensor in enumerate(sent))


def concept(number: int, steps: int, **values) -> tuple[TrainConfig, list[TrainingPicture]]:
    pixels = (teapot().pixels * (1 - 0.2 * number)).clamp(-1, 1)
    settings = TrainConfig(**VALUES | {"name": f"{'xyz'[number]}cat", "seed": number, "steps": steps} | values)
    return settings, [TrainingPicture(pixels, None, "", "picture.png")]


def test_several_in_one_pass_are_what_each_is_alone(tmp_path):
    host = host_on(DEVICE, "fp32")
    concepts = [concept(number, 6) for number in range(3)]
    members = [Member(SharedTraining(host, *c), RunFiles(tmp_path / "out", c[0].name)) for c in concepts]
    for _ in train_together(host, members):
        pass
    for member, about in zip(members, concepts, strict=True):
        assert member.error is None
        alone = Training(host, *about)
        for _ in alone.run():
            pass
        assert distance(member.training, alone) < 0.02


def test_a_pass_of_several_waits_for_nothing():
    host = host_on(DEVICE, "bf16")
    several = [SharedTraining(host, *concept(number, 6)) for number in range(3)]
    with host.session():
        passes = SharedPasses(host)
        passes.compute(several, several, 0)  # also encodes the pictures
        with no_waiting():
            passes.compute(several, several, 1)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_picture_is_drawn(precision):
    picture = host_on(DEVICE, precision).generate(["a photo of a cat"], [""], [1], steps=8)[0]
    low, high = picture.convert("L").getextrema()
    assert high - low > 50
