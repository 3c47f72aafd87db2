"""A painted mask to look at before training."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image, ImageDraw

from dreamartist_ext.engine.errors import PictureError, SettingError
from dreamartist_ext.webui.training.jobs import Desk
from dreamartist_ext.webui.training.mask_preview import mask_previews, shaded

from ..fake_workplace import SETTINGS, FakeWorkplace


@pytest.fixture
def desk(tmp_path):
    return Desk(FakeWorkplace(tmp_path))


@pytest.fixture
def painted(tmp_path):
    """Two discs on white, one of them with a painted spot."""
    for name, grey in (("photo.png", None), ("photo_att.png", 64)):
        image = Image.new("RGB", (64, 64), "white" if grey is None else (grey,) * 3)
        draw = ImageDraw.Draw(image)
        for left in (4, 36) if grey is None else ():
            draw.ellipse((left, 20, left + 22, 42), fill="red")
        if grey is not None:
            draw.rectangle((10, 26, 18, 34), fill="white")
        image.save(tmp_path / name)
    return tmp_path / "photo.png"


def test_shading_shows_the_weight():
    grey = torch.zeros(3, 8, 8)
    shown = {w: shaded(grey, torch.full((1, 1, 1), w)).getpixel((3, 3)) for w in (0.0, 0.5, 1.0, 5.0)}
    assert shown[1.0] == (128, 128, 128)
    assert max(shown[0.0]) < max(shown[0.5]) < 128
    assert shown[5.0][0] > 150 > shown[5.0][2]


def test_both_previews_are_what_a_training_weighs(desk, painted):
    asked, spread = mask_previews(desk, SETTINGS | {"spread_mask": 0.0}, [painted])
    again = mask_previews(desk, SETTINGS | {"spread_mask": 1.0, "mirror": True, "use_mask": False}, [painted])
    assert again == (asked, spread)
    pictures = [Image.open(io.BytesIO(png)) for png in (asked, spread)]
    assert [picture.size for picture in pictures] == [(64, 64)] * 2
    assert pictures[0].tobytes() != pictures[1].tobytes()
    half = mask_previews(desk, SETTINGS | {"spread_mask": 0.5}, [painted])
    assert half[0] == asked
    assert half[1] not in (asked, spread)
    assert desk.job is None
    assert desk.workplace.learnings == 0


def test_nothing_painted_and_a_busy_model_are_said(desk, painted, tmp_path):
    with pytest.raises(PictureError, match="nothing is painted"):
        mask_previews(desk, SETTINGS, [])
    desk.prepare(SETTINGS, [painted])
    with pytest.raises(SettingError, match="cat is being trained"):
        mask_previews(desk, SETTINGS, [painted])
