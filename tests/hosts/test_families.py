"""Every family of Stable Diffusion, standalone: trained, drawn with, and refused where it is none."""

from __future__ import annotations

import json

import huggingface_hub
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

from dreamartist_ext.engine.check_loss import CheckLoss
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.engine.noise import PredictionType
from dreamartist_ext.engine.objective import noise_loss
from dreamartist_ext.engine.passes import conditioning
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.storage import load_pair, save_pair
from dreamartist_ext.hosts.diffusers.generation import with_learned_words
from dreamartist_ext.hosts.diffusers.model_files import load_host
from dreamartist_ext.hosts.families import FIRST_CONVOLUTION, check_tensors
from testbed.model_folder import save_folder

from ..family_models import FAMILIES, PROJECTION, WIDTH_G, WIDTH_L, WIDTH_SD2, components, host

KEYS = {"sd1": ["clip"], "sd2": ["clip"], "sdxl": ["clip_l", "clip_g"]}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """Each family's host, made once."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = host(tmp_path_factory.mktemp(family), family)
        return made[family]

    return get


def picture() -> TrainingPicture:
    pixels = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return TrainingPicture(pixels, None, "", "p.png")


def random_pair(model, name="mycat", counts=(2, 3)) -> EmbeddingPair:
    generator = torch.Generator().manual_seed(1)
    halves = [
        {key: torch.randn(count, width, generator=generator) / 4 for key, width in model.widths.items()}
        for count in counts
    ]
    return EmbeddingPair(name, *halves)


def parameters(model):
    parts = model.parts
    encoders = [encoder for encoder in (parts.text_encoder, parts.text_encoder_2) if encoder is not None]
    return [p for module in (parts.unet, parts.vae, *encoders) for p in module.parameters()]


@pytest.mark.parametrize("family", FAMILIES)
def test_training_lowers_the_loss_and_leaves_the_model_alone(hosts, family):
    model = hosts(family)
    before = [p.detach().clone() for p in parameters(model)]
    config = TrainConfig(name="mycat", steps=20, batch_size=2, learning_rate="0.05", initialization_text="cat")
    training = Training(model, config, [picture()])
    with model.session(), model.bind(training.pair.named()):
        first = CheckLoss(training)().loss
    list(training.run())
    with model.session(), model.bind(training.pair.named()):
        last = CheckLoss(training)().loss
    print(f"{family}: check loss {first:.4f} -> {last:.4f}")
    assert last < first
    assert list(training.pair.positive) == KEYS[family.split("-")[0]]
    assert all(p.grad is None and p.requires_grad for p in parameters(model))
    assert all(torch.equal(p, weight) for p, weight in zip(parameters(model), before, strict=True))


@pytest.mark.parametrize("family", ["sd2-v", "sdxl", "sdxl-v-ztsnr", "sd1-inpainting"])
def test_gradients_of_every_encoder_are_those_of_finite_differences(hosts, family):
    """Along the gradient itself, so that single precision has digits to spare."""
    model = hosts(family)
    pair = random_pair(model)
    generator = torch.Generator().manual_seed(2)
    latents, noise = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    timesteps = torch.tensor([100, 900])

    def loss():
        cond = conditioning(model, ["a mycat"] * 2, ["mycat-neg"] * 2)
        return noise_loss(model, latents, noise, timesteps, cond, 3.0).sum()

    with model.session(), model.bind(pair.named()):
        halves = [v.requires_grad_(True) for half in (pair.positive, pair.negative) for v in half.values()]
        gradients = torch.autograd.grad(loss(), halves)
        for vectors, gradient in zip(halves, gradients, strict=True):
            assert gradient.abs().max() > 0
            step = gradient / gradient.norm() * 0.02
            with torch.no_grad():
                up = (vectors.add_(step), loss())[1]
                down = (vectors.sub_(2 * step), loss())[1]
                vectors.add_(step)
            slope, expected = float(up - down) / 0.04, float(gradient.norm())
            assert slope == pytest.approx(expected, rel=0.02)


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).int()


COMMON = {"num_inference_steps": 5, "guidance_scale": 4.0, "output_type": "pil", "width": 64, "height": 64}


@pytest.mark.parametrize("family", FAMILIES[:5])
@pytest.mark.parametrize("negative", ["dog", ""])
def test_a_picture_is_the_one_that_diffusers_own_pipeline_draws(hosts, family, negative):
    """A second implementation of encoders, pooling, sizes, schedule and sampler, given the same noise."""
    model, parts = hosts(family), hosts(family).parts
    if parts.text_encoder_2 is not None:
        encoders = (parts.text_encoder, parts.text_encoder_2, parts.tokenizer, parts.tokenizer_2)
        pipeline = StableDiffusionXLPipeline(parts.vae, *encoders, parts.unet, parts.scheduler)
        negative_prompt = negative or None  # which is all zeros there
    else:
        encoders = (parts.text_encoder, parts.tokenizer)
        pipeline = StableDiffusionPipeline(
            parts.vae, *encoders, parts.unet, parts.scheduler, None, None, requires_safety_checker=False
        )
        negative_prompt = negative
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(5))[None]
    theirs = pipeline("a cat", negative_prompt=negative_prompt, latents=noise, **COMMON).images[0]
    ours = model.generate(["a cat"], [negative], [5], steps=5, guidance_scale=4.0)[0]
    assert (pixels_of(ours) - pixels_of(theirs)).abs().max() <= 1
    assert pixels_of(ours).unique().numel() > 8, "a flat picture would equal any other"


@pytest.mark.parametrize("family", ["sd1-inpainting", "sd2-inpainting"])
def test_an_inpainting_model_draws_what_diffusers_draws_under_a_full_mask(hosts, family, monkeypatch):
    model, parts = hosts(family), hosts(family).parts
    bias = parts.vae.quant_conv.bias.data
    far_off = torch.nn.Parameter(bias - 100 * (torch.arange(8) >= 4))
    monkeypatch.setitem(parts.vae.quant_conv._parameters, "bias", far_off)  # as an attribute it would be deleted after
    pipeline = StableDiffusionInpaintPipeline(
        parts.vae,
        parts.text_encoder,
        parts.tokenizer,
        parts.unet,
        parts.scheduler,
        None,
        None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(5))[None]
    theirs = pipeline(
        "a cat",
        image=Image.new("RGB", (64, 64), "red"),
        mask_image=Image.new("L", (64, 64), 255),
        negative_prompt="dog",
        latents=noise,
        strength=1.0,
        **COMMON,
    ).images[0]
    ours = model.generate(["a cat"], ["dog"], [5], steps=5, guidance_scale=4.0)[0]
    assert (pixels_of(ours) - pixels_of(theirs)).abs().max() <= 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_loaded_with_the_same_predictions(tmp_path, hosts, family):
    model = hosts(family)
    loaded = load_host(save_folder(components(tmp_path, family), tmp_path / "m"), "cpu", "fp32")
    noisy, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([3, 700])
    with torch.no_grad():
        ours, theirs = (m.predict(noisy, timesteps, m.encode_prompts(["a", "cat"])) for m in (model, loaded))
    torch.testing.assert_close(ours, theirs)
    assert loaded.schedule.prediction_type is model.schedule.prediction_type
    assert torch.equal(loaded.schedule.alphas_cumprod, model.schedule.alphas_cumprod)


def test_a_last_step_of_pure_noise_is_read_from_the_schedule(hosts):
    assert hosts("sdxl-v-ztsnr").schedule.alphas_cumprod[-1] == 0
    assert hosts("sdxl").schedule.alphas_cumprod[-1] > 0
    parts = hosts("sdxl-v-ztsnr").parts
    parts.scheduler.register_to_config(prediction_type="epsilon")
    with pytest.raises(ModelError, match="nothing but noise"):
        type(hosts("sdxl-v-ztsnr"))(parts, torch.device("cpu"), torch.float32)
    parts.scheduler.register_to_config(prediction_type="v_prediction")


def test_widths_and_the_pooled_vector(hosts):
    assert hosts("sd2").widths == {"clip": WIDTH_SD2}
    model = hosts("sdxl")
    assert model.widths == {"clip_l": WIDTH_L, "clip_g": WIDTH_G}
    with torch.no_grad():
        cond = model.encode_prompts(["a cat", "b " * 100])
        long_alone = model.encode_prompts(["b " * 75])
    assert cond["crossattn"].shape == (2, 154, WIDTH_L + WIDTH_G)
    assert cond["vector"].shape == (2, PROJECTION)
    torch.testing.assert_close(cond["vector"][1:], long_alone["vector"])  # of the first chunk


def test_an_empty_negative_is_zeros_in_sdxl_and_only_there(hosts):
    with torch.no_grad():
        cond = hosts("sdxl").encode_negatives(["", "dog"])
        plain = hosts("sdxl").encode_prompts(["", "dog"])
        assert torch.equal(hosts("sd2").encode_negatives([""]), hosts("sd2").encode_prompts([""]))
    for key in ("crossattn", "vector"):
        assert not cond[key][0].any()
        assert plain[key][0].any()
        assert torch.equal(cond[key][1], plain[key][1])


def test_sdxl_is_told_the_size_of_the_picture(hosts):
    model = hosts("sdxl")
    seen = []
    hook = model.parts.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["added_cond_kwargs"]["time_ids"]), with_kwargs=True
    )
    with torch.no_grad():
        model.predict(torch.randn(2, 4, 8, 16), torch.tensor([1, 2]), model.encode_prompts(["a", "b"]))
    hook.remove()
    assert seen[0].tolist() == [[64, 128, 0, 0, 64, 128]] * 2


def test_clip_skip_reads_an_earlier_layer_as_the_webui_does(tmp_path, hosts):
    """SD 1: normalised; SDXL: of the first encoder only, and 2 is what it has anyway; SD 2: none."""
    skipping = host(tmp_path / "a", "sd1", clip_skip=2)
    encoder = skipping.parts.text_encoder
    ids = torch.tensor([skipping.parts.tokenizer("a cat").input_ids])
    with torch.no_grad():
        output = encoder(ids, output_hidden_states=True)
        body = getattr(encoder, "text_model", encoder)
        expected = body.final_layer_norm(output.hidden_states[-2])
        torch.testing.assert_close(skipping.encode_prompts(["a cat"])[:, : ids.shape[1]], expected)
        two, three = (host(tmp_path / str(n), "sdxl", n).encode_prompts(["a cat"])["crossattn"] for n in (2, 3))
        plain = hosts("sdxl").encode_prompts(["a cat"])["crossattn"]
    assert torch.equal(two, plain)
    assert not torch.allclose(three[..., :WIDTH_L], plain[..., :WIDTH_L])
    assert torch.equal(three[..., WIDTH_L:], plain[..., WIDTH_L:])
    assert skipping.identity() != host(tmp_path / "a", "sd1").identity()
    with pytest.raises(ModelError, match="no clip skip"):
        host(tmp_path / "b", "sd2", clip_skip=2)
    with pytest.raises(ModelError, match="must be 1 to 2"):
        host(tmp_path / "a", "sd1", clip_skip=3)


@pytest.mark.parametrize(("family", "suffix"), [("sd1", ".pt"), ("sd2", ".pt"), ("sdxl", ".safetensors")])
def test_a_pair_comes_back_from_its_files_and_is_found_in_a_prompt(tmp_path, hosts, family, suffix):
    model = hosts(family)
    pair = random_pair(model)
    assert [path.name for path in save_pair(pair, tmp_path)] == [f"mycat{suffix}", f"mycat-neg{suffix}"]
    loaded = load_pair(tmp_path, "mycat")
    for half, before in ((loaded.positive, pair.positive), (loaded.negative, pair.negative)):
        assert half.keys() == before.keys()
        assert all(torch.equal(half[key], before[key]) for key in half)
    words = with_learned_words(model, tmp_path, "a mycat", "blurry")
    assert words.negative_prompt == "blurry, mycat-neg"
    with torch.no_grad(), model.bind(words.embeddings):
        with_pair = model.encode_prompts(["a mycat", "blurry, mycat-neg"])
    with torch.no_grad(), model.bind(pair.named()):
        in_memory = model.encode_prompts(["a mycat", "blurry, mycat-neg"])
    torch.testing.assert_close(with_pair, in_memory, rtol=0, atol=0)


def test_the_negative_changes_the_pooled_vector(hosts):
    model = hosts("sdxl")
    with torch.no_grad(), model.bind(random_pair(model).named()):
        with_word, without = model.encode_prompts(["blurry, mycat-neg", "blurry"])["vector"]
    assert not torch.allclose(with_word, without)


def test_a_pair_of_another_family_is_refused_by_name(tmp_path, hosts):
    save_pair(random_pair(hosts("sdxl")), tmp_path)
    with pytest.raises(ModelError, match="mycat was made for another kind of model: it is for SDXL"):
        with_learned_words(hosts("sd2"), tmp_path, "a mycat", "")


REFUSED = {
    "edit": ({}, {"in_channels": 8}, "instruct-pix2pix"),
    "depth": ({}, {"in_channels": 5}, "5 input channels"),
    "unclip": ({}, {"class_embed_type": "projection"}, "conditioning other than text"),
    "refiner": ({"text_encoder": [None, None]}, {}, "refiner"),
    "sd3": ({"_class_name": "StableDiffusion3Pipeline", "transformer": ["diffusers", "x"]}, {}, "has no U-Net"),
    "flux": ({"_class_name": "FluxPipeline", "unet": None, "transformer": ["diffusers", "x"]}, {}, "FluxPipeline"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_cannot_be_trained_is_refused_in_a_sentence(tmp_path, hosts, case):
    """Before any weights are read: there are none."""
    index, unet, words = REFUSED[case]
    base = save_folder(hosts("sdxl" if case == "refiner" else "sd2").parts, tmp_path / "m")
    for weights in base.rglob("*.safetensors"):
        weights.unlink()
    for file, changes in (("model_index.json", index), ("unet/config.json", unet)):
        values = json.loads((base / file).read_text())
        (base / file).write_text(json.dumps(values | changes))
    with pytest.raises(ModelError, match=words) as refused:
        load_host(base, "cpu", "fp32")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"model.diffusion_model.x_embedder.proj.weight": (1, 2)}, "Stable Diffusion 3"),
        ({"double_blocks.0.img_attn.qkv.weight": (1, 2)}, "Flux"),
        ({"lora_unet_up.weight": (1, 2)}, "no U-Net"),
        (
            {FIRST_CONVOLUTION: (320, 4, 3, 3), "conditioner.embedders.0.model.ln_final.weight": (1,)},
            "refiner",
        ),
        ({FIRST_CONVOLUTION: (320, 8, 3, 3)}, "instruct-pix2pix"),
        ({FIRST_CONVOLUTION: (320, 5, 3, 3)}, "5 input channels"),
    ],
)
def test_a_checkpoint_that_cannot_be_trained_is_refused_by_its_header(tmp_path, shapes, words):
    from safetensors.torch import save_file

    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=words):
        load_host(tmp_path / "x.safetensors", "cpu", "fp32")


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_a_single_file_whose_tokenizer_is_out_of_reach_is_a_sentence(tmp_path, monkeypatch, family):
    from safetensors.torch import save_file

    names = {FIRST_CONVOLUTION: (320, 4, 3, 3), "cond_stage_model.model.ln_final.weight": (1024,)}
    if family == "sdxl":
        names = {FIRST_CONVOLUTION: (320, 4, 3, 3), "conditioner.embedders.1.model.ln_final.weight": (1280,)}
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, tmp_path / "x.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="contains no tokenizer and configuration") as refused:
        load_host(tmp_path / "x.safetensors", "cpu", "fp32")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("marks", [(), ("v_pred",), ("v_pred", "ztsnr")], ids=["none", "v", "v and zero SNR"])
def test_a_single_file_says_by_its_marks_how_it_was_made(tmp_path, monkeypatch, marks):
    """diffusers reads no marks; what it makes of a file is put in its place, as its sizes would come from the hub."""
    from safetensors.torch import save_file

    parts = components(tmp_path, "sdxl")
    names = {FIRST_CONVOLUTION: (32, 4, 3, 3), "conditioner.embedders.1.model.ln_final.weight": (4,)}
    tensors = {name: torch.zeros(shape) for name, shape in names.items()}
    save_file(tensors | {mark: torch.zeros(1) for mark in marks}, tmp_path / "x.safetensors")
    monkeypatch.setattr(StableDiffusionXLPipeline, "from_single_file", lambda path, **options: parts)
    schedule = load_host(tmp_path / "x.safetensors", "cpu", "fp32").schedule
    assert (schedule.prediction_type is PredictionType.V) is ("v_pred" in marks)
    assert (schedule.alphas_cumprod[-1] == 0) == ("ztsnr" in marks)


def test_plain_and_inpainting_checkpoints_are_taken():
    for channels in (4, 9):
        check_tensors({FIRST_CONVOLUTION: (320, channels, 3, 3)}, "x")
