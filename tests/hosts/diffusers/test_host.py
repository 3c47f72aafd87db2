"""The standalone host: what the engine's protocol promises, on a real architecture with random weights."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import FileError, ModelError, SettingError
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.hosts.diffusers.generation import with_learned_words
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import load_host
from dreamartist_ext.hosts.diffusers.prompt_tokens import Chunk, Word, Words, chunks_of, padded
from dreamartist_ext.hosts.families import ENCODER
from testbed.model_folder import save_folder

from ...models import TEXT_WIDTH, tiny_components, tiny_host


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> DiffusersHost:
    return tiny_host(tmp_path_factory.mktemp("tiny"))


def vectors(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return {ENCODER: torch.randn(count, TEXT_WIDTH, generator=torch.Generator().manual_seed(seed)) / 8}


def picture() -> TrainingPicture:
    pixels = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return TrainingPicture(pixels, None, "", "p.png")


def parameters(host: DiffusersHost) -> list[torch.nn.Parameter]:
    return [p for m in (host.parts.unet, host.parts.vae, host.parts.text_encoder) for p in m.parameters()]


def test_training_leaves_no_gradient_and_no_changed_flag_or_weight(host):
    parameters(host)[0].requires_grad_(False)
    host.parts.vae.train()
    before = [(p.requires_grad, p.detach().clone()) for p in parameters(host)]
    modes = [m.training for m in host.parts.vae.modules()]
    conditioning = host.encode_prompts(["mycat"])
    training = Training(host, TrainConfig(name="mycat", steps=50), [picture()])
    with closing(training.run()) as reports:
        next(reports)
        assert not any(p.requires_grad for p in parameters(host))
        assert not host.parts.vae.training
        next(reports)
    assert all(p.grad is None for p in parameters(host))
    assert all(
        p.requires_grad == flag and torch.equal(p, weight)
        for p, (flag, weight) in zip(parameters(host), before, strict=True)
    )
    assert [m.training for m in host.parts.vae.modules()] == modes
    assert host.encode_prompts(["mycat"]).equal(conditioning)


def test_both_sides_get_gradients_through_the_real_encoder(host):
    training = Training(host, TrainConfig(name="mycat", steps=1, batch_size=2), [picture()])
    start = training.pair.detached()
    list(training.run())
    for half, before in ((training.pair.positive, start.positive), (training.pair.negative, start.negative)):
        assert (half[ENCODER].detach() - before[ENCODER]).abs().min() > 0


def test_vectors_equal_to_a_words_own_give_the_words_conditioning(host):
    own = {ENCODER: host.parts.text_encoder.get_input_embeddings().weight[host.token_ids("cat")].detach()}
    with host.bind({"myword": own}):
        torch.testing.assert_close(host.encode_prompts(["a myword sat"]), host.encode_prompts(["a cat sat"]))


def test_several_vectors_take_several_places(host):
    rows = host.parts.text_encoder.get_input_embeddings().weight[host.token_ids("cat cat a")].detach()
    with host.bind({"myword": {ENCODER: rows}}):
        torch.testing.assert_close(host.encode_prompts(["x myword y"]), host.encode_prompts(["x cat cat a y"]))


def test_the_longer_of_two_names_wins(host):
    with host.bind({"foo": vectors(1, 1), "foo-neg": vectors(1, 2)}):
        foo, negative = host.encode_prompts(["foo", "foo-neg"])
    with host.bind({"foo-neg": vectors(1, 2)}):
        torch.testing.assert_close(host.encode_prompts(["foo-neg"])[0], negative)
    assert not torch.allclose(foo, negative)


def test_equal_prompts_are_encoded_once_and_come_back_in_order(host):
    rows = []
    hook = host.parts.text_encoder.register_forward_hook(
        lambda module, args, kwargs, output: rows.append(len((args or tuple(kwargs.values()))[0])), with_kwargs=True
    )
    cond = host.encode_prompts(["a", "b", "a"])
    hook.remove()
    assert rows == [2]
    assert torch.equal(cond[0], cond[2])
    assert not torch.equal(cond[0], cond[1])


def test_unequal_lengths_are_filled_with_empty_chunks(host):
    short, long = host.encode_prompts(["a"]), host.encode_prompts(["b " * 100])
    assert (short.shape[1], long.shape[1]) == (77, 154)
    joined = host.join(short, long)
    assert joined.shape == (2, 154, TEXT_WIDTH)
    torch.testing.assert_close(joined[:1, 77:], host.encode_prompts([""]))
    torch.testing.assert_close(host.join(long, short)[1:], joined[:1])


def test_chunks_never_cut_an_embedding():
    word = Word("w", (7, 8), 10)
    first, second = chunks_of([1] * 70 + [7, 8, 2], Words.of([word]))
    assert (len(first.ids), first.places) == (70, [])
    assert (second.ids, second.places) == ([0] * 10 + [2], [(0, "w")])
    assert chunks_of([], Words.of([word])) == [Chunk()]
    assert padded(Chunk([5]), 1, 2, 3) == [1, 5, 2] + [3] * 74


def test_initial_vectors_spread_the_words_over_the_count(host):
    rows = host.parts.text_encoder.get_input_embeddings().weight[host.token_ids("cat a")].detach()
    torch.testing.assert_close(host.initial_vectors("cat a", 4)[ENCODER], rows[[0, 0, 1, 1]])
    with pytest.raises(SettingError, match="at least one word"):
        host.initial_vectors(" ", 2)


def test_a_picture_is_the_one_that_diffusers_own_pipeline_draws(host):
    """A second implementation of prompt, guidance and DDIM, given the same noise."""
    parts = host.parts
    pipeline = StableDiffusionPipeline(
        parts.vae,
        parts.text_encoder,
        parts.tokenizer,
        parts.unet,
        parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(5))[None]
    theirs = pipeline(
        "a cat",
        negative_prompt="dog",
        latents=noise,
        num_inference_steps=5,
        guidance_scale=4.0,
        output_type="pil",
        width=64,
        height=64,
    ).images[0]
    ours = host.generate(["a cat"], ["dog"], [5], steps=5, guidance_scale=4.0)[0]
    a, b = (torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).int() for image in (ours, theirs))
    assert (a - b).abs().max() <= 1


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_schedule_comes_from_the_model(tmp_path, prediction_type):
    made = tiny_host(tmp_path, prediction_type)
    assert made.schedule.prediction_type.value == prediction_type
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    torch.testing.assert_close(made.schedule.alphas_cumprod, torch.cumprod(1 - betas, 0))


def test_a_folder_is_loaded_with_the_same_predictions(tmp_path, host):
    loaded = load_host(save_folder(tiny_components(tmp_path), tmp_path / "m"), "cpu", "fp32")
    noisy, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([3, 700])
    with torch.no_grad():
        cond = host.encode_prompts(["a", "cat"])
        torch.testing.assert_close(loaded.encode_prompts(["a", "cat"]), cond)
        torch.testing.assert_close(loaded.predict(noisy, timesteps, cond), host.predict(noisy, timesteps, cond))


@pytest.mark.parametrize("broken", ["unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json"])
def test_an_incomplete_folder_is_refused_in_one_sentence(tmp_path, broken):
    folder = save_folder(tiny_components(tmp_path), tmp_path / "m")
    (folder / broken).write_bytes(b"{}" if broken.endswith("json") else b"x")
    with pytest.raises(ModelError) as refused:
        load_host(folder, "cpu", "fp32")
    assert "\n" not in str(refused.value)
    assert "m " in str(refused.value)


def test_a_model_that_lacks_a_tensor_is_refused_not_filled_with_noise(tmp_path):
    folder = save_folder(tiny_components(tmp_path), tmp_path / "m")
    for part in ("text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"):
        path = folder / f"{part}.safetensors"
        whole = {key: t.clone() for key, t in load_file(path).items()}  # not the file mapped into memory
        name = sorted(name for name in whole if name.endswith("weight"))[3]
        save_file({key: t for key, t in whole.items() if key != name}, path, {"format": "pt"})
        with pytest.raises(ModelError, match=f"its {part.split('/')[0]} lacks"):
            load_host(folder, "cpu", "fp32")
        save_file(whole, path, {"format": "pt"})
    load_host(folder, "cpu", "fp32")


def test_latents_are_the_posteriors_mean_times_the_scaling_factor(host):
    pixels = picture().pixels[None]
    with torch.no_grad():
        moments = host.parts.vae.quant_conv(host.parts.vae.encoder(pixels))
    torch.testing.assert_close(host.encode_images(pixels), moments[:, :4] * 0.18215)
    torch.testing.assert_close(
        host.decode_latents(moments[:, :4] * 0.18215), host.parts.vae.decode(moments[:, :4]).sample
    )


def test_another_model_has_another_identity(tmp_path, host):
    assert tiny_host(tmp_path / "same").identity() == host.identity()
    other = tiny_host(tmp_path / "other")
    next(other.parts.unet.parameters()).data[0] += 1
    assert other.identity() != host.identity()


def test_files_that_a_prompt_does_not_name_do_not_matter(tmp_path, host):
    (tmp_path / "a.pt").mkdir()
    for name in ("at.pt", " .pt", "c.safetensors", "x.txt"):
        (tmp_path / name).write_bytes(b"junk")
    assert with_learned_words(host, tmp_path, "mycat", "").embeddings == {}
    with pytest.raises(FileError, match=r"at\.pt"):
        with_learned_words(host, tmp_path, "look at it", "")


def test_an_embedding_of_another_width_is_refused(tmp_path, host):
    from dreamartist_ext.engine.embedding import EmbeddingPair
    from dreamartist_ext.files.storage import save_pair

    save_pair(EmbeddingPair("big", {"clip": torch.zeros(2, 768)}), tmp_path)
    with pytest.raises(ModelError, match="it is for Stable Diffusion 1, and tiny is a model with vectors 32 wide"):
        with_learned_words(host, tmp_path, "a big cat", "")
    assert with_learned_words(host, tmp_path, "a cat", "").embeddings == {}


def test_generate_finds_the_negative_under_any_name(tmp_path, host):
    from dreamartist_ext.engine.embedding import EmbeddingPair
    from dreamartist_ext.files.storage import save_pair

    halves = [{"clip": torch.full((rows, 32), 0.5)} for rows in (1, 2)]
    for path, name in zip(save_pair(EmbeddingPair("cat", *halves), tmp_path), ("hound", "foo"), strict=True):
        path.rename(path.with_stem(name))
    words = with_learned_words(host, tmp_path, "a hound", "blurry")
    assert (words.negative_prompt, words.added) == ("blurry, foo", ("foo",))
    assert {name: len(vectors["clip"]) for name, vectors in words.embeddings.items()} == {"hound": 1, "foo": 2}
    assert with_learned_words(host, tmp_path, "a hound", "foo").added == ()
    assert with_learned_words(host, tmp_path, "foo", "").added == ()


def test_mean_norms_are_those_of_the_vocabulary(tmp_path):
    host = tiny_host(tmp_path)
    table = host.parts.text_encoder.get_input_embeddings().weight.detach()
    assert host.mean_norms() == {"clip": pytest.approx(float((table**2).sum(1).sqrt().mean()), rel=1e-5)}


def test_the_longest_word_is_found_and_of_equal_ones_the_first():
    words = Words.of([Word("a", (1,), 1), Word("ab", (1, 2), 2), Word("again", (1, 2), 3), Word("nothing", (), 1)])
    (chunk,) = chunks_of([1, 2, 1, 3, 1], words)
    assert chunk.places == [(0, "ab"), (2, "a"), (4, "a")]
    assert chunk.ids == [0, 0, 0, 3, 0]
