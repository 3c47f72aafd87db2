"""A card holds its pair through any copy of the file, and knows when a website has taken it out."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from dreamartist_ext.engine.embedding import EmbeddingPair, pair_id
from dreamartist_ext.engine.errors import FileError, SettingError
from dreamartist_ext.files.card import DamagedCardError, card_bytes, read_card
from dreamartist_ext.files.card_drawing import HEIGHT, WIDTH, CardText, draw_card
from dreamartist_ext.files.card_files import card_word
from dreamartist_ext.files.card_marker import BEADS, CARD_ASPECT, beads_of, read_beads
from dreamartist_ext.files.importing import look
from dreamartist_ext.files.png_text import png_text
from dreamartist_ext.files.run import RunFiles
from testbed.hostile_files import png_chunk


def vectors(count: int, seed: int = 0, width: int = 768, scale: float = 1.0) -> dict[str, torch.Tensor]:
    return {"clip": scale * torch.randn(count, width, generator=torch.Generator().manual_seed(seed))}


def a_pair(seed: int = 0, negative: int = 6) -> EmbeddingPair:
    return EmbeddingPair(
        "mycat", vectors(3, seed), vectors(negative, seed + 1) if negative else None, 1000, {"model": "tiny v1"}
    )


def photo(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@contextmanager
def undrawn():
    """Inside, cards hold what they hold, and nobody takes the time to draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dreamartist_ext.files.card.draw_card", lambda picture, text: Image.new("RGB", (8, 8)))
        yield


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "mycat.png"
    path.write_bytes(card_bytes(a_pair(), photo()))
    return path


def same(one: EmbeddingPair, other: EmbeddingPair) -> bool:
    return pair_id(one) == pair_id(other) and (one.name, one.step) == (other.name, other.step)


@settings(max_examples=6, deadline=None)
@given(
    count=st.integers(1, 75),
    negative=st.integers(0, 75),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-40, 1e-6, 1.0, 1e30]),
)
def test_a_card_gives_back_its_pair_to_the_bit(tmp_path_factory, count, negative, seed, scale):
    pair = EmbeddingPair("mycat", vectors(count, seed, 64, scale), step=7, provenance={"model": "<b>x</b> 猫"})
    pair.negative = vectors(negative, seed + 1, 64, scale) if negative else None
    path = tmp_path_factory.mktemp("card") / "c.png"
    with undrawn():
        path.write_bytes(card_bytes(pair, photo(size=(8, 8))))
    loaded = read_card(path)
    assert same(loaded, pair)
    assert loaded.provenance["model"] == "<b>x</b> 猫"


def test_any_fp32_number_survives_the_webuis_json(tmp_path):
    bits = torch.randint(-(2**31), 2**31, (200_000,), generator=torch.Generator().manual_seed(1)).to(torch.int32)
    numbers = bits.view(torch.float32)
    numbers = numbers[torch.isfinite(numbers)][: 75 * 2500].reshape(75, 2500)
    pair = EmbeddingPair("mycat", {"clip": numbers})
    with undrawn():
        (tmp_path / "c.png").write_bytes(card_bytes(pair, photo(size=(8, 8))))
    assert torch.equal(read_card(tmp_path / "c.png").positive["clip"], numbers)


