"""Both branches of a batch come out of one pass of the text encoder, with the gradients of prompts encoded alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.host import Cond
from dreamartist_ext.engine.objective import noise_loss
from dreamartist_ext.engine.passes import conditioning
from dreamartist_ext.engine.pictures import TrainingPicture
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, load_host

from ...family_models import host as family_host

LONG = "a cat, " * 40  # does not fit into one chunk of 75 tokens
FAMILIES = ("sd1", "sd2", "sdxl")
BATCHES = {
    "different": (["a mycat", "mycat", "b c mycat"], ["mycat-neg", "a mycat-neg", "b mycat-neg"]),
    "repeated": (["a mycat", "mycat", "a mycat"], ["mycat-neg"] * 3),
    "long positives": ([LONG + "mycat", "mycat a" + LONG], ["mycat-neg", "mycat-neg"]),
    "long negative": (["a mycat"], [LONG + "mycat-neg"]),
}


@contextmanager
def rows_of_passes(host: DiffusersHost) -> Iterator[list[list[int]]]:
    """Of each text encoder, how many chunks each of its passes inside has."""
    rows: list[list[int]] = [[] for _ in host.encoders]
    hooks = [
        encoder.model.get_input_embeddings().register_forward_pre_hook(lambda _, ids, own=own: own.append(len(ids[0])))
        for encoder, own in zip(host.encoders, rows, strict=True)
    ]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


def training(host: DiffusersHost, side: int = 64, **values) -> Training:
    pixels = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    settings = {"name": "mycat", "steps": 3, "initialization_text": "cat", **values}
    return Training(host, TrainConfig(**settings), [TrainingPicture(pixels, None, "", "p.png")])


def gradients(host: DiffusersHost, pair: Training, size: int, ways: list[tuple[list[int], Cond]]) -> list[torch.Tensor]:
    """Of the loss of `size` samples, computed from the conditionings of some of them at a time."""
    generator = torch.Generator().manual_seed(3)
    latents, noise = (torch.randn(size, 4, 8, 8, generator=generator) for _ in range(2))
    timesteps = torch.tensor([100, 500, 900])[:size]
    losses = [noise_loss(host, latents[i], noise[i], timesteps[i], cond, 3.0).sum() for i, cond in ways]
    vectors = [v for half in pair.pair.named().values() for v in half.values()]
    return list(torch.autograd.grad(torch.stack(losses).sum(), vectors))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", BATCHES)
def test_the_gradients_are_those_of_every_prompt_encoded_alone(tmp_path, family, batch):
    host = family_host(tmp_path, family)
    prompts, negatives = BATCHES[batch]
    pair, size = training(host), len(prompts)
    with host.session(), host.bind(pair.pair.named()):
        at_once = gradients(host, pair, size, [(list(range(size)), conditioning(host, prompts, negatives))])
        alone = [
            ([i], host.join(host.encode_prompts([negatives[i]]), host.encode_prompts([prompts[i]])))
            for i in range(size)
        ]
        for ours, theirs in zip(at_once, gradients(host, pair, size, alone), strict=True):
            assert theirs.abs().max() > 0
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"use_negative": False},
        {"batch_size": 4, "template": "a [name]|b [name]|[name]", "negative_template": "[name]|a [name]"},
        {"template": LONG + "[name]", "negative_template": "[name]"},
        {"less_memory": "on", "reconstruction": 1.0},
    ],
    ids=lambda values: "-".join(values) or "defaults",
)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_has_one_pass_of_each_text_encoder(tmp_path, family, values):
    host = family_host(tmp_path, family)
    with rows_of_passes(host) as passes:
        list(training(host, **values).run())
    assert [len(rows) for rows in passes] == [3] * len(host.encoders)


def test_equal_chunks_are_encoded_once(tmp_path):
    """Three short negatives beside a long positive are filled with one empty chunk."""
    host = family_host(tmp_path, "sdxl")
    with torch.no_grad(), rows_of_passes(host) as passes:
        cond = conditioning(host, [LONG, LONG, "b"], ["c", "d", "b"])
    assert passes == [[4 + len(host.encode_prompts([LONG])["crossattn"][0]) // 77]] * 2
    assert torch.equal(cond["crossattn"][3], cond["crossattn"][4])
    assert torch.equal(cond["vector"][2], cond["vector"][5])
    assert torch.equal(cond["crossattn"][0, 77:154], cond["crossattn"][5, 77:154])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_on_the_embedded_model_a_training_is_that_of_two_passes(batch_size):
    host = load_host(EMBEDDED_MODEL, "cpu", "fp32")
    ours, theirs = (training(host, 128, batch_size=batch_size) for _ in range(2))
    list(ours.run())
    encode = host.encode_prompts

    def in_two(prompts):
        half = len(prompts) // 2
        return host.join(encode(prompts[:half]), encode(prompts[half:]))

    host.encode_prompts = in_two
    list(theirs.run())
    for word, half in ours.pair.named().items():
        torch.testing.assert_close(half["clip"], theirs.pair.named()[word]["clip"], rtol=1e-4, atol=1e-5)
