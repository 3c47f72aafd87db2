"""Pictures good and bad, masks, captions. Every file is made here, in a temporary folder."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from dreamartist_ext.engine.errors import PictureError
from dreamartist_ext.files import picture_files
from dreamartist_ext.files.pictures import load_pictures

Image.init()
AVIF = ["AVIF"] if "AVIF" in Image.SAVE else []  # older Pillows have it from a plugin only
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)
SIZE = (96, 64)


def refusal(path, load=picture_files.load_picture):
    """The sentence that a file is refused with, checked for its form."""
    with pytest.raises(PictureError) as caught:
        load(path)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert ". " not in sentence.replace(path.name, "")
    assert str(path.parent) not in sentence
    return sentence


def noise(size=SIZE, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def encoded(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(width, height, depth, colour, rows):
    """A PNG by hand, for the kinds that Pillow does not write; `rows` are whole, with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture
def picture_file(tmp_path):
    path = tmp_path / "cat.png"
    noise().save(path)
    return path


# Kinds of picture


@pytest.mark.parametrize(("kind", "ending"), [("PNG", "png"), ("BMP", "bmp"), ("TIFF", "tif"), ("PPM", "ppm")])
def test_lossless_kinds_come_back_exactly(tmp_path, kind, ending):
    path = written(tmp_path / f"cat.{ending}", encoded(noise(), kind))
    loaded = picture_files.load_picture(path)
    assert loaded.mode == "RGB"
    assert loaded.tobytes() == noise().tobytes()


def test_lossless_webp_comes_back_exactly(tmp_path):
    path = written(tmp_path / "cat.webp", encoded(noise(), "WEBP", lossless=True))
    assert picture_files.load_picture(path).tobytes() == noise().tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "PA", "RGBA", "CMYK", "LAB", "YCbCr"])
def test_every_mode_becomes_rgb_of_the_right_colour(tmp_path, mode):
    if mode == "LAB":
        picture = Image.merge("LAB", [Image.new("L", SIZE, value) for value in (255, 128, 128)])
    else:
        picture = Image.new("RGB", SIZE, WHITE).convert("P" if mode == "PA" else mode).convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "TIFF"
    loaded = picture_files.load_picture(written(tmp_path / "cat.any", encoded(picture, kind)))
    assert (loaded.mode, loaded.size) == ("RGB", SIZE)
    assert np.abs(np.asarray(loaded, dtype=int) - 255).max() <= 3


def test_cmyk_jpeg_keeps_its_colours_even_with_a_useless_profile(tmp_path):
    picture = Image.new("CMYK", SIZE, (0, 255, 255, 0))
    path = written(tmp_path / "cat.jpg", encoded(picture, "JPEG", quality=95, icc_profile=b"no profile"))
    red, green, blue = picture_files.load_picture(path).getpixel((9, 9))
    assert red > 240
    assert max(green, blue) < 15


def test_palette_transparency_is_laid_on_the_background(tmp_path):
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([*RED, *BLUE])
    picture.paste(0, (0, 0, 48, 64))
    path = written(tmp_path / "cat.png", encoded(picture, "PNG", transparency=bytes([0, 255])))
    for background in (WHITE, GREEN):
        loaded = picture_files.load_picture(path, background)
        assert (loaded.getpixel((5, 5)), loaded.getpixel((90, 5))) == (background, BLUE)


@pytest.mark.parametrize(("mode", "key", "other"), [("L", 7, 200), ("RGB", RED, BLUE)])
def test_one_transparent_colour_is_laid_on_the_background(tmp_path, mode, key, other):
    picture = Image.new(mode, SIZE, key)
    picture.paste(other, (48, 0, 96, 64))
    loaded = picture_files.load_picture(written(tmp_path / "cat.png", encoded(picture, "PNG", transparency=key)))
    assert loaded.getpixel((5, 5)) == WHITE
    assert loaded.getpixel((90, 5)) == (BLUE if mode == "RGB" else (200,) * 3)


