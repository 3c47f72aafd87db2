"""Files as people have them: each of `cases/`, and every layout, kind of number and container that programs write."""

from __future__ import annotations

import base64
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from dreamartist_ext.cli.commands import dreamartist
from dreamartist_ext.engine.errors import FileError
from dreamartist_ext.engine.family import SDXL_KEYS, family_of, widths_of
from dreamartist_ext.files.bounded import read_at_most
from dreamartist_ext.files.card import read_card
from dreamartist_ext.files.card_files import card_word, cards_in, files_of_word
from dreamartist_ext.files.concepts.index import concepts_in
from dreamartist_ext.files.formats import LEFT_OUT, load_embedding
from dreamartist_ext.files.importing import accept, look
from dreamartist_ext.files.pictures import load_picture
from dreamartist_ext.files.storage import find_embedding
from dreamartist_ext.files.templates import read_templates
from testbed import pixel_cards
from testbed.embedding_families import everything, in_text, png, saved, vectors, webui
from testbed.hostile_files import png_chunk, torch_file

CASES = Path(__file__).parent / "cases"
CARD = CASES / "card-resaved-by-imagemagick-ztxt.png"


def read(path: Path) -> dict[str, torch.Tensor]:
    """By the same door as an import."""
    offers, refusals = look([path])
    assert refusals == []
    return offers[0].positive.vectors


def inspected(path: Path) -> str:
    result = CliRunner().invoke(dreamartist, ["inspect", str(path)], catch_exceptions=False)
    return result.output


@pytest.mark.parametrize("made", everything(), ids=lambda made: f"{made.ending} {made.name}")
def test_it_is_read_and_the_numbers_are_right(made, tmp_path):
    path = tmp_path / f"word{made.ending}"
    path.write_bytes(made.content)
    found = read(path)
    assert found.keys() == made.vectors.keys()
    for key, wanted in made.vectors.items():
        assert torch.equal(found[key], wanted), key
        assert found[key].is_contiguous()


@pytest.mark.parametrize("name", ["mps-1.13-numpy.pt", "a1111-loss-numpy.pt", "onetrainer-sd15.safetensors"])
def test_embeddings_for_sd_1(name):
    found = read(CASES / name)
    assert {key: (len(v) >= 1, v.shape[1]) for key, v in found.items()} == {"clip": (True, 768)}


@pytest.mark.parametrize("name", ["onetrainer-sdxl-out.safetensors", "pivotal.safetensors"])
def test_embeddings_for_sdxl(name):
    found = read(CASES / name)
    assert tuple(found) == SDXL_KEYS
    assert family_of(widths_of(found)) == "SDXL"


def test_a_word_says_that_output_vectors_were_left_out(tmp_path):
    embedding = load_embedding(CASES / "onetrainer-sdxl-out.safetensors")
    assert embedding.provenance[LEFT_OUT] == "output vectors (clip_g_out, clip_l_out)"
    assert "output vectors" in inspected(CASES / "onetrainer-sdxl-out.safetensors")
    ((offer,), _) = look([CASES / "onetrainer-sdxl-out.safetensors"])
    (written,) = accept(offer, tmp_path)
    assert "output vectors" in load_embedding(written).provenance[LEFT_OUT]


STEPS = {
    "Python's": 500,
    "numpy's": np.int64(500),
    "numpy's array": np.array(500),
    "numpy's array of one": np.array([500], dtype=np.int32),
    "numpy's fraction": np.float32(500),
    "torch's": torch.tensor(500),
    "torch's fraction": torch.tensor([500.0]),
}


@pytest.mark.parametrize("case", sorted(STEPS))
@pytest.mark.parametrize("content", ["webui", "diffusers"])
def test_a_step_is_read_however_it_was_written(tmp_path, case, content):
    made = webui(vectors()) if content == "webui" else {"<cat>": vectors()}
    (tmp_path / "x.pt").write_bytes(saved({**made, "step": STEPS[case]}))
    assert load_embedding(tmp_path / "x.pt").step == 500
    assert "500" in inspected(tmp_path / "x.pt")


@pytest.mark.parametrize("step", [None, True, 0.5, -1, 10**9, float("nan"), np.array([1, 2]), np.array("x"), "500"])
def test_what_is_no_step_is_unknown(tmp_path, step):
    (tmp_path / "x.pt").write_bytes(saved(webui(vectors(), step=step)))
    assert load_embedding(tmp_path / "x.pt").step is None


def test_two_encoders_of_other_widths_are_not_taken_for_sdxl(tmp_path):
    from safetensors.torch import save_file

    save_file({"text_encoders_0": vectors(), "text_encoders_1": vectors(2, 4096)}, tmp_path / "flux.safetensors")
    with pytest.raises(FileError, match="2 tensors of unknown meaning"):
        load_embedding(tmp_path / "flux.safetensors")


