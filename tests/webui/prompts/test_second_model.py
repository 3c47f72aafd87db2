"""The hook where a second checkpoint takes over, against the methods of `p` that the WebUI calls then."""

from __future__ import annotations

import copy
import sys
import types
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from dreamartist_ext.webui.prompts.second_model import fits, watch

FIRST, SECOND = types.SimpleNamespace(name="first"), types.SimpleNamespace(name="second")


@dataclass
class Request:
    """AUTOMATIC1111 v1.10.1, 82a973c0: modules/processing.py and apply_refiner, as far as prompts go."""

    refiner_checkpoint_info: object = None
    negative_prompts: list = field(default_factory=lambda: ["x, cat-neg"])
    seen: list = field(default_factory=list)

    def setup_conds(self):
        self.seen.append(list(self.negative_prompts))


@dataclass
class HiresRequest(Request):
    hr_checkpoint_info: object = None
    hr_c: object = None
    hr_negative_prompts: list = field(default_factory=lambda: ["x"])

    def calculate_hr_conds(self):
        self.seen.append(list(self.hr_negative_prompts))


@dataclass
class Put:
    """What the hook did; only the first model knows it."""

    calls: int = 0

    def unreadable(self):
        return (
            {"negative_prompts": ["x"]} if sys.modules["modules"].shared.sd_model.sd_checkpoint_info is SECOND else {}
        )

    def complete_hires(self, p):
        self.calls += 1
        p.hr_negative_prompts = ["x, dog-neg"]


@pytest.fixture
def load(monkeypatch):
    def loaded(checkpoint):
        model = types.SimpleNamespace(sd_checkpoint_info=checkpoint)
        monkeypatch.setitem(sys.modules, "modules", types.SimpleNamespace(shared=types.SimpleNamespace(sd_model=model)))

    loaded(FIRST)
    return loaded


def test_a_refiner_that_cannot_read_what_was_put_in_sees_what_was_typed(load):
    p = Request(refiner_checkpoint_info=SECOND)
    watch(p, Put())
    p.setup_conds()
    load(SECOND)
    p.setup_conds()
    load(FIRST)
    p.setup_conds()
    assert p.seen == [["x, cat-neg"], ["x"], ["x, cat-neg"]]
    assert p.negative_prompts == ["x, cat-neg"], "what the infotext is made of"


def test_what_was_put_in_is_back_after_an_error(load):
    p = Request(refiner_checkpoint_info=SECOND, seen=None)
    watch(p, Put())
    load(SECOND)
    with pytest.raises(AttributeError):
        p.setup_conds()
    assert p.negative_prompts == ["x, cat-neg"]


def test_a_copy_is_watched_for_itself(load):
    p = Request(refiner_checkpoint_info=SECOND)
    watch(p, Put())
    other = copy.copy(p)
    other.seen = []
    load(SECOND)
    other.setup_conds()
    assert (p.seen, other.seen) == ([], [["x"]])


def test_the_hires_pass_is_completed_when_its_checkpoint_is_there(load):
    p, put = HiresRequest(hr_checkpoint_info=SECOND), Put()
    watch(p, put)
    p.calculate_hr_conds()  # of the first model: not yet
    assert put.calls == 0
    load(SECOND)
    p.calculate_hr_conds()
    p.hr_c = "known"
    p.calculate_hr_conds()
    assert put.calls == 1
    assert p.seen == [["x"], ["x, dog-neg"], ["x, dog-neg"]]


def test_a_request_for_one_model_is_not_touched(load):
    p = HiresRequest()
    watch(p, Put())
    assert type(p) is HiresRequest
    assert vars(p) == vars(HiresRequest())


def test_a_request_that_is_used_again_without_the_hook_is_as_typed(load):
    p = HiresRequest(hr_checkpoint_info=SECOND)
    watch(p, Put())
    watch(p, None)
    load(SECOND)
    p.calculate_hr_conds()
    p.setup_conds()
    assert p.seen == [["x"], ["x, cat-neg"]], "nothing more is put in or taken out"
    assert type(p).__name__ == "HiresRequest"
    assert isinstance(p, HiresRequest)


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.tokens = nn.Embedding(9, width)

    def encode_embedding_init_text(self, text, count):
        return torch.zeros(count, self.tokens.embedding_dim)


@pytest.mark.parametrize(
    ("widths", "names", "expected"),
    [
        ([3, 4], ["xl"], True),
        ([4], ["xl"], False),  # a refiner taken from memory, with the words of the model before
        ([4], ["g"], True),
        ([4], ["g", "xl"], False),
        ([4], ["unknown"], False),
        ([4], [], True),
    ],
)
def test_a_word_is_read_by_a_model_that_knows_it_and_has_its_width(widths, names, expected):
    loaded = {"xl": types.SimpleNamespace(shape=7), "g": types.SimpleNamespace(shape=4)}
    parts = [Encoder(width) for width in widths]
    encoder = parts[0] if len(parts) == 1 else types.SimpleNamespace(embedders=[*parts, nn.Linear(1, 1)])
    assert fits(loaded, names, types.SimpleNamespace(cond_stage_model=encoder)) is expected


def test_where_no_width_can_be_told_the_name_decides():
    assert fits(["a"], ["a"], types.SimpleNamespace())
    assert not fits(["a"], ["b"], types.SimpleNamespace())
