"""Scenes that prompts can name: what is painted is what is said."""

from __future__ import annotations

import random

import pytest
import torch

from dreamartist_ext.evaluation.backgrounds import BACKGROUND_NAMES, nearest_background
from tools.embedded_model import scenes
from tools.embedded_model.scenes import Background, Placed, Scene

DRAWINGS, SIDE = 5, 128


@pytest.fixture(scope="module")
def rgba() -> torch.Tensor:
    """Discs of five colours, on nothing."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    inside = ((rows - 63.5) ** 2 + (columns - 63.5) ** 2 < 55**2).to(torch.uint8) * 255
    colours = torch.tensor([[230, 40, 40], [40, 200, 60], [50, 80, 220], [120, 120, 120], [240, 220, 40]])
    discs = [torch.cat([c.expand(SIDE, SIDE, 3), inside[..., None]], -1) for c in colours]
    return torch.stack(discs).to(torch.uint8)


def covered(scene: Scene, rgba: torch.Tensor) -> torch.Tensor:
    """(S, S): where the picture is not its background"""
    with_things = scenes.painted(scene, rgba, random.Random(0))
    without = scenes.painted(Scene(scene.background, ()), rgba, random.Random(0))
    return (with_things - without).abs().sum(0) > 0.2


def middle(mask: torch.Tensor) -> tuple[float, float]:
    """Of what is covered, x and y as shares of half the picture from the middle."""
    rows, columns = mask.nonzero(as_tuple=True)
    return float(columns.float().mean() / 63.5 - 1), float(rows.float().mean() / 63.5 - 1)


WHITE = Background("flat", ("white",))


def drawn_of(kind: str, wanted, rgba: torch.Tensor) -> Scene:
    """The first scene of the dice that has it."""
    dice = random.Random(1)
    found = (scenes.a_scene(dice, DRAWINGS, [True] * DRAWINGS) for _ in range(5000))
    scene = next(s for s in found if getattr(s, kind) == wanted)
    return Scene(WHITE, scene.things, scene.size, scene.position, scene.count, scene.relation, scene.tint)


@pytest.mark.parametrize(("position", "sign"), [(p, xy) for p, xy in scenes.POSITIONS.items() if p])
def test_a_thing_stands_where_it_is_said(position, sign, rgba):
    x, y = middle(covered(drawn_of("position", position, rgba), rgba))
    assert (x, y) == (pytest.approx(sign[0], abs=0.12), pytest.approx(sign[1], abs=0.12))


def test_small_is_smaller_than_usual_and_big_is_bigger(rgba):
    small, big = (float(covered(drawn_of("size", size, rgba), rgba).float().mean()) for size in ("small", "big"))
    usual = float(covered(Scene(WHITE, (Placed(0, 0, 0, 0.7),)), rgba).float().mean())
    assert 3 * small < 1.5 * usual < 1.2 * big


@pytest.mark.parametrize("count", scenes.COUNTS)
def test_two_are_two_and_three_are_three(count, rgba):
    mask = covered(drawn_of("count", count, rgba), rgba).float()[None, None]
    discs = 0
    while mask.sum() > 20:  # one disc after the other, by filling from a point of it
        filled = torch.zeros_like(mask)
        filled.view(-1)[mask.view(-1).argmax()] = 1
        while True:
            grown = torch.nn.functional.max_pool2d(filled, 3, 1, 1) * mask
            if (grown == filled).all():
                break
            filled = grown
        mask, discs = mask - filled, discs + 1
    assert discs == count


@pytest.mark.parametrize("relation", scenes.RELATIONS)
def test_the_first_of_two_things_is_beside_above_or_in_front_of_the_other(relation, rgba):
    scene = drawn_of("relation", relation, rgba)
    one, other = (middle(covered(Scene(WHITE, (thing,)), rgba)) for thing in (scene.things[0], scene.things[1]))
    if relation == "beside":
        assert one[0] < other[0] - 0.5
    elif relation == "above":
        assert one[1] < other[1] - 0.5
    else:
        front = Scene(WHITE, (scene.things[0],))
        both = scenes.painted(Scene(WHITE, scene.things), rgba, random.Random(0))
        where = -torch.nn.functional.max_pool2d(-covered(front, rgba).float()[None], 5, 1, 2)[0] > 0  # not its edge
        assert torch.allclose(both[:, where], scenes.painted(front, rgba, random.Random(0))[:, where], atol=0.1)


@pytest.mark.parametrize("colour", BACKGROUND_NAMES)
def test_a_flat_background_is_the_colour_that_is_named(colour, rgba):
    assert (
        nearest_background(scenes.painted(Scene(Background("flat", (colour,)), ()), rgba, random.Random(2))) == colour
    )


@pytest.mark.parametrize("kind", [*scenes.PATTERNS, *scenes.PLACES])
def test_patterns_and_places_are_pictures_of_their_own(kind, rgba):
    colours = ("red", "white") if kind in scenes.PATTERNS else ()
    picture = scenes.painted(Scene(Background(kind, colours), ()), rgba, random.Random(3))
    assert picture.shape == (3, SIDE, SIDE)
    assert picture.min() >= -1 and picture.max() <= 1
    assert picture.flatten(1).std(1).max() > 0.05


def test_a_tint_changes_the_hue_and_leaves_greys():
    drawing = torch.tensor([[[230, 40, 40, 255], [120, 120, 120, 255]]], dtype=torch.uint8)
    blue = scenes.tinted(drawing, scenes.TINTS["blue"])
    assert blue[0, 0, 2] == 230 and blue[0, 0, 0] == 40
    assert blue[0, 1].tolist() == [120, 120, 120, 255]


def test_only_what_has_a_colour_is_given_another(rgba):
    assert [scenes.is_colourful(drawing) for drawing in rgba] == [True, True, True, False, True]
    dice = random.Random(4)
    made = [scenes.a_scene(dice, DRAWINGS, [i != 3 for i in range(DRAWINGS)]) for _ in range(2000)]
    assert any(scene.tint for scene in made)
    assert not [scene for scene in made if scene.tint and scene.things[0].drawing == 3]


def test_what_a_scene_holds_is_said():
    dice = random.Random(5)
    for _ in range(300):
        scene = scenes.a_scene(dice, DRAWINGS, [True] * DRAWINGS)
        said = scenes.described(scene, ["cat", "dog"], dice)
        for part in (scene.size, scene.position, scene.tint, scene.relation, scenes.COUNTS.get(scene.count, "")):
            assert part in said
        assert ("dog" in said) == bool(scene.relation)
        assert (len({thing.drawing for thing in scene.things}) == 2) == bool(scene.relation)
