"""Pictures, masks and captions as they are given, and their copies."""

from __future__ import annotations

import pytest
from PIL import Image

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.errors import PictureError
from dreamartist_ext.files.pictures import open_pictures
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.webui.training import kept_pictures

CONFIG = TrainConfig(name="cat", template="[name], [filewords]")


def picture(folder, name):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (64, 64), "red").save(folder / name)
    return folder / name


def copied(tmp_path, paths, config=CONFIG):
    files = RunFiles(tmp_path / "embeddings", "cat")
    kept_pictures.keep_pictures(files, kept_pictures.given_pictures(paths), config)
    kept_pictures.adopt_pictures(files)
    return kept_pictures.kept_pictures(files)


def test_masks_and_captions_find_their_picture_wherever_they_lie(tmp_path):
    cat, dog = picture(tmp_path / "a", "cat.png"), picture(tmp_path / "b", "dog.jpg")
    mask = picture(tmp_path / "c", "dog_att.png")
    (tmp_path / "d").mkdir()
    caption = tmp_path / "d" / "dog.txt"
    caption.write_text("a dog")
    given = kept_pictures.given_pictures([caption, cat, mask, dog])
    assert given == [kept_pictures.GivenPicture(cat, None, None), kept_pictures.GivenPicture(dog, mask, caption)]


def test_a_caption_without_a_picture_is_said(tmp_path):
    (tmp_path / "bird.txt").write_text("a bird")
    with pytest.raises(PictureError, match=r'caption "bird.txt" belongs to no picture'):
        kept_pictures.given_pictures([picture(tmp_path, "cat.png"), tmp_path / "bird.txt"])


def test_copies_say_what_the_originals_said(tmp_path):
    paths = [picture(tmp_path / "a", "012-a cat, Übung.png"), picture(tmp_path / "a", "dog.png")]
    paths[1].with_suffix(".txt").write_text("a big dog")
    original = [shown.caption for shown in open_pictures(paths, CONFIG, 64)]
    assert original == ["a cat, Übung", "a big dog"]
    assert [shown.caption for shown in open_pictures(copied(tmp_path, paths), CONFIG, 64)] == original


def test_the_setting_counts_where_no_file_is(tmp_path):
    config = TrainConfig(name="cat", template="[name], [filewords]", caption="a pet")
    kept = copied(tmp_path, [picture(tmp_path / "a", "cat.png")], config)
    assert [shown.caption for shown in open_pictures(kept, config, 64)] == ["a pet"]


def test_a_missing_caption_is_said_before_anything_is_copied(tmp_path):
    (given,) = kept_pictures.given_pictures([picture(tmp_path, "0001.png")])
    with pytest.raises(PictureError, match="no caption for"):
        given.check(CONFIG)
    given.check(TrainConfig(name="cat"))
