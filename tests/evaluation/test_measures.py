"""Every measure on cases whose answer is known."""

from __future__ import annotations

import pytest
import torch

from dreamartist_ext.evaluation import measures
from dreamartist_ext.evaluation.backgrounds import BACKGROUNDS, asked_background, nearest_background
from dreamartist_ext.evaluation.drawing_styles import STYLES, StyleJudge, asked_style, left_out_accuracy, right_styles
from dreamartist_ext.evaluation.eyes import middle, part_boxes, rim
from dreamartist_ext.evaluation.features import FeatureNet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def network() -> FeatureNet:
    return FeatureNet()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Four pictures with something in them: (4, 3, 64, 64) in [-1, 1], the last a shifted first."""
    blobs = torch.nn.functional.interpolate(torch.randn(3, 3, 6, 6, generator=generator()), size=64, mode="bicubic")
    return torch.cat([blobs, blobs[:1].roll(4, 3)]).clamp(-1, 1)


def test_a_picture_is_most_like_itself(network, pictures):
    features = network(pictures)
    likeness = measures.similarity(features.deep, features.deep[0])
    assert likeness[0] == pytest.approx(1, abs=1e-5)
    assert likeness.argmax() == 0
    assert measures.similarity(-features.deep[:1], features.deep[0])[0] == pytest.approx(-1, abs=1e-5)


def test_the_order_of_pictures_changes_no_mean(network, pictures):
    order = torch.tensor([2, 0, 3, 1])
    features, permuted = network(pictures), network(pictures[order])
    assert torch.allclose(measures.similarity(permuted.deep, features.deep[0]).sort()[0],
                          measures.similarity(features.deep, features.deep[0]).sort()[0], atol=1e-5)  # fmt: skip
    assert measures.diversity(permuted.deep) == pytest.approx(measures.diversity(features.deep), abs=1e-5)


def test_diversity_of_equal_and_of_unrelated_pictures():
    one = torch.randn(1, 16, generator=generator())
    assert measures.diversity(one) == 0
    assert measures.diversity(one.repeat(5, 1)) == pytest.approx(0, abs=1e-6)
    assert measures.diversity(3 * torch.eye(4)) == pytest.approx(1)
    assert measures.diversity(torch.tensor([[1.0, 0], [1, 0], [0, 1]])) == pytest.approx(2 / 3)


def test_alignment_is_of_each_picture_with_its_own_text():
    texts = torch.eye(3)
    assert measures.text_alignment(2 * texts, texts).tolist() == [1, 1, 1]
    assert measures.text_alignment(texts[[1, 2, 0]], texts).tolist() == [0, 0, 0]


def test_perceptual_distance_knows_the_same_the_noisy_and_the_inverted(network, pictures):
    noisy = pictures + 0.1 * torch.randn(pictures.shape, generator=generator(1))
    maps = {name: network(p).maps for name, p in (("same", pictures), ("noisy", noisy), ("inverted", -pictures))}
    distance = {name: measures.perceptual_distance(other, maps["same"]) for name, other in maps.items()}
    assert distance["same"].abs().max() < 1e-6
    assert (distance["same"] < distance["noisy"]).all()
    assert (distance["noisy"] < distance["inverted"]).all()
    back = measures.perceptual_distance(maps["same"], maps["inverted"])
    assert torch.allclose(back, distance["inverted"])


def test_style_distance_ignores_where_things_are():
    maps = [torch.randn(2, 5, 8, 8, generator=generator())]
    moved = [m.roll((3, 5), (2, 3)).flip(3) for m in maps]
    assert measures.style_distance(moved, [m[:1] for m in maps])[0] == pytest.approx(0, abs=1e-6)
    assert measures.style_distance(maps, [m[:1] for m in maps])[1] > 0.05
    gram = measures.gram_matrices(maps)[0]
    by_hand = maps[0][0].flatten(1) @ maps[0][0].flatten(1).T / 64
    assert torch.allclose(gram[0], by_hand, atol=1e-5)


def test_ranks_count_the_references_that_are_nearer():
    references = torch.eye(3)
    pictures = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
    assert measures.ranks(pictures, references, 0) == [0, 2, 1]


def test_nearest_reference():
    references = torch.eye(3)
    assert measures.nearest(torch.tensor([[0.1, 0.9, 0.2], [5, 1, 1]]), references) == [1, 0]
    assert measures.share([True, False, True, True]) == 0.75


@pytest.mark.parametrize("colour", BACKGROUNDS)
@pytest.mark.parametrize("size", [64, 128, 500])
def test_the_background_is_seen_behind_anything(colour, size):
    picture = torch.tensor(BACKGROUNDS[colour])[:, None, None].repeat(1, size, size) / 127.5 - 1
    picture[:, size // 8 : -size // 8, size // 8 : -size // 8] = torch.rand(3, 1, 1, generator=generator()) * 2 - 1
    picture += 0.05 * torch.randn(picture.shape, generator=generator(2))
    picture[:, :, : size // 5][:, : size // 5] = -picture[:, :, : size // 5][:, : size // 5]  # one corner is covered
    assert nearest_background(picture) == colour


def test_the_colour_that_a_prompt_asks_for():
    assert asked_background("a [name] on a Red background") == "red"
    assert asked_background("a red [name]") is None
    assert asked_background("a [name] on a dotted background") is None


def test_styles_are_told_from_things():
    """Statistics that are the sum of a thing's, which are large, and a style's, which are small."""
    things, styles = 5 * torch.randn(1, 12, 30, generator=generator(3)), torch.randn(4, 1, 30, generator=generator(4))
    examples = things + styles + 0.1 * torch.randn(4, 12, 30, generator=generator(5))
    assert left_out_accuracy(examples) == 1
    unseen = styles + 20 * torch.randn(1, 2, 30, generator=generator(6))
    assert all(right_styles(StyleJudge(examples), unseen))
    assert not any(right_styles(StyleJudge(examples), unseen.roll(1, 0)))


def test_what_was_not_touched_is_kept(network, pictures):
    """A picture whose middle is replaced: the rim is as it was, the middle is not."""
    before = network(pictures[:1]).maps
    changed = pictures[:1].clone()
    changed[:, :, 24:40, 24:40] = -changed[:, :, 24:40, 24:40]
    maps = network(changed).maps
    assert measures.kept(before, before, rim).tolist() == pytest.approx([1])
    assert measures.kept(maps, before, rim)[0] > 0.97
    assert measures.kept(maps, before, middle)[0] < 0.9
    assert measures.kept(network(-pictures[:1]).maps, before, rim)[0] < 0.6
    everywhere = measures.kept(maps, before, lambda h, w: torch.ones(h, w))
    assert float(1 - everywhere) == pytest.approx(float(measures.perceptual_distance(maps, before)) / 2, abs=1e-5)


def test_rim_and_middle_have_nothing_in_common():
    for size in ((4, 4), (16, 16), (9, 17)):
        assert (rim(*size) * middle(*size)).sum() == 0
        assert rim(*size).sum() > 0
        assert middle(*size).sum() > 0


def test_things_are_recognised_in_parts_of_a_picture():
    references = torch.eye(5)
    both = torch.tensor([[1.0, 1, 1, 1, 1], [0, 0, 1, 0, 0], [1, 0.2, 0, 0, 0]])
    assert measures.recognised(both, references, [0, 2]) == 1
    assert measures.recognised(both, references, [0, 4]) == 0.5
    assert measures.recognised(both, references, [3, 4]) == 0
    assert part_boxes((100, 50))[0] == (0, 0, 100, 50)
    assert len(set(part_boxes((100, 50)))) == 9


def test_distances_to_others_are_what_diversity_is_the_mean_of():
    features = torch.randn(6, 16, generator=generator(7))
    each = measures.distance_to_others(features)
    assert float(each.mean()) == pytest.approx(measures.diversity(features))
    assert measures.distance_to_others(features[:1]).tolist() == [0]


def test_the_style_that_a_prompt_asks_for():
    assert [asked_style(f"a {style} emoji of a cat") for style in STYLES] == list(STYLES)
    assert asked_style("a flat cat") is None
