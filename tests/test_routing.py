"""Heads of the embedded model's U-Net that each look at one part of a code, on tiny networks."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel

from tools.embedded_model import captions, parts, routing
from tools.embedded_model.shapes import make_unet
from tools.embedded_model.student import Codes

WIDTH = 384


def orthonormal(generator: torch.Generator) -> torch.Tensor:
    count = parts.SLOTS * parts.COMPONENTS
    return torch.linalg.qr(torch.randn(WIDTH // 2, count, generator=generator))[0].T


@pytest.fixture
def said() -> parts.Parts:
    generator = torch.Generator().manual_seed(0)
    made = parts.Parts(WIDTH)
    made.components.copy_(torch.randn(made.components.shape, generator=generator))
    made.directions.copy_(orthonormal(generator))
    return made


def test_every_cell_has_a_slot_in_its_part_that_no_other_has():
    assert sorted(parts.CELL[parts.CELL >= 0].tolist()) == list(range(64))
    rows, columns = torch.arange(64) // 8, torch.arange(64) % 8
    for part in range(parts.PARTS):
        inside = parts.CELL[part][parts.CELL[part] >= 0]
        assert rows[inside].max() - rows[inside].min() < 3
        assert columns[inside].max() - columns[inside].min() < 4


def test_a_vector_says_what_is_seen_in_its_part_and_of_no_other(said):
    blank, dotted = torch.zeros(1, 4, 24, 24), torch.zeros(1, 4, 24, 24)
    dotted[..., 1:2, 22:23] = 1  # in the first row of parts, the right one
    apart = (said(dotted) - said(blank))[0].square().sum(-1)
    assert apart.nonzero().flatten().tolist() == [1]
    cell = (said.numbers(dotted) - said.numbers(blank))[0, 1].view(parts.SLOTS, parts.COMPONENTS)
    (slot,) = cell.square().sum(-1).nonzero().flatten().tolist()
    assert parts.CELL[1, slot] == 7
    heard = said(dotted)[0, 1].unflatten(0, (2, -1))
    read = (heard[0] - heard[1]) @ said.directions.T / 2
    torch.testing.assert_close(read, said.numbers(dotted)[0, 1], atol=1e-4, rtol=1e-4)


def test_a_code_says_nothing_of_its_parts_before_heads_are_set(said):
    made = Codes(torch.randn(5, 4, 24, 24), WIDTH, torch.randn(WIDTH))
    before = made.of(made.seen)
    made.parts.load_state_dict(said.state_dict())
    torch.testing.assert_close(made.of(made.seen), before)
    made.parts.heads.fill_(1)
    assert not torch.allclose(made.of(made.seen), before, atol=0.1)


@torch.no_grad()
def test_an_encoder_that_is_kept_clear_says_nothing_where_codes_do(said):
    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=300, **sizes))
    ids = torch.randint(0, 300, (3, 20))

    def in_directions() -> torch.Tensor:
        caught = []
        norm = next(module for name, module in text.named_modules() if name.endswith("final_layer_norm"))
        handle = norm.register_forward_pre_hook(lambda _module, given: caught.append(given[0]))
        text(ids)
        handle.remove()
        return (caught[0] @ parts.in_both(said.directions).T).abs().max()

    assert in_directions() > 1e-2
    parts.keep_clear(text, said.directions)
    assert in_directions() < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("slot", [0, 5, 11])
def test_a_head_looks_from_its_slot_at_the_vector_of_the_part_and_hears_that_cell(said, slot):
    generator = torch.Generator().manual_seed(1)
    attention = Attention(192, WIDTH, heads=6, dim_head=32, processor=AttnProcessor())
    places = torch.randn(64, 192, generator=generator)  # every cell is told from every other
    given = places + 0.05 * torch.randn(20, 64, 192, generator=generator)
    told = torch.linalg.qr(torch.randn(WIDTH, parts.PARTS + 1, generator=generator))[0]  # of each vector, and the first
    told = parts.without(told.T, said.directions).T
    routing._set_head(attention, 2, slot, given, told, said, spread=2.0)
    # the first token, and each vector, as keys tell them
    tokens = torch.linalg.pinv(told)[[parts.PARTS, *range(parts.PARTS)]]
    tokens[1:] += said(torch.randn(1, 4, 24, 24, generator=generator))[0]
    query, key, value = attention.to_q(given[:1]), attention.to_k(tokens[None]), attention.to_v(tokens[None])
    scores = attention.get_attention_scores(*(attention.head_to_batch_dim(x) for x in (query, key)))[2]
    inside = slot == parts.SLOT
    assert (scores.argmax(-1)[inside] == parts.PART[inside] + 1).all()
    assert (scores.argmax(-1)[~inside] == 0).all()
    assert scores[inside].max(-1).values.min() > 0.9
    heard = value[0, 1:].unflatten(-1, (6, 32))[:, 2, : parts.COMPONENTS]
    of_slot = slice(parts.COMPONENTS * slot, parts.COMPONENTS * (slot + 1))
    there = tokens[1:].unflatten(-1, (2, -1))
    expected = ((there[:, 0] - there[:, 1]) @ said.directions.T)[:, of_slot] * routing.VALUE / 2
    torch.testing.assert_close(heard, expected, atol=1e-3, rtol=1e-3)


def test_looking_right_costs_nothing_and_looking_elsewhere_does():
    heads = [[0, 1, 2]] * len(parts.BLOCKS)
    looking = parts.Looking(make_unet((32, 192)), heads)
    ids = torch.zeros(2, 9, dtype=torch.long)
    stands, which = torch.full((2, 9), -1), torch.zeros(2, 9, dtype=torch.long)
    stands[0, 2:8], which[0, 2:8] = 0, torch.arange(6)  # the second caption has no code
    read = captions.Said(ids, stands, which, torch.tensor([0]))
    right = torch.zeros(2, 6, 64, 9)
    for block, name in enumerate(parts.BLOCKS):
        scores = right.clone()
        for number in range(parts.TAKEN):
            inside = parts.TAKEN * block + number == parts.SLOT
            scores[0, number, torch.arange(64), torch.where(inside, 2 + parts.PART, 0)] = 1
            scores[1, number, :, 0] = 1
        looking.scores[name] = scores.flatten(0, 1)
    assert looking.loss(read) == 0
    name = parts.BLOCKS[0]
    looking.scores[name] = looking.scores[name].roll(1, -1)
    assert looking.loss(read) > 1