def test_half_transparent_is_mixed(tmp_path):
    path = written(tmp_path / "cat.png", encoded(Image.new("RGBA", SIZE, (0, 0, 0, 128)), "PNG"))
    assert picture_files.load_picture(path).getpixel((0, 0)) == (127, 127, 127)


def test_the_colour_under_full_transparency_does_not_show(tmp_path):
    picture = Image.new("RGBA", SIZE, (*RED, 0))
    picture.putpixel((3, 3), (*BLUE, 255))
    loaded = picture_files.load_picture(written(tmp_path / "cat.png", encoded(picture, "PNG")))
    assert (loaded.getpixel((0, 0)), loaded.getpixel((3, 3))) == (WHITE, BLUE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_by_its_depth(tmp_path, kind):
    ramp = np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (64, 1))
    loaded = picture_files.load_picture(written(tmp_path / "cat.any", encoded(Image.fromarray(ramp), kind)))
    np.testing.assert_allclose(np.asarray(loaded)[..., 1], ramp / 257, atol=0.51)


def test_dark_grey_of_16_bits_stays_dark(tmp_path):
    dark = Image.fromarray(np.full((64, 96), 2570, np.uint16))
    path = written(tmp_path / "cat.png", encoded(dark, "PNG"))
    assert picture_files.load_picture(path).getpixel((0, 0)) == (10, 10, 10)


def test_grey_of_16_bits_in_the_other_byte_order(tmp_path):
    big_endian = Image.frombytes("I;16B", SIZE, struct.pack(">H", 25700) * (96 * 64))
    path = written(tmp_path / "cat.tif", encoded(big_endian, "TIFF"))
    assert picture_files.load_picture(path).getpixel((0, 0)) == (100, 100, 100)


def test_colour_of_16_bits(tmp_path):
    row = b"\0" + struct.pack(">HHH", 257 * 10, 257 * 100, 257 * 200) * 96
    path = written(tmp_path / "cat.png", raw_png(96, 64, 16, 2, row * 64))
    assert picture_files.load_picture(path).getpixel((50, 50)) == (10, 100, 200)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("float32", 0, 1),
        ("float32", 0, 255),
        ("float32", 0, 65535),
        ("float32", -3, 3),
        ("float32", 0, 1e30),
        ("int32", 0, 255),
        ("int32", 0, 65535),
        ("int32", 0, 2**30),
        ("int32", -1000, 1000),
    ],
)
def test_grey_of_32_bits_is_scaled_by_its_range(tmp_path, kind, low, high):
    ramp = np.tile(np.linspace(low, high, 96).astype(kind), (64, 1))
    loaded = np.asarray(
        picture_files.load_picture(written(tmp_path / "cat.tif", encoded(Image.fromarray(ramp), "TIFF")))
    )
    assert (loaded.min(), loaded.max()) == (0, 255)
    np.testing.assert_allclose(loaded[0, :, 0], np.linspace(0, 255, 96), atol=1.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -5.0])
def test_strange_numbers_are_no_accident(tmp_path, value):
    picture = Image.fromarray(np.full((64, 96), value, np.float32))
    path = written(tmp_path / "cat.tif", encoded(picture, "TIFF"))
    assert picture_files.load_picture(path).getpixel((0, 0)) == (0, 0, 0)


# Rotation and metadata


def turned(orientation):
    """A picture that, once turned as its EXIF says, has SIZE and a red corner at its top left."""
    upright = Image.new("RGB", SIZE, BLUE)
    upright.paste(RED, (0, 0, 16, 16))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return upright.transpose(undo[orientation]) if orientation in undo else upright


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", *AVIF])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_rotation_is_applied_once(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = picture_files.load_picture(written(tmp_path / "cat.any", encoded(turned(orientation), kind, exif=exif)))
    assert loaded.size == SIZE
    assert loaded.getpixel((4, 4))[0] > 200
    assert all(loaded.getpixel(corner)[0] < 60 for corner in ((91, 4), (4, 59), (91, 59)))
    again = picture_files.load_picture(written(tmp_path / "again.png", encoded(loaded, "PNG")))
    assert again.tobytes() == loaded.tobytes()


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 64])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_metadata_is_not_fatal(tmp_path, kind, exif):
    path = written(tmp_path / "cat.any", encoded(noise(), kind, exif=exif))
    assert picture_files.load_picture(path).size == SIZE