def test_sdxl_keeps_both_encoders_and_the_webui_finds_only_tensors(tmp_path):
    both = {"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}
    pair = EmbeddingPair("xl", both, {key: -v for key, v in both.items()}, 5)
    with undrawn():
        (tmp_path / "c.png").write_bytes(card_bytes(pair, photo()))
    assert same(read_card(tmp_path / "c.png"), pair)
    with Image.open(tmp_path / "c.png") as picture:
        content = json.loads(base64.b64decode(picture.text["sd-ti-embedding"]))
    assert set(content) == {"clip_l", "clip_g"}
    assert all(set(value) == {"TORCHTENSOR"} for value in content.values())


def test_the_positive_lies_where_the_webui_looks_for_it(card):
    with Image.open(card) as picture:
        content = json.loads(base64.b64decode(picture.text["sd-ti-embedding"]))
    assert content["name"] == "mycat"
    numbers = np.array(content["string_to_param"]["*"]["TORCHTENSOR"])
    assert torch.equal(torch.from_numpy(numbers).float(), a_pair().positive["clip"])


def test_the_same_pair_and_picture_give_the_same_bytes(card):
    assert card_bytes(a_pair(), photo()) == card.read_bytes()


@pytest.mark.parametrize(
    ("ending", "width", "quality"),
    [("jpg", 300, 30), ("jpg", 512, 60), ("jpg", WIDTH, 30), ("webp", 300, 30), ("webp", 512, 95), ("webp", 1500, 60)],
)
def test_a_card_that_became_a_jpeg_of_any_size_is_known(card, tmp_path, quality, width, ending):
    path = tmp_path / f"posted.{ending}"
    with Image.open(card) as picture:
        picture.resize((width, round(width / CARD_ASPECT))).save(path, quality=quality)
    with pytest.raises(DamagedCardError, match=rf"was a DreamArtist card \(pair {pair_id(a_pair())[:4]}\.\.\.\)"):
        read_card(path)


def test_a_card_that_was_saved_again_as_png_is_known(card, tmp_path):
    with Image.open(card) as picture:
        picture.convert("P", palette=Image.Palette.ADAPTIVE).resize((384, 552)).save(tmp_path / "again.png")
    with pytest.raises(DamagedCardError, match="ask for the PNG file itself"):
        read_card(tmp_path / "again.png")


@pytest.mark.parametrize("kind", [b"cHRM", b"gAMA", b"tRNS", b"pHYs", b"iCCP"])
def test_a_picture_with_a_chunk_cut_short_is_refused_and_the_others_are_offered(card, tmp_path, kind):
    picture = io.BytesIO()
    Image.new("RGB", (768, 1104)).save(picture, "PNG")
    content = picture.getvalue()
    (tmp_path / "x.png").write_bytes(content[:-12] + png_chunk(kind, b"1") + content[-12:])
    offers, (refusal,) = look([tmp_path / "x.png", card])
    assert ([offer.name for offer in offers], refusal.source) == (["mycat"], "x.png")
    assert refusal.sentence.startswith("x.png is not a card, or not a picture") or "picture only" in refusal.sentence


@settings(max_examples=3, deadline=None)
@given(pair=st.text("0123456789abcdef", min_size=16, max_size=16), seed=st.integers(0, 99), grey=st.booleans())
def test_beads_tell_the_pair_whatever_the_picture(pair, seed, grey):
    picture = photo(seed, (16, 16)).convert("L" if grey else "RGB")
    drawn = draw_card(picture, CardText("x", "x-neg", (), "", pair))
    assert read_beads(drawn) == pair[:4]
    assert len(beads_of(pair)) == BEADS


@pytest.mark.parametrize("seed", range(8))
def test_other_pictures_are_no_cards(seed):
    for size in ((WIDTH, HEIGHT), (400, 575), (512, 512), (20, 20)):
        assert read_beads(photo(seed, size)) is None
        noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        assert read_beads(Image.fromarray(noise)) is None


def test_a_plain_picture_and_no_picture_are_told_apart(tmp_path):
    photo().save(tmp_path / "plain.png")
    with pytest.raises(FileError, match=r"plain\.png holds no embedding; it is a picture only\."):
        read_card(tmp_path / "plain.png")
    (tmp_path / "text.jpg").write_bytes(b"hello")
    with pytest.raises(FileError, match=r"text\.jpg is not a card, or not a picture\."):
        read_card(tmp_path / "text.jpg")


def test_a_card_cut_off_or_flipped_in_any_byte_of_its_text_is_damaged(card, tmp_path):
    content = card.read_bytes()
    place = content.index(b"sd-ti-embedding")
    path = tmp_path / "c.png"
    for cut in (place + 5, place + 5000, content.index(b"IDAT") - 5):
        path.write_bytes(content[:cut])
        with pytest.raises(FileError, match=r"c\.png is cut off"):
            read_card(path)
    for flipped in range(place, place + 4000, 97):
        path.write_bytes(content[:flipped] + bytes([content[flipped] ^ 1]) + content[flipped + 1 :])
        with pytest.raises(FileError, match="a checksum in it is wrong"):
            read_card(path)


IDAT = [png_chunk(b"IDAT", part) for part in (zlib.compress(b"\0" * 72)[:9], zlib.compress(b"\0" * 72)[9:])]
TEXTS = [
    png_chunk(b"tEXt", b"sd-ti-embedding\0" + b"embedding" * 9),
    png_chunk(b"zTXt", b"packed\0\0" + zlib.compress(b"packed" * 9)),
    png_chunk(b"iTXt", b"unicode\0\1\0en\0x\0" + zlib.compress(b"unicode" * 9)),
]
END = png_chunk(b"IEND", b"")
CUT = {
    "texts before the pixels": [*TEXTS, *IDAT, END],
    "texts behind them": [*IDAT, *TEXTS, END],
    "bytes of another program behind": [*TEXTS[:1], *IDAT, *TEXTS[1:], b"\0\0\0\5junk junk junk"],
    "no chunk behind": [*TEXTS, *IDAT, bytes(40)],
    "pixels that nobody needs": [*TEXTS, *IDAT, png_chunk(b"IDAT", b"needless"), END],
    "a chunk that nobody knows": [*TEXTS, *IDAT, png_chunk(b"prVt", b"private"), END],
}


@pytest.mark.parametrize("case", sorted(CUT))
def test_whatever_its_end_lacks_what_pillow_finds_in_a_picture_is_found(case):
    header = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    content = header + b"".join(CUT[case])
    found = 0
    for cut in range(len(header), len(content) + 1):
        try:
            texts = dict(Image.open(io.BytesIO(content[:cut]), formats=["PNG"]).text)
        except (OSError, SyntaxError):
            continue
        assert png_text(content[:cut], "x.png") == texts if texts else not _texts(content[:cut]), cut
        found += bool(texts)
    assert found > 12, "also those that lack the last chunk"


def _texts(content: bytes) -> dict[str, str]:
    try:
        return png_text(content, "x.png")
    except FileError:
        return {}


@pytest.mark.parametrize("lost", [3, 12, 16])
def test_a_card_without_its_last_chunk_has_its_word(card, tmp_path, lost):
    (tmp_path / "embeddings").mkdir()
    path = tmp_path / "embeddings" / "sent.png"
    path.write_bytes(card.read_bytes()[:-lost])
    assert (same(read_card(path), a_pair()), card_word(path)) == (True, "mycat")
    ((offer,), _) = look([path])
    assert (offer.name, offer.negative is None) == ("mycat", False)
    with pytest.raises(SettingError, match="mycat"):
        RunFiles(tmp_path / "embeddings", "mycat").check_free()


def with_text(path, **chunks):
    info = PngImagePlugin.PngInfo()
    for key, value in chunks.items():
        info.add_text(key.replace("_", "-") if key != "dreamartist" else key, value)
    photo().save(path, pnginfo=info)
    return path


def encoded(content: object) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "no base64!",
        base64.b64encode(b"\xff\xfe").decode(),
        encoded([]),
        encoded({"string_to_param": {}}),
        encoded({"string_to_param": {"*": {"TORCHTENSOR": []}}}),
        encoded({"string_to_param": {"*": {"TORCHTENSOR": [[1, 2], [3]]}}}),
        encoded({"string_to_param": {"*": {"TORCHTENSOR": [[1e300] * 8]}}}),
        encoded({"string_to_param": {"*": {"TORCHTENSOR": [[float("nan")] * 8]}}}),
        encoded({"string_to_param": {"*": {"TORCHTENSOR": "x"}}}),
        encoded({"string_to_param": {"*": {"TORCHTENSOR": [[0.0] * 8] * 76}}}),
        base64.b64encode(b'{"a":' * 100_000).decode(),
    ],
)
def test_a_strangers_text_is_refused_in_one_sentence(tmp_path, text):
    path = with_text(tmp_path / "c.png", sd_ti_embedding=text)
    with pytest.raises(FileError, match=r"c\.png") as refused:
        read_card(path)
    assert "\n" not in str(refused.value)