@pytest.mark.parametrize(
    "case",
    "onetrainer-sd15.safetensors onetrainer-sdxl-out.safetensors a1111-loss-numpy.pt".split(),
)
def test_inspect_names_the_word_to_type(case):
    assert f"name     {Path(case).stem}\n" in inspected(CASES / case)


def test_inspect_names_a_card_by_the_word_inside_it(tmp_path):
    (tmp_path / "downloaded.png").write_bytes(CARD.read_bytes())
    assert f"name     {card_word(CARD)}\n" in inspected(tmp_path / "downloaded.png")


def test_a_header_of_many_tags_is_read_and_one_longer_than_its_file_is_not(tmp_path):
    content = (CASES / "kohya-big-header.safetensors").read_bytes()
    assert read(CASES / "kohya-big-header.safetensors")["clip"].shape[1] == 768
    (tmp_path / "x.safetensors").write_bytes(content[:1_000_000])
    with pytest.raises(FileError, match="damaged"):
        load_embedding(tmp_path / "x.safetensors")


def test_one_vector_of_a_whole_vocabulary_is_read_without_the_rest(tmp_path):
    """As diffusers' training saved it: `embeddings.weight[id]`, a view whose storage has 152 MB."""
    vocabulary = torch.zeros(49_409, 768)
    vocabulary[-1] = vectors(1)[0]
    torch.save({"<cat>": vocabulary[-1]}, tmp_path / "learned_embeds.bin")
    del vocabulary
    assert (tmp_path / "learned_embeds.bin").stat().st_size > 150_000_000
    tracemalloc.start()
    try:
        found = load_embedding(tmp_path / "learned_embeds.bin").vectors
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert torch.equal(found["clip"], vectors(1))
    assert most < 8 * 2**20


def test_tensors_that_show_far_more_than_they_hold_are_refused(tmp_path):
    for name, tensor in {
        "spread": torch.zeros(2 * 10**7).as_strided((2, 8), (10**7 * 2 - 9, 1)),
        "expanded": torch.zeros(1).expand(75, 10**7),
    }.items():
        (tmp_path / f"{name}.pt").write_bytes(torch_file({"x": tensor}))
        with pytest.raises(FileError, match="more numbers than any embedding"):
            load_embedding(tmp_path / f"{name}.pt")


def test_a_card_that_another_program_saved_is_a_word_everywhere(tmp_path):
    word = read_card(CARD).name
    folder = tmp_path / "embeddings"
    folder.mkdir()
    (folder / "downloaded.png").write_bytes(CARD.read_bytes())
    assert card_word(folder / "downloaded.png") == word
    assert cards_in(folder) == {folder / "downloaded.png": word}
    assert files_of_word(folder, word) == [folder / "downloaded.png"]
    assert [concept.name for concept in concepts_in(folder)] == [word]
    ((offer,), refusals) = look([folder / "downloaded.png"])
    assert (refusals, offer.negative is not None) == ([], True)
    assert f"{word}.pt" in [path.name for path in accept(offer, tmp_path / "other")]


def test_a_card_that_we_refuse_takes_the_name_that_the_webui_reads_in_it(tmp_path):
    text = in_text(torch.full((2, 768), float("nan")), "taken")
    (tmp_path / "x.png").write_bytes(png(png_chunk(b"tEXt", b"sd-ti-embedding\0" + text)))
    with pytest.raises(FileError):
        read_card(tmp_path / "x.png")
    assert card_word(tmp_path / "x.png") == "taken"


@pytest.fixture
def pixels(tmp_path):
    def keep(name: str, picture: Image.Image, form: str = "PNG", **how: object) -> Path:
        (tmp_path / name).write_bytes(pixel_cards.saved(picture, form, **how))
        return tmp_path / name

    return keep


def in_json(tensor, **more):
    return webui({"TORCHTENSOR": tensor.tolist()}) | more


def test_a_picture_with_an_embedding_in_its_pixels_is_a_word_everywhere(pixels, tmp_path):
    card = pixels("shown.png", pixel_cards.pixel_card(in_json(vectors(), name="hidden")))
    assert card_word(card) == "hidden"
    assert cards_in(tmp_path) == {card: "hidden"}
    assert [concept.name for concept in concepts_in(tmp_path)] == ["hidden"]
    assert [path.name for path in files_of_word(tmp_path, "hidden")] == ["shown.png"]
    assert "name     hidden" in inspected(card)
    ((offer,), refusals) = look([card])
    assert refusals == []
    assert [path.name for path in accept(offer, tmp_path / "other")] == ["hidden.pt"]
    assert torch.equal(load_embedding(tmp_path / "other" / "hidden.pt").vectors["clip"], vectors())


def test_the_word_of_a_card_that_names_none_is_its_files(pixels, tmp_path):
    card = pixels("mine.png", pixel_cards.pixel_card({"a word": {"TORCHTENSOR": vectors().tolist()}}))
    assert (card_word(card), read_card(card).name) == ("mine", "mine")
    text = base64.b64encode(json.dumps({"a word": {"TORCHTENSOR": vectors().tolist()}}).encode())
    (tmp_path / "yours.png").write_bytes(png(png_chunk(b"tEXt", b"sd-ti-embedding\0" + text)))
    assert card_word(tmp_path / "yours.png") == "yours"