@given(tail=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_metadata_is_ever_fatal(tmp_path_factory, tail):
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + tail
    path = written(tmp_path_factory.getbasetemp() / "exif.jpg", encoded(noise(), "JPEG", exif=exif))
    assert picture_files.load_picture(path).size in (SIZE, SIZE[::-1])


def test_an_orientation_that_does_not_exist_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 77
    assert picture_files.load_picture(written(tmp_path / "cat.jpg", encoded(noise(), "JPEG", exif=exif))).size == SIZE


# What is refused


def test_missing_files_and_folders(tmp_path):
    assert 'There is no picture "cat.png"' in refusal(tmp_path / "cat.png")
    assert "folder" in refusal(tmp_path)
    assert "There is no picture" in refusal(written(tmp_path / "file", b"x") / "cat.png")
    assert "There is no picture" in refusal(tmp_path / "nul\0.png")
    assert "empty" in refusal(written(tmp_path / "empty.png", b""))


def test_a_device_is_not_read():
    assert "not an ordinary file" in refusal(Path(os.devnull))


def test_a_circle_of_links(tmp_path):
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "loop.png" in refusal(tmp_path / "loop.png")


@pytest.mark.parametrize("content", [b"a", b"hello, this is no picture\n" * 9, b"%PDF-1.4", b"%!PS-Adobe-3.0 EPSF-3.0"])
def test_what_is_not_a_picture(tmp_path, content):
    assert "cannot be opened as a picture" in refusal(written(tmp_path / "cat.png", content))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", *AVIF])
@pytest.mark.parametrize("host_is_lenient", [False, True])
def test_a_file_cut_short_is_refused(tmp_path, monkeypatch, kind, host_is_lenient):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", host_is_lenient)
    whole = encoded(noise(), kind)
    for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.97):
        refusal(written(tmp_path / "cut.any", whole[: max(1, int(len(whole) * share))]))
    assert host_is_lenient == ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_progressive_jpeg_cut_short_is_refused(tmp_path):
    whole = encoded(noise(), "JPEG", progressive=True)
    assert "cut short" in refusal(written(tmp_path / "cut.jpg", whole[: len(whole) // 2]))


@given(cut=st.integers(1, 10**6), kind=st.sampled_from(["JPEG", "PNG", "WEBP"]))
@settings(max_examples=60, deadline=None)
def test_a_cut_file_is_whole_or_refused(tmp_path_factory, cut, kind):
    whole = encoded(noise((40, 40)), kind)
    path = written(tmp_path_factory.getbasetemp() / "cut.any", whole[: len(whole) - cut % len(whole)])
    try:
        loaded = picture_files.load_picture(path)
    except PictureError:
        return
    assert loaded.tobytes() == Image.open(io.BytesIO(whole)).convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", *AVIF])
def test_animations_and_pages_are_refused(tmp_path, kind):
    content = encoded(noise(), kind, save_all=True, append_images=[noise(seed=1)])
    assert "several pictures or an animation" in refusal(written(tmp_path / "cat.any", content))


def test_a_gif_with_one_frame_is_a_picture(tmp_path):
    path = written(tmp_path / "cat.gif", encoded(Image.new("RGB", SIZE, RED), "GIF"))
    assert picture_files.load_picture(path).getpixel((0, 0)) == RED


def test_a_phone_s_jpeg_with_a_second_picture_inside_is_a_picture(tmp_path):
    content = encoded(noise(), "MPO", save_all=True, append_images=[noise((48, 32), seed=1)])
    loaded = picture_files.load_picture(written(tmp_path / "cat.jpg", content))
    assert loaded.tobytes() == Image.open(io.BytesIO(content)).convert("RGB").tobytes()


@pytest.mark.parametrize("size", [(1, 1), (31, 500), (500, 31)])
def test_too_small(tmp_path, size):
    path = written(tmp_path / "dot.png", encoded(Image.new("RGB", size), "PNG"))
    assert f"too small at {size[0]}x{size[1]}" in refusal(path)


def test_the_smallest_that_will_do(tmp_path):
    assert picture_files.load_picture(written(tmp_path / "dot.png", encoded(noise((32, 32)), "PNG"))).size == (32, 32)


@pytest.mark.parametrize("limit", [None, Image.MAX_IMAGE_PIXELS])
@pytest.mark.parametrize("rows", [b"\0", bytes(2501 * 20000)], ids=["a lying header", "a real one"])
def test_too_large_is_seen_before_it_is_decoded(tmp_path, monkeypatch, limit, rows):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda _: pytest.fail("it was decoded"))
    assert "too large" in refusal(written(tmp_path / "huge.png", raw_png(20000, 20000, 1, 0, rows)))
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("host_s_filter", ["error", "default"])
def test_pillow_s_warning_does_not_leak(tmp_path, host_s_filter):
    path = written(tmp_path / "large.png", raw_png(10000, 9500, 1, 0, b"\0"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(host_s_filter)
        filters = list(warnings.filters)
        assert "cut short" in refusal(path)
        assert list(warnings.filters) == filters
    assert not caught


def test_fully_transparent(tmp_path):
    path = written(tmp_path / "ghost.png", encoded(Image.new("RGBA", SIZE, (9, 9, 9, 0)), "PNG"))
    assert "fully transparent" in refusal(path)


@given(head=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", ""]), tail=st.binary(max_size=300))
@settings(max_examples=120, deadline=None)
def test_random_bytes_are_refused_and_nothing_else(tmp_path_factory, head, tail):
    start = encoded(noise((40, 40)), head)[:60] if head else b""
    path = written(tmp_path_factory.getbasetemp() / "random.png", start + tail)
    try:
        picture_files.load_picture(path)
    except PictureError as error:
        assert "random.png" in str(error)


@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", *AVIF]),
    places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
)
@settings(max_examples=120, deadline=None)
def test_flipped_bytes_are_loaded_or_refused(tmp_path_factory, kind, places):
    content = bytearray(encoded(noise((40, 40)), kind))
    for place, value in places:
        content[place % min(len(content), 400)] = value
    path = written(tmp_path_factory.getbasetemp() / "flipped.png", bytes(content))
    try:
        assert picture_files.load_picture(path).mode == "RGB"
    except PictureError as error:
        assert "flipped.png" in str(error)


# Names


@pytest.mark.parametrize("stem", ["my cat (1)", "кот 😺", "x" * 251, "a.b.c", "-rf", "100%s {0}"])
def test_any_file_name_will_do(tmp_path, stem):
    path = written(tmp_path / f"{stem}.png", encoded(noise(), "PNG"))
    (loaded,) = load_pictures([path], 64, 64)
    assert (loaded.source, loaded.mask, loaded.caption) == (path.name, None, "")


def test_names_that_no_file_has(tmp_path):
    assert len(refusal_of_long_name(tmp_path)) < 250
    assert "cat?.png" in str(caught_for(tmp_path / "cat\n.png"))


def refusal_of_long_name(folder):
    return str(caught_for(folder / ("x" * 4000)))


def caught_for(path):
    with pytest.raises(PictureError) as caught:
        picture_files.load_picture(path)
    return caught.value


# Pixels


def test_pixels_span_minus_one_to_one():
    picture = Image.new("RGB", SIZE, (0, 255, 51))
    pixels = picture_files.to_pixels(picture)
    assert pixels.shape == (3, 64, 96)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels[:, 5, 7], torch.tensor([-1.0, 1.0, -0.6]))


def test_pixels_are_not_turned():
    picture = Image.new("RGB", SIZE)
    picture.putpixel((70, 3), RED)
    assert (picture_files.to_pixels(picture)[0] == 1).nonzero().tolist() == [[3, 70]]


# Masks and captions


@pytest.mark.parametrize("name", ["cat_att.png", "cat_att.PNG", "cat_att.jpg", "cat_att.webp", "cat_att.jfif"])
def test_a_mask_beside_its_picture_is_found(tmp_path, name):
    (tmp_path / "dog_att.png").touch()
    path = tmp_path / "cat.jfif"
    assert picture_files.find_mask(path) is None
    (tmp_path / name).touch()
    assert picture_files.find_mask(path).name.lower() == name.lower()


@pytest.mark.parametrize(
    ("content", "caption"),
    [
        (b"a cat on a mat", "a cat on a mat"),
        (b"\xef\xbb\xbfa cat,\r\n  on a mat\n", "a cat, on a mat"),
        ("кот 😺".encode(), "кот 😺"),
        ("a cat\u2028on\x0ca\x85mat".encode(), "a cat on a mat"),
        (b"", ""),
        (b"x" * 10_000, "x" * 10_000),
    ],
)
def test_captions(picture_file, content, caption):
    assert picture_files.caption_for(picture_file) == ""
    picture_file.with_suffix(".txt").write_bytes(content)
    assert picture_files.caption_for(picture_file) == caption


def test_captions_that_are_refused(picture_file):
    caption = written(picture_file.with_suffix(".txt"), b"x" * 10_001)
    assert "longer than 10 kB" in refusal(caption, lambda _: picture_files.caption_for(picture_file))
    written(caption, "a cat".encode("utf-16"))
    assert "UTF-8" in refusal(caption, lambda _: picture_files.caption_for(picture_file))
    for text in ("a\0cat", "a \x1b[31mcat", "a cat\x7f", "a\x9bcat"):
        written(caption, text.encode())
        assert "control characters" in refusal(caption, lambda _: picture_files.caption_for(picture_file))
    written(caption, "a cat".encode("utf-16-le"))
    assert "control characters" in refusal(caption, lambda _: picture_files.caption_for(picture_file))


def test_only_names_of_files_are_shown():
    assert "secret" not in str(caught_for(Path("/nowhere/secret/cat.png")))


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("a cat, on a mat.png", "a cat, on a mat"),
        ("00012-3-1girl, solo.png", "1girl, solo"),
        ("007_red_ball.jpeg", "red ball"),
        ("Übung  2.png", "Übung 2"),
        ("00012.png", ""),
        ("picture1.png", ""),
        ("IMG_1234.jpg", ""),
        ("001-picture1.png", ""),
        ("2024-01-02 10.11.12.png", ""),
    ],
)
def test_a_file_name_says_what_is_in_the_picture(tmp_path, name, caption):
    assert picture_files.named_caption(tmp_path / name) == caption


def test_a_caption_comes_from_its_file_then_from_the_setting_then_from_the_name(picture_file):
    assert picture_files.caption_of(picture_file) == picture_files.named_caption(picture_file) != ""
    assert picture_files.caption_of(picture_file, "a dog") == "a dog"
    written(picture_file.with_suffix(".txt"), b"a bird")
    assert picture_files.caption_of(picture_file, "a dog") == "a bird"
    written(picture_file.with_suffix(".txt"), b" ")
    assert picture_files.caption_of(picture_file, "a dog") == "", "an empty file is an answer too"


def test_a_missing_caption_is_said(picture_file):
    path = picture_file.rename(picture_file.with_name("00012.png"))
    assert '"00012.png" has no caption for [filewords]' in refusal(path, picture_files.caption_of)
