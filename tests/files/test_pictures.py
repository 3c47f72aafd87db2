"""Pictures with what belongs to them, framed as the settings say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dreamartist_ext.engine.attention_mask import grey_to_weight
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import PictureError
from dreamartist_ext.engine.pictures import TrainingPicture, fingerprint
from dreamartist_ext.files import pictures as data

from .test_picture_files import RED, noise, refusal, written


@pytest.fixture
def picture_file(tmp_path):
    path = tmp_path / "cat.png"
    noise().save(path)
    return path


# Masks


def test_a_mask_is_cropped_as_its_picture_is(tmp_path):
    grey = Image.linear_gradient("L").resize((200, 100))
    grey.save(tmp_path / "cat_att.png")
    grey.convert("RGB").save(tmp_path / "cat.png")
    mask = data.load_mask(tmp_path / "cat_att.png", 48, 48, picture_size=(200, 100))
    picture = data.load_pictures([tmp_path / "cat.png"], 48, 48)[0].pixels[0]
    assert mask.shape == (48, 48)
    torch.testing.assert_close((picture + 1) * 127.5, mask, atol=3, rtol=0)


def test_a_mask_keeps_its_greys_and_takes_transparency_for_neutral(tmp_path):
    mask = Image.new("LA", (64, 64), (200, 255))
    mask.paste((0, 0), (0, 0, 32, 64))
    mask.save(tmp_path / "cat_att.png")
    assert data.load_mask(tmp_path / "cat_att.png", 64, 64)[0].tolist() == [128.0] * 32 + [200.0] * 32


def test_a_mask_has_no_overshoot_at_its_edges(tmp_path):
    mask = Image.new("L", (64, 64), 128)
    mask.paste(127, (0, 0, 20, 64))
    mask.save(tmp_path / "cat_att.png")
    assert set(data.load_mask(tmp_path / "cat_att.png", 96, 96).unique().tolist()) <= {127.0, 128.0}


def test_a_mask_of_other_proportions_is_refused(tmp_path, picture_file):
    noise((64, 64)).save(tmp_path / "cat_att.png")
    with pytest.raises(PictureError, match=r'The mask "cat_att.png" is 64x64 and its picture 96x64; give both'):
        data.load_pictures([picture_file], 64, 64)


def test_a_smaller_mask_of_the_same_proportions_will_do(tmp_path, picture_file):
    noise((48, 32)).save(tmp_path / "cat_att.png")
    assert data.load_pictures([picture_file], 64, 64)[0].mask.shape == (64, 64)


def test_a_picture_that_is_called_txt_is_not_its_own_caption(picture_file):
    path = picture_file.rename(picture_file.with_suffix(".txt"))
    assert data.load_pictures([path], 64, 64)[0].caption == ""


# Several pictures


def test_pictures_are_loaded_in_order_with_what_belongs_to_them(tmp_path, picture_file):
    noise(seed=1).save(tmp_path / "dog.png")
    noise(seed=2).save(tmp_path / "dog_att.png")
    (tmp_path / "dog.txt").write_text("a dog")
    dog, cat = data.load_pictures([tmp_path / "dog.png", picture_file], 64, 32)
    assert (dog.source, dog.caption, cat.source, cat.caption) == ("dog.png", "a dog", "cat.png", "")
    assert dog.pixels.shape == cat.pixels.shape == (3, 32, 64)
    assert dog.mask.shape == (32, 64)
    assert cat.mask is None


def test_a_picture_given_twice_is_kept_once(tmp_path, picture_file):
    (tmp_path / "link.png").symlink_to(picture_file)
    detour = tmp_path / "folder" / ".." / "cat.png"
    detour.parent.parent.mkdir()
    assert len(data.load_pictures([picture_file, picture_file, tmp_path / "link.png", detour], 64, 64)) == 1


def test_a_mask_among_the_pictures_is_not_learned(tmp_path, picture_file):
    noise(seed=2).save(tmp_path / "cat_att.png")
    loaded = data.load_pictures([tmp_path / "cat_att.png", picture_file], 64, 64)
    assert [picture.source for picture in loaded] == ["cat.png"]


def test_no_pictures():
    with pytest.raises(PictureError, match="no picture to learn from"):
        data.load_pictures([], 64, 64)


def test_one_bad_picture_names_itself(tmp_path, picture_file):
    bad = written(tmp_path / "bad.png", b"x")
    assert '"bad.png"' in refusal(bad, lambda _: data.load_pictures([picture_file, bad], 64, 64))


def test_the_fingerprint_tells_any_change():
    pixels, mask = torch.zeros(3, 4, 4), torch.full((4, 4), 128.0)
    variants = [
        [(pixels, None, "a cat")],
        [(pixels + 1e-6, None, "a cat")],
        [(pixels.reshape(3, 2, 8), None, "a cat")],
        [(pixels, mask, "a cat")],
        [(pixels, mask + 1, "a cat")],
        [(pixels, None, "a dog")],
        [(pixels, None, "a cat"), (pixels, None, "a cat")],
        [(pixels, None, "a cat"), (pixels, None, "")],
        [(pixels, None, ""), (pixels, None, "a cat")],
        [],
    ]
    prints = [fingerprint([TrainingPicture(*item, "cat.png") for item in items]) for items in variants]
    assert len(set(prints)) == len(variants)
    assert all(len(digest) == 64 for digest in prints)


def test_the_fingerprint_is_the_same_each_time(picture_file):
    one, other = (fingerprint(data.load_pictures([picture_file], 64, 64)) for _ in range(2))
    assert one == other


def test_captions_are_read_only_where_a_template_asks_for_them(tmp_path, picture_file):
    about = {"name": "mycat", "width": 64, "height": 64}
    plain, asked, given = (
        TrainConfig(template=template, caption=caption, **about)
        for template, caption in (("[name]", "x"), ("[name], [filewords]", ""), ("[name], [filewords]", "a pet"))
    )
    numbered = picture_file.rename(tmp_path / "0001.png")
    captions = [data.open_pictures([numbered], config, 64)[0].caption for config in (plain, given)]
    assert captions == ["", "a pet"]
    with pytest.raises(PictureError, match="no caption"):
        data.open_pictures([numbered], asked, 64)
    (tmp_path / "0001.txt").write_text("a cat")
    (shown,) = data.open_pictures([numbered, tmp_path / "0001.txt"], asked, 64)
    assert shown.caption == "a cat", "a caption among the pictures is not taken for one"


# Views, transparency, padding


def opened(paths, **values):
    settings_ = TrainConfig(name="mycat", template="[name]", width=64, height=64, **values)
    return [view.read() for view in data.open_pictures(paths, settings_, 64, 16)]


@given(
    size=st.tuples(st.integers(48, 160), st.integers(48, 160)),
    fit=st.sampled_from(["crop", "bucket", "pad"]),
    crop=st.sampled_from([0.0, 0.3]),
    mirror=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_a_mask_follows_its_picture_through_every_view(tmp_path_factory, size, fit, crop, mirror, seed):
    folder = tmp_path_factory.mktemp("views")
    marked = Image.new("L", size, 64)
    marked.paste(255, (size[0] // 2 - 2, size[1] // 2 - 16, size[0] // 2 + 14, size[1] // 2 + 4))
    marked.convert("RGB").save(folder / "cat.png")
    marked.save(folder / "cat_att.png")
    ways = {"fit": fit, "random_crop": crop, "mirror": mirror, "views": 3, "seed": seed}
    for pixels, mask in opened([folder / "cat.png"], background="black", **ways):
        assert pixels.shape[1:] == mask.shape
        difference = ((pixels[0] + 1) * 127.5 - mask).abs()
        assert difference.mean() < 8, "another filter at the edges, and nothing else"


def test_transparent_parts_weigh_nothing_and_lie_on_the_chosen_colour(tmp_path):
    picture = Image.new("RGBA", (64, 64), (*RED, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 32, 64))
    picture.save(tmp_path / "cat.png")
    ((pixels, mask),) = opened([tmp_path / "cat.png"], background="#00ff00", transparency_as_mask=True)
    assert pixels[:, 5, 5].tolist() == [-1, 1, -1]
    assert set(grey_to_weight(mask)[:, :32].unique().tolist()) == {0.0}
    assert set(grey_to_weight(mask)[:, 32:].unique().tolist()) == {1.0}
    Image.new("L", (64, 64), 255).save(tmp_path / "cat_att.png")
    ((_, mask),) = opened([tmp_path / "cat.png"], transparency_as_mask=True)
    assert (grey_to_weight(mask)[0, 5], grey_to_weight(mask)[0, 50]) == (0, 5)
    assert opened([tmp_path / "cat.png"], use_mask=False)[0][1] is None


def test_padding_weighs_nothing(tmp_path, picture_file):
    ((pixels, mask),) = opened([picture_file], fit="pad", use_mask=False)
    assert pixels.shape == (3, 64, 64)
    rows = grey_to_weight(mask).mean(1)
    assert rows.tolist() == [0.0] * 10 + [1.0] * 43 + [0.0] * 11 or rows.sum() in (42, 43)


def test_a_cut_that_misses_what_is_painted_gives_way_to_the_whole(tmp_path):
    noise((200, 200)).save(tmp_path / "cat.png")
    mask = Image.new("L", (200, 200), 0)
    mask.paste(255, (0, 0, 9, 9))
    mask.save(tmp_path / "cat_att.png")
    assert all(greys.any() for _, greys in opened([tmp_path / "cat.png"], random_crop=0.5, views=16))
