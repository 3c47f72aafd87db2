"""Forge's host on a small stand-in of Forge: it trains, and leaves everything as it was."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import ModelError, SettingError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.forge.embeddings import reload_embeddings, standing_for
from dreamartist_ext.hosts.forge.host import ForgeHost
from dreamartist_ext.hosts.forge.session import without_inference_mode
from dreamartist_ext.hosts.forge.workplace import ForgeWorkplace

from .fake_forge import WIDTH, Embedding, Forge, NeoTextEngine, TextEngine

SETTINGS = {"name": "mycat", "template": "a [name]", "steps": 3, "width": 64, "height": 64, "save_every": 0}


@pytest.fixture
def forge(tmp_path, monkeypatch):
    fake = Forge(tmp_path)
    for name, module in fake.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


@pytest.fixture
def picture(tmp_path):
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def training(picture, **more):
    config = TrainConfig.from_mapping(SETTINGS | more)
    return Training(ForgeHost("Neo"), config, load_pictures([picture], 64, 64))


def tensors(forge):
    parts = forge.data.sd_model.forge_objects_original
    modules = (parts.unet.model, parts.clip.patcher.model, parts.vae.patcher.model)
    return [tensor for m in modules for tensor in m.state_dict(keep_vars=True).values()]


def changeable(forge):
    """What a session puts something else in place of."""
    engine = forge.data.sd_model.text_processing_engine
    places = forge.unet.BasicTransformerBlock.forward, forge.unet.attention_function
    return (*places, forge.vae.attention_function_single_head_spatial, engine.clip_skip, engine.emphasis)


@pytest.mark.parametrize("less_memory", ["off", "on"])
def test_it_learns_from_tensors_of_inference_mode_and_leaves_each_in_its_place(forge, picture, less_memory):
    forge.model()
    before, other = tensors(forge), changeable(forge)
    assert all(tensor.is_inference() for tensor in before)
    run = training(picture, less_memory=less_memory, learning_rate="0.1")
    first = {key: vectors.detach().clone() for key, vectors in run.pair.positive.items()}
    losses = [float(report.loss) for report in run.run()]
    assert len(losses) == 3
    assert all(loss > 0 for loss in losses)
    for half in run.pair.named().values():
        assert half["clip"].detach().abs().sum() > 0
    assert not torch.equal(first["clip"], run.pair.positive["clip"].detach())
    assert all(a is b for a, b in zip(before, tensors(forge), strict=True))
    assert all(tensor.grad is None for tensor in before if not tensor.is_inference() or tensor.requires_grad)
    assert changeable(forge) == other
    assert forge.loaded_in[-1] == (3, True), "the parts are moved in inference mode, as Forge moves them"


def test_everything_is_put_back_after_an_error(forge):
    forge.model()
    before, other, random = tensors(forge), changeable(forge), torch.get_rng_state()
    host = ForgeHost()
    with pytest.raises(RuntimeError, match="inside"), host.session():
        torch.rand(3)
        assert not any(tensor.is_inference() for tensor in tensors(forge))
        assert changeable(forge) != other
        raise RuntimeError("inside")
    assert all(a is b for a, b in zip(before, tensors(forge), strict=True))
    assert changeable(forge) == other
    assert torch.equal(torch.get_rng_state(), random)


def test_a_gradient_is_that_of_finite_differences(forge):
    forge.model()
    host, vectors = ForgeHost(), torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))
    latents, timesteps = torch.ones(1, 4, 8, 8), torch.tensor([500])

    def loss(values):
        with host.bind({"mycat": {"clip": values}}):
            return host.predict(latents, timesteps, host.encode_prompts(["a mycat"])).square().sum()

    with host.session():
        live = vectors.clone().requires_grad_()
        loss(live).backward()
        length = live.grad.norm()
        step = live.grad / length * 1e-2
        with torch.no_grad():
            difference = (loss(vectors + step) - loss(vectors - step)) / 2e-2
    torch.testing.assert_close(length, difference, rtol=2e-2, atol=0)


@pytest.mark.parametrize("engine", [TextEngine, NeoTextEngine])
def test_weights_share_their_memory_and_are_read_with_the_users_clip_skip(forge, engine):
    forge.engine = engine
    model = forge.model()
    host = ForgeHost()
    weight = model.forge_objects_original.unet.model.diffusion_model.first.weight
    with host.session():
        host.encode_prompts(["a cat"])
        inside = model.forge_objects_original.unet.model.diffusion_model.first.weight
        assert inside.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()
        table = model.text_processing_engine.table
        assert table.weight is table.wrapped.weight, "one tensor of two modules is one tensor still"
    engine = model.text_processing_engine
    assert engine.seen == [(2, "EmphasisOriginalNoNorm")]
    assert engine.clip_skip == 1
    assert type(engine.emphasis).__name__ != "EmphasisOriginalNoNorm"


def test_weights_in_eight_bits_are_copies_inside(forge):
    model = forge.model()
    kmodel = model.forge_objects_original.unet.model
    with torch.inference_mode():
        packed = torch.nn.Parameter(kmodel.diffusion_model.last.weight.to(torch.float8_e4m3fn), requires_grad=False)
    kmodel.diffusion_model.last._parameters["weight"] = packed
    with ForgeHost().session():
        assert kmodel.diffusion_model.last.weight.dtype is torch.float32
    assert kmodel.diffusion_model.last.weight is packed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_sd1": False}, "StableDiffusion to Neo"),
        ({"is_sd1": False, "is_sdxl": True, "text_processing_engine_g": 1}, "SDXL refiner"),
        ({"channels": 8}, "instruct-pix2pix"),
        ({"channels": 5}, "5 input channels"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence_that_says_what_to_do(forge, change, words):
    forge.model(**change)
    with pytest.raises(ModelError, match=words) as refused:
        ForgeHost("Neo")
    assert "; choose " in str(refused.value)
    assert str(refused.value).count(". ") == 0


@pytest.mark.parametrize(
    ("kind", "name"), [("StableDiffusion3", "Stable Diffusion 3"), ("Flux", "Flux"), ("Chroma", "Chroma")]
)
def test_other_families_are_called_by_their_names(forge, kind, name):
    model = forge.model(is_sd1=False)
    model.__class__ = type(kind, (type(model),), {})
    with pytest.raises(ModelError, match=f"tiny is {name} to Neo"):
        ForgeHost("Neo")


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("storage_dtype", "nf4", 'Neo keeps tiny in nf4, which has no gradient; set "Diffusion in Low Bits"'),
        ("storage_dtype", "gguf", "in gguf"),
        ("predictor", SimpleNamespace(prediction_type="edm"), "edm"),
        ("predictor", SimpleNamespace(prediction_type="const"), "const"),
    ],
)
def test_how_it_is_kept_or_predicts_can_forbid_it(forge, attribute, value, words):
    kmodel = forge.model().forge_objects_original.unet.model
    kmodel._modules.pop(attribute, None)
    setattr(kmodel, attribute, value)
    with pytest.raises(ModelError, match=words):
        ForgeHost("Neo")


def test_weights_left_outside_of_the_device_are_refused_before_any_work(forge):
    model = forge.model()
    model.forge_objects_original.clip.patcher.load_device = torch.device("cuda")
    before = changeable(forge)
    with pytest.raises(ModelError, match=r'Neo keeps a part of tiny outside of the GPU.*raise "GPU Weights"'):
        ForgeHost("Neo").session().__enter__()
    assert changeable(forge) == before


def test_without_a_checkpoint_and_with_one_that_does_not_load(forge):
    with pytest.raises(ModelError, match="Neo has no checkpoint; choose one"):
        ForgeHost("Neo")
    forge.model()

    def reload():
        raise ValueError("Failed to recognize model type!")

    forge.reload = reload
    with pytest.raises(ModelError, match=r"Neo cannot load tiny .Failed to recognize model type.; choose another"):
        ForgeHost("Neo")


@pytest.mark.parametrize("by", ["mark", "setting"])
def test_zero_terminal_snr_is_what_pictures_are_drawn_with(forge, by):
    model = forge.model()
    plain = ForgeHost().schedule.alphas_cumprod
    model.model_config.ztsnr = by == "mark"
    forge.shared.opts.sd_noise_schedule = "Zero Terminal SNR" if by == "setting" else "Default"
    host = ForgeHost()
    sigmas = ((1 - plain) / plain).sqrt() * 2  # the stand-in's rescaling
    torch.testing.assert_close(host.schedule.alphas_cumprod, 1 / (1 + sigmas**2))
    assert "zero terminal SNR" in host.identity()


def test_initial_vectors_are_rows_of_the_vocabulary(forge):
    model = forge.model()
    host = ForgeHost()
    table, ids = model.text_processing_engine.table.weight, model.text_processing_engine.tokenize(["ab"])[0]
    vectors = host.initial_vectors("ab", 4)["clip"]
    assert torch.equal(vectors, table[[ids[0], ids[0], ids[1], ids[1]]])
    assert not vectors.is_inference()
    with pytest.raises(SettingError, match="at least one word"):
        host.initial_vectors(" ", 2)


def test_a_model_that_was_taken_away_is_said(forge):
    forge.model()
    host = ForgeHost()
    forge.model()
    with pytest.raises(ModelError, match="unloaded or changed"):
        host.encode_prompts(["a"])


def test_memory_is_computed_on_no_device_and_nothing_is_changed(forge):
    forge.model()
    before = changeable(forge)
    kept = ForgeHost().kept_for_backward(2, 8, 8)
    assert min(kept.plain, kept.less) > 0
    assert changeable(forge) == before


def word(name, value=1.0, **more):
    embedding = Embedding(torch.full((1, WIDTH), value), name)
    embedding.vectors, embedding.shape = 1, WIDTH
    for key, given in more.items():
        setattr(embedding, key, given)
    return embedding


def found(forge, text):
    engine = forge.data.sd_model.text_processing_engine
    return [float(fix[1].vec[0, 0]) for fix in engine.process_texts([text])[0][0][0].fixes]


def test_words_of_the_folder_count_at_once_and_caches_are_emptied(forge):
    forge.model()
    forge.files.append(word("mycat"))
    assert found(forge, "mycat") == []
    reload_embeddings()
    assert found(forge, "mycat") == [1.0]
    assert forge.processing.StableDiffusionProcessing.cached_c == [None] * 3, "as many places as before"
    forge.files.clear()
    reload_embeddings()
    assert found(forge, "mycat") == []


def test_a_prompt_finds_its_words_while_the_folder_is_read_again(forge):
    forge.files.append(word("mycat"))
    forge.model()
    database = forge.data.sd_model.text_processing_engine.embeddings
    seen, read = [], type(database).load_textual_inversion_embeddings

    def slowly(fresh):
        seen.append(found(forge, "mycat"))
        read(fresh)
        seen.append(found(forge, "mycat"))

    type(database).load_textual_inversion_embeddings = slowly
    try:
        reload_embeddings()
    finally:
        type(database).load_textual_inversion_embeddings = read
    assert seen == [[1.0], [1.0]]


def test_words_stand_for_other_vectors_while_it_is_open_where_these_fit(forge):
    forge.files.append(word("mycat"))
    forge.model()
    other = {"mycat": {"clip": torch.full((1, WIDTH), 5.0)}, "mydog": {"clip": torch.ones(1, WIDTH + 1)}}
    with pytest.raises(RuntimeError, match="inside"), standing_for(other, {}):
        assert found(forge, "mycat") == [5.0]
        assert found(forge, "mydog") == []
        raise RuntimeError("inside")
    assert found(forge, "mycat") == [1.0]


class TestBeforeTheFirstPicture:
    """Forge has a stand-in for its model then."""

    def test_the_workplace_looks_at_nothing_and_says_what_is_chosen(self, forge):
        place = ForgeWorkplace()
        assert place.model_name() == place.chosen_model() == place.clash("mycat") == ""
        forge.data.forge_loading_parameters = {"checkpoint_info": SimpleNamespace(name_for_extra="tiny", filename="t")}
        with place.glance() as host:
            assert host is None
        assert place.model_name() == "tiny"
        place.learned()
        assert forge.processing.StableDiffusionProcessing.cached_uc == [None] * 3

    def test_a_training_loads_the_chosen_checkpoint(self, forge):
        model = forge.model()
        forge.data.sd_model, forge.reload = SimpleNamespace(), lambda: (model, True)
        assert ForgeWorkplace().host().name == "tiny"


def test_a_glance_is_at_what_the_next_picture_is_drawn_with(forge):
    forge.model()
    place = ForgeWorkplace()
    with place.glance() as host:
        assert host.name == "tiny"
    other = SimpleNamespace(name_for_extra="other", filename="/m/other.safetensors")
    forge.data.forge_loading_parameters = {"checkpoint_info": other}
    with place.glance() as host:
        assert host is None
    assert (place.model_name(), place.chosen_model()) == ("other", "other")


def test_a_name_is_checked_against_the_words_that_prompts_find(forge, tmp_path):
    forge.files += [word("mycat", filename=str(tmp_path / "mycat.pt")), word("dog", filename="/other/dog.pt")]
    forge.model()
    place = ForgeWorkplace()
    assert place.clash("mycat") == "", "our own file"
    assert 'there is an embedding "dog" already' in place.clash("dog")
    assert place.clash("free") == ""
    assert place.is_one_token("a"), "it tokenizes letter by letter"
    assert not place.is_one_token("free")


def test_a_vae_that_computes_in_inference_mode_does_not_in_a_session():
    class Decoder(torch.nn.Module):
        @torch.inference_mode()
        def forward(self, x):
            return x * 2

    part, inputs = torch.nn.Sequential(Decoder()), torch.ones(1, requires_grad=True)
    with without_inference_mode(part):
        part(inputs).sum().backward()
    assert inputs.grad.item() == 2
    assert part(inputs).is_inference()
    assert "forward" not in vars(part[0])
