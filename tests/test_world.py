"""What tells whether a picture shows what a prompt asked for, on scenes that are known."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from tools.embedded_model import drawings, scenes, world
from tools.embedded_model.scenes import Background, Placed, Scene

SIDE = 128
GREY = Background("flat", ("grey",))


@pytest.fixture(scope="module")
def things() -> torch.Tensor:
    """A red square with a hole, and a blue disc, each filling nine tenths of its drawing."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    far = torch.stack([rows, columns]).sub(63.5).abs()
    square = (far.amax(0) < 58) & (far.amax(0) > 12)
    disc = far.float().norm(dim=0) < 58
    drawn = torch.zeros(2, SIDE, SIDE, 4, dtype=torch.uint8)
    drawn[0, square] = torch.tensor([220, 30, 30, 255], dtype=torch.uint8)
    drawn[1, disc] = torch.tensor([30, 60, 220, 255], dtype=torch.uint8)
    return drawn


def painted(things: torch.Tensor, *placed: Placed, tint: str = "") -> torch.Tensor:
    return scenes.painted(Scene(GREY, placed, tint=tint), things, random.Random(0))


@pytest.mark.parametrize("thing", [0, 1])
@pytest.mark.parametrize("size", [0.4, 0.68, 0.94])
def test_a_box_grows_with_the_thing(things, thing, size):
    own = world.box(things[thing][..., 3] > 127)
    seen = world.clear_of_background(painted(things, Placed(thing, 0, 0, size)))
    assert world.box(seen) / own == pytest.approx(size, abs=0.05)


@pytest.mark.parametrize("place", list(scenes.POSITIONS.values()))
def test_the_middle_is_where_the_thing_stands(things, place):
    seen = world.clear_of_background(painted(things, Placed(1, *place, 0.46)))
    assert world.middle(seen) == pytest.approx(place, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_are_counted_and_specks_are_not(things, count):
    spots = scenes.SPOTS.get(count, ((0.0, 0.0),))
    seen = world.clear_of_background(painted(things, *(Placed(0, x, y, 0.4) for x, y in spots)))
    seen[:2, :2] = True
    assert world.parts(seen) == count


def test_things_that_touch_by_a_thread_are_two():
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[40:80, 10:55] = mask[40:80, 70:115] = True
    mask[60:62, 50:75] = True
    assert world.parts(mask) == 2
    mask[50:70, 50:75] = True
    assert world.parts(mask) == 1


def test_a_thing_is_asked_for_where_it_is_told_from_its_background(things):
    yellow = things[1].clone()
    yellow[..., :3] = drawings.BACKGROUND_RGB[drawings.BACKGROUND_NAMES.index("yellow")].to(torch.uint8)
    assert "yellow" not in world.clear_backgrounds(yellow)
    clear = [["white"], ["grey"]]
    asked = world.requests(2, [True] * 2, each=1, seed=0, clear=clear)
    told = [each for each in asked if each.kind in ("size", "position", "count", "tint", "thing")]
    assert {each.scene.background.colours[0] for each in told if each.things == (0,)} == {"white"}
    assert {each.scene.background.colours[0] for each in told if each.things == (1,)} == {"grey"}


def test_the_judge_tells_things_alone_and_beside_each_other_and_backgrounds(things, monkeypatch):
    monkeypatch.setattr(world, "decode", lambda vae, latents: latents)
    model = SimpleNamespace(vae=None, device="cpu")
    judge = world.Judge(model, lambda pictures: pictures, things, things, [0, 1])
    for thing in (0, 1):
        assert judge.nearest(painted(things, Placed(thing, 0, 0, world.DRAWING_SIZE))) == thing
    beside = painted(things, Placed(1, -0.5, 0, world.SMALL), Placed(0, 0.5, 0, world.SMALL))
    assert judge.nearest_beside(beside) == (1, 0)
    for kind in ("flat", "striped", "chequered", "grass", "brick wall"):
        background = scenes.background_of(kind, random.Random(5))
        picture = scenes.painted(Scene(background, (Placed(0, 0, 0, world.DRAWING_SIZE),)), things, random.Random(1))
        assert judge.background(picture) == kind


@pytest.mark.parametrize("tint", scenes.TINTS)
def test_a_hue_is_told(things, tint):
    picture = painted(things, Placed(0, 0, 0, 0.7), tint=tint)
    hue = world.mean_hue(picture, world.clear_of_background(picture))
    assert (hue - scenes.TINTS[tint] + 0.5) % 1 - 0.5 == pytest.approx(0, abs=0.02)


def test_every_request_says_what_it_wants():
    asked = world.requests(5, [True] * 5, each=1, seed=0)
    kinds = {each.kind for each in asked}
    assert kinds == {"pattern", "place", "size", "position", "count", "tint", "thing", "two"}
    for each in asked:
        assert each.text.count(world.CODE) == len(each.things) == (2 if each.kind == "two" else 1)
        if each.kind in ("size", "position", "tint"):
            assert each.wanted in each.text
        if each.kind == "count":
            assert scenes.COUNTS[int(each.wanted)] in each.text
