"""Less memory: each block is computed twice in a step; the numbers stay."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from dreamartist_ext.hosts.checkpointing import BLOCKS, checkpointed

from ..models import TEXT_WIDTH, tiny_unet

LATENTS, TIMESTEPS = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])


@pytest.fixture
def unet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return tiny_unet().eval().requires_grad_(False)


def gradient(unet):
    """Of one pass, with respect to the conditioning."""
    states = torch.ones(1, 77, TEXT_WIDTH, requires_grad=True)
    unet(LATENTS, TIMESTEPS, states).sample.square().mean().backward()
    return states.grad


def counted(unet):
    """How often each block has been computed, by its name, in the order in which they came first."""
    counts = Counter()
    for name, block in unet.named_modules():
        if type(block).__name__ in BLOCKS:
            first = next(part for part in block.modules() if not list(part.children()))
            first.register_forward_pre_hook(lambda *_, name=name: counts.update([name]))
    return counts


def test_every_block_with_a_gradient_is_computed_twice(unet):
    counts = counted(unet)
    gradient(unet)
    once = list(counts)
    counts.clear()
    with checkpointed(unet):
        gradient(unet)
    without_gradient = [name for name in once if name.startswith("down_blocks.0.resnets.0")]
    assert [name for name in once if counts[name] == 1] == without_gradient
    assert {counts[name] for name in once} == {1, 2}


def test_the_gradient_is_the_same_in_the_first_step_and_after_it(unet):
    plain = gradient(unet)
    with checkpointed(unet):
        assert torch.equal(gradient(unet), plain)
        with torch.no_grad():
            unet(LATENTS, TIMESTEPS, torch.ones(1, 77, TEXT_WIDTH))
        assert torch.equal(gradient(unet), plain)
    assert not any("forward" in vars(module) for module in unet.modules())