def test_pixels_that_are_refused_take_the_name_that_the_webui_reads_in_them(pixels):
    card = pixels("x.png", pixel_cards.pixel_card(in_json(torch.full((2, 768), float("nan")), name="taken")))
    with pytest.raises(FileError, match="not finite"):
        read_card(card)
    assert card_word(card) == "taken"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"5", b"[]", b"[" * 10_000, b'{"name": 5}', b'"\xed\xa0\x80"']
)
def test_pixels_that_hold_something_else_are_refused_in_a_sentence(pixels, content):
    card = pixels("x.png", pixel_cards.pixel_card(content))
    with pytest.raises(FileError):
        read_card(card)
    assert card_word(card) in ("", "x")


@pytest.mark.parametrize("case", ["a JPEG", "half the size", "lines are missing", "black", "one colour", "noise"])
def test_a_picture_without_whole_pixels_of_an_embedding_is_a_picture(pixels, case):
    whole = pixel_cards.pixel_card(in_json(vectors()))
    made = {
        "a JPEG": (whole, "JPEG"),
        "half the size": (whole.resize((whole.width // 2, whole.height // 2)), "PNG"),
        "lines are missing": (whole.crop((0, 1, whole.width, whole.height)), "PNG"),
        "black": (Image.new("RGB", (64, 64)), "PNG"),
        "one colour": (Image.new("RGB", (64, 64), "red"), "PNG"),
        "noise": (Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG"),
    }[case]
    card = pixels("x.png", *made)
    assert card_word(card) == ""
    with pytest.raises(FileError, match="a picture only"):
        read_card(card)


def test_pixels_that_unpack_to_more_than_any_embedding_are_refused(pixels):
    card = pixels("x.png", pixel_cards.pixel_card({"name": "0" * 2**24}))
    with pytest.raises(FileError, match="more than 8 MiB of text"):
        read_card(card)


def test_a_card_that_was_made_an_avif_says_that_it_was_one(pixels):
    from PIL import features

    from dreamartist_ext.files.card import DamagedCardError

    picture = Image.open(CARD).convert("RGB")
    for name, form in (("x.png", "BMP"), ("x.avif", "AVIF")):
        if form == "AVIF" and not features.check("avif"):
            continue  # Pillow below 11.3
        with pytest.raises(DamagedCardError, match="was a DreamArtist card"):
            read_card(pixels(name, picture, form))


def test_the_picture_of_a_words_page_is_no_word(tmp_path):
    (tmp_path / "x.preview.png").write_bytes(CARD.read_bytes())
    assert card_word(tmp_path / "x.preview.png") == ""


def test_text_that_unpacks_to_more_than_any_embedding_is_refused_and_others_are_not_unpacked(tmp_path):
    import zlib

    packed = zlib.compress(b"0" * 2**26)
    (tmp_path / "x.png").write_bytes(png(png_chunk(b"zTXt", b"sd-ti-embedding\0\0" + packed)))
    with pytest.raises(FileError, match="more than 8 MiB of text"):
        read_card(tmp_path / "x.png")
    other = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + packed)
    (tmp_path / "y.png").write_bytes(png(other + png_chunk(b"tEXt", b"sd-ti-embedding\0" + in_text(vectors()))))
    assert torch.equal(read_card(tmp_path / "y.png").positive["clip"], vectors())


def test_a_picture_with_a_large_colour_profile_is_learned_from(tmp_path):
    assert load_picture(CASES / "icc-1.2MB.png").mode == "RGB"
    limit = Image.MAX_IMAGE_PIXELS
    from PIL import PngImagePlugin

    assert PngImagePlugin.MAX_TEXT_CHUNK == 2**20, "the host's own limit is put back"
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_line_with_an_ideographic_space_is_a_template():
    assert read_templates(CASES / "template-ideographic-space.txt").startswith("[name]")


def test_a_file_is_never_read_beyond_what_was_asked_for(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert (read_at_most(tmp_path / "x", 5), read_at_most(tmp_path / "x", 4)) == (b"12345", None)
    with pytest.raises(OSError, match="Invalid argument"):
        read_at_most(Path("a\0b"), 5)


def test_find_embedding_is_by_the_files_name(tmp_path):
    (tmp_path / "mine.safetensors").write_bytes((CASES / "onetrainer-sd15.safetensors").read_bytes())
    assert find_embedding(tmp_path, "mine") is not None
    assert find_embedding(tmp_path, "emp_params") is None


def test_numbers_that_are_not_as_they_lie_there_are_refused(tmp_path):
    """torch can write a tensor as the negative of what is stored."""
    path = tmp_path / "turned.pt"
    torch.save({"a": torch._neg_view(torch.randn(2, 768))}, path)
    with pytest.raises(FileError):
        load_embedding(path)
