"""What the tab says of memory before the click: by the same shapes and the same choice as the training."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import ModelError
from dreamartist_ext.engine.host import Kept
from dreamartist_ext.engine.memory import is_less
from dreamartist_ext.webui.training.memory_hint import MemoryHints

GB = 10**9
PLACES = 128 * 128


class LargeHost:
    """SDXL's figures: 10.3 GB for both branches at 1024x1024, or 1.2 with less memory."""

    name, picture_size, latent_factor = "large", 1024, 8

    def __init__(self, free):
        self.free, self.asked = free, 0

    def free_memory(self):
        return self.free

    def kept_for_backward(self, batch, height, width):
        self.asked += 1
        share = batch * height * width / PLACES
        return Kept(int(5.15 * GB * share), int(0.6 * GB * share))


class Place:
    def __init__(self, host):
        self.defaults, self.model, self.turn = {}, host, threading.Lock()

    @contextmanager
    def glance(self):
        if self.turn.locked():
            yield None
            return
        if isinstance(self.model, Exception):
            raise self.model
        yield self.model


def said(free, **values):
    found = MemoryHints().look(Place(LargeHost(free)), values, {})
    return "" if found is None else found.text()


@pytest.mark.parametrize(
    ("free", "values", "expected"),
    [
        (80 * GB, {}, "1024x1024: a step keeps about 10.3 GB of the 80.0 GB that are free."),
        (8 * GB, {}, 'about 1.2 GB with "Less memory" (10.3 GB without) of the 8.0 GB that are free.'),
        (8 * GB, {"less_memory": "off"}, 'will hardly fit; a smaller size does, or "Less memory".'),
        (
            1 * GB,
            {},
            '"Less memory" (10.3 GB without), and 1.0 GB are free: that will hardly fit; a smaller size does.',
        ),
        (80 * GB, {"width": 512, "height": 1024}, "512x1024: a step keeps about 5.2 GB of"),
        (80 * GB, {"use_negative": False}, "about 5.2 GB of"),
        (80 * GB, {"batch_size": 3}, "about 30.9 GB of"),
        (0, {"less_memory": "on"}, 'about 1.2 GB with "Less memory" (10.3 GB without).'),
        (8 * GB, {"width": 64, "height": 64}, ""),
        (8 * GB, {"width": 63}, ""),  # refused when the training is asked for
    ],
)
def test_what_a_step_keeps_and_what_is_free(free, values, expected):
    text = said(free, **values)
    assert (expected in text) if expected else text == ""


@pytest.mark.parametrize("free", [1 * GB, 8 * GB, 12 * GB, 13 * GB, 80 * GB, 0])
@pytest.mark.parametrize("setting", ["auto", "on", "off"])
def test_it_foretells_what_the_training_chooses(free, setting):
    host = LargeHost(free)
    config = TrainConfig(less_memory=setting)
    assert MemoryHints().of(host, config).less is is_less(host, config, [(128, 128)])


def test_a_size_is_looked_at_once():
    host, hints = LargeHost(8 * GB), MemoryHints()
    for config in (TrainConfig(), replace(TrainConfig(), batch_size=2), replace(TrainConfig(), use_negative=False)):
        hints.of(host, config)
    assert host.asked == 1


def test_nothing_is_said_while_the_model_is_in_use():
    place = Place(LargeHost(8 * GB))
    with place.turn:
        assert MemoryHints().look(place, {}, {}) is None


def test_a_model_that_cannot_be_trained_says_so():
    with pytest.raises(ModelError, match="refiner"):
        MemoryHints().look(Place(ModelError("a refiner.")), {}, {})