def test_halves_of_different_cards_do_not_pass_as_one(tmp_path):
    chunks = []
    for seed in (0, 5):
        with undrawn(), Image.open(io.BytesIO(card_bytes(a_pair(seed), photo()))) as picture:
            chunks.append(dict(picture.text))
    mixed = chunks[0] | {"sd-ti-embedding-negative": chunks[1]["sd-ti-embedding-negative"]}
    info = PngImagePlugin.PngInfo()
    for key, value in mixed.items():
        info.add_text(key, value)
    photo().save(tmp_path / "c.png", pnginfo=info)
    with pytest.raises(FileError, match="what it holds is not what was written into it"):
        read_card(tmp_path / "c.png")


def test_the_webuis_own_picture_gives_its_one_embedding(tmp_path):
    content = {"string_to_token": {"*": 265}, "name": "theirs", "step": 500, "sd_checkpoint_name": "v1-5"}
    content["string_to_param"] = {"*": {"TORCHTENSOR": a_pair().positive["clip"].tolist()}}
    pair = read_card(with_text(tmp_path / "file.png", sd_ti_embedding=encoded(content)))
    assert (pair.name, pair.step, pair.negative, pair.provenance) == ("theirs", 500, None, {"model": "v1-5"})
    assert torch.equal(pair.positive["clip"], a_pair().positive["clip"])


def test_vectors_that_are_not_finite_make_no_card():
    pair = a_pair()
    pair.negative["clip"][0, 0] = float("inf")
    with pytest.raises(FileError, match="mycat-neg holds numbers that are not finite"):
        card_bytes(pair, photo())


def test_a_long_name_stays_on_the_card():
    words = CardText("W" * 64, "W" * 64 + "-neg", (("steps", "1" * 30),) * 4, "m" * 80, "ab" * 8)
    black = Image.new("RGB", (8, 8))
    drawn = np.asarray(draw_card(black, words).convert("L"), dtype=int)
    for edge in (drawn[760:1050, :36], drawn[760:1050, -36:]):
        assert (edge.max(axis=1) - edge.min(axis=1)).max() < 24  # nothing but ground
