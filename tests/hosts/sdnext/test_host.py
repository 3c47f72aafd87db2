"""SD.Next's host on tiny models of every family: the standalone host's arithmetic on a pipeline that stays as it is."""

from __future__ import annotations

import copy
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer
from torch.nn.functional import scaled_dot_product_attention

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.sdnext.host import SDNextHost
from dreamartist_ext.hosts.sdnext.model import parts_of
from tests.family_models import FAMILIES, components
from tests.webui.test_page import PICTURE

from .fake_sdnext import pipeline_of, running

SETTINGS = {
    "name": "zyx",
    "initialization_text": "a cat",
    "template": "a [name]",
    "width": 64,
    "height": 64,
    "steps": 3,
}


def losses(host):
    run = Training(host, TrainConfig.from_mapping(SETTINGS), load_pictures([PICTURE], 64, 64))
    return [float(report.loss) for report in run.run()]


def state(pipeline):
    parts = [p for p in vars(pipeline).values() if isinstance(p, torch.nn.Module)]
    return {
        "tensors": [(id(t), t._version, t.dtype, t.requires_grad) for part in parts for t in part.parameters()],
        "modes": [m.training for part in parts for m in part.modules()],
        "attention": [id(each) for each in pipeline.unet.attn_processors.values()],
        "function": torch.nn.functional.scaled_dot_product_attention,
        "random": torch.get_rng_state().tolist(),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_training_is_the_standalone_hosts_and_leaves_the_model_as_it_was(monkeypatch, tmp_path, family):
    parts = components(tmp_path, family)
    alone = losses(DiffusersHost(copy.deepcopy(parts), torch.device("cpu"), torch.float32))
    pipeline = pipeline_of(parts)
    with running(monkeypatch, pipeline, diffusers_zeros_prompt_pad=True) as sdnext:
        pipeline.has_accelerate = True
        before = state(pipeline)
        assert losses(SDNextHost()) == pytest.approx(alone, rel=1e-5)
        assert state(pipeline) == before
        assert sdnext.told == ["off", "moved", "on"]


def test_offloading_is_put_back_after_an_error_too(monkeypatch, tmp_path):
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    with running(monkeypatch, pipeline) as sdnext:
        pipeline.has_accelerate = True
        before = state(pipeline)
        host = SDNextHost()
        with pytest.raises(RuntimeError, match="inside"), host.session():
            assert torch.nn.functional.scaled_dot_product_attention is scaled_dot_product_attention
            torch.randn(1)
            raise RuntimeError("inside")
        assert sdnext.told[-1] == "on"
        assert state(pipeline) == before


def test_a_model_without_offloading_stays_without(monkeypatch, tmp_path):
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    with running(monkeypatch, pipeline) as sdnext:
        with SDNextHost().session():
            pass
        assert "on" not in sdnext.told


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_to_the_bit_and_trains(monkeypatch, tmp_path, kind):
    parts = components(tmp_path, "sd1")
    modules = (parts.unet, parts.vae, parts.text_encoder)
    for module in modules:
        module.to(kind)
    before = [tensor.clone() for module in modules for tensor in module.parameters()]
    with running(monkeypatch, pipeline_of(parts)):
        host = SDNextHost()
        assert host.precision is kind
        assert all(torch.isfinite(torch.tensor(losses(host))))
    after = [tensor for module in modules for tensor in module.parameters()]
    assert all(a.dtype is kind and torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_free_u_of_the_last_picture_is_not_in_a_training(monkeypatch, tmp_path):
    parts = components(tmp_path, "sd1")
    alone = losses(DiffusersHost(copy.deepcopy(parts), torch.device("cpu"), torch.float32))
    numbers = {"s1": 0.2, "s2": 0.2, "b1": 1.6, "b2": 1.6}
    for block in parts.unet.up_blocks:
        vars(block).update(numbers)
    with running(monkeypatch, pipeline_of(parts)):
        assert losses(SDNextHost()) == pytest.approx(alone, rel=1e-5)
    assert all(vars(block).items() >= numbers.items() for block in parts.unet.up_blocks)


def test_a_learned_word_in_a_caption_stands_for_all_of_its_vectors(monkeypatch, tmp_path):
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    names = ["dog2", "dog2_1", "dog2_2"]
    pipeline.tokenizer.add_tokens(names)
    pipeline.text_encoder.resize_token_embeddings(len(pipeline.tokenizer))
    pipeline.embedding_db.word_embeddings["dog2"] = SimpleNamespace(tokens=names)
    with running(monkeypatch, pipeline):
        host = SDNextHost()
        assert host.token_ids("dog2") != pipeline.tokenizer.convert_tokens_to_ids(names)
        assert host._ids(host.encoders[0], "dog2") == pipeline.tokenizer.convert_tokens_to_ids(names)


def test_a_word_is_found_when_its_id_has_changed_since_the_training_began(monkeypatch, tmp_path):
    """Another one was deleted, or written, meanwhile: the tokens have other numbers than before."""
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    pipeline.tokenizer.add_tokens(["zyx"])
    with running(monkeypatch, pipeline):
        host = SDNextHost()
        vectors = {"zyx": {"clip": torch.zeros(2, 32)}}
        with host.bind(vectors):
            host.encode_prompts(["a zyx"])
            without = json.loads(pipeline.tokenizer.backend_tokenizer.to_str())
            without["added_tokens"] = [each for each in without["added_tokens"] if each["content"] != "zyx"]
            pipeline.tokenizer._tokenizer = Tokenizer.from_str(json.dumps(without))
            pipeline.tokenizer.add_tokens(["dog2", "zyx"])
            (chunk,) = host._chunks(["a big zyx"], host.encoders[0])[0]
            assert [name for _, name in chunk.places] == ["zyx"]


def test_all_parts_are_moved_when_the_first_is_there_already(monkeypatch, tmp_path):
    """As after a picture in the mode "balanced": SD.Next's own look is only at the pipeline's first part."""
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    pipeline.device = torch.device("cpu")
    with running(monkeypatch, pipeline) as sdnext, SDNextHost().session():
        assert sdnext.told == ["off", "moved"]


def test_offloading_is_put_back_when_taking_it_off_fails(monkeypatch, tmp_path):
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    with running(monkeypatch, pipeline) as sdnext:
        pipeline.has_accelerate = True
        host = SDNextHost()
        monkeypatch.setattr(sys.modules["modules.sd_models"], "disable_offload", lambda model: 1 / 0)
        with pytest.raises(ZeroDivisionError), host.session():
            pass
        assert sdnext.told == ["on"]


def test_the_mean_norm_is_the_vocabularys(monkeypatch, tmp_path):
    parts = components(tmp_path, "sd1")
    alone = DiffusersHost(copy.deepcopy(parts), torch.device("cpu"), torch.float32).mean_norms()
    parts.tokenizer.add_tokens(["dog2"])
    parts.text_encoder.resize_token_embeddings(len(parts.tokenizer))
    parts.text_encoder.get_input_embeddings().weight.data[-1] = 100.0
    with running(monkeypatch, pipeline_of(parts)):
        assert SDNextHost().mean_norms() == pytest.approx(alone)


def test_a_model_that_is_taken_away_is_one_sentence(monkeypatch, tmp_path):
    with running(monkeypatch, pipeline_of(components(tmp_path, "sd1"))) as sdnext:
        host = SDNextHost()
        sdnext.data.sd_model = None
        with pytest.raises(ModelError, match="unloaded or changed"):
            losses(host)


def test_parts_that_sdnext_compiles_are_trained_as_they_were(monkeypatch, tmp_path):
    """A compiled text encoder would run past the hook that puts the vectors in."""
    parts = components(tmp_path, "sdxl")
    pipeline = pipeline_of(parts)
    names = ("unet", "vae", "text_encoder", "text_encoder_2")
    for name in names:
        setattr(pipeline, name, torch.compile(getattr(pipeline, name)))
    with running(monkeypatch, pipeline):
        found = SDNextHost().parts
    assert all(getattr(found, name) is getattr(parts, name) for name in names)


def refusal(monkeypatch, pipeline, **options):
    with running(monkeypatch, pipeline, **options), pytest.raises(ModelError) as refused:
        SDNextHost()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_cannot_be_trained_is_one_sentence(monkeypatch, tmp_path):
    def pipeline():
        return pipeline_of(components(tmp_path, "sd1"))

    assert refusal(monkeypatch, None).startswith("SD.Next has no checkpoint loaded")
    other = pipeline()
    other.unet = torch.nn.Linear(1, 1)
    assert "tiny is loaded as StableDiffusionPipeline, and only" in refusal(monkeypatch, other)
    refiner = pipeline_of(components(tmp_path, "sdxl"))
    refiner.text_encoder = None
    assert "tiny is an SDXL refiner" in refusal(monkeypatch, refiner)
    packed = pipeline()
    packed.unet.conv_in.weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False)
    assert "SD.Next keeps tiny quantised (Conv2d)" in refusal(monkeypatch, packed)
    flow = refusal(monkeypatch, pipeline(), schedulers_prediction_type="flow_prediction")
    assert "tiny predicts flow_prediction" in flow
    assert 'in the mode "group"' in refusal(monkeypatch, pipeline(), diffusers_offload_mode="group")
    lora = pipeline()
    lora.unet.conv_in.network_current_names = ("strong",)
    assert "LoRA is still in tiny" in refusal(monkeypatch, lora)
    adapter = pipeline()
    adapter.unet.encoder_hid_proj = torch.nn.Linear(1, 1)
    assert "IP adapter is still in tiny" in refusal(monkeypatch, adapter)


def test_the_schedule_is_the_models_own_with_what_the_settings_say(monkeypatch, tmp_path):
    pipeline = pipeline_of(components(tmp_path, "sd1"))
    with running(monkeypatch, pipeline):
        assert parts_of(pipeline).scheduler.config.prediction_type == "epsilon", "the last sampler says sample"
    with running(monkeypatch, pipeline, schedulers_prediction_type="v_prediction", schedulers_rescale_betas=True):
        scheduler = parts_of(pipeline).scheduler
        assert scheduler.config.prediction_type == "v_prediction"
        assert scheduler.alphas_cumprod[-1] == pytest.approx(0.0, abs=1e-6)
