"""What a stranger's file can be, by name: refused in one sentence, or taken under a name that harms nobody."""

from __future__ import annotations

import base64
import json
import os
import zipfile

import pytest
import torch
from safetensors.torch import save

from dreamartist_ext.engine.names import check_name
from dreamartist_ext.files.formats import load_embedding
from dreamartist_ext.files.importing import accept, look
from testbed.hostile_files import hand_made, pickled_text, png_file, safetensors_file, torch_file, whole_files, zipped

GOOD = whole_files()[0]
ALIKE = b"".join(b"\x8a\x10" + (i * (2**61 - 1)).to_bytes(16, "little") + b"N" for i in range(20_000))


def param(tensor: torch.Tensor) -> bytes:
    return torch_file({"string_to_param": {"*": tensor}, "name": "x"})


BAD = {
    "zip bomb": ("x.pt", zipped({"a/data.pkl": b"\0" * (65 * 2**20)}, zipfile.ZIP_DEFLATED), "unpacks to more"),
    "nested zip": ("x.pt", zipped({"a/data.pkl": zipped({"a/data.pkl": b"N."})}), "something other than plain tensors"),
    "tensor of terabytes": ("x.pt", param(torch.zeros(1).expand(75, 10**12)), "x.pt"),
    "header of terabytes": (
        "x.safetensors",
        safetensors_file({"x": {"dtype": "F32", "shape": [75, 10**12], "data_offsets": [0, 3 * 10**14]}}),
        "damaged",
    ),
    "header longer than the file": ("x.safetensors", safetensors_file(b"{}", length=2**62), "damaged"),
    "NaN": ("x.pt", param(torch.full((2, 768), float("nan"))), "not finite"),
    "Inf": ("x.pt", param(torch.full((2, 768), float("inf"))), "not finite"),
    "too large for fp32": ("x.pt", param(torch.full((2, 768), 1e300, dtype=torch.float64)), "not finite"),
    "no vector": ("x.pt", param(torch.zeros(0, 768)), "1 to 75 vectors"),
    "10,000 vectors": ("x.pt", param(torch.zeros(10_000, 768)), "1 to 75 vectors"),
    "wide vectors": (
        "x.pt",
        param(torch.zeros(2, 9000)),
        "of 9000 numbers; an embedding's have 1 to 8192",
    ),
    "vectors of vectors": ("x.pt", param(torch.zeros(2, 2, 768)), "a tensor that is no list of vectors"),
    "more vectors of one encoder": (
        "x.safetensors",
        save({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(3, 1280)}),
        "holds unequal numbers of vectors: 2 for clip_l and 3 for clip_g; both text encoders need as many.",
    ),
    "powers of two in a byte": ("x.pt", param(torch.ones(2, 768).to(torch.float8_e8m0fnu)), "numbers of a kind"),
    "whole numbers of two bytes": ("x.pt", param(torch.ones(2, 768).to(torch.uint16)), "numbers of a kind"),
    "whole numbers": ("x.pt", param(torch.zeros(2, 768, dtype=torch.int64)), "numbers of a kind"),
    "complex numbers": ("x.pt", param(torch.zeros(2, 768, dtype=torch.complex64)), "something other"),
    "cut in the middle": ("x.pt", GOOD[: len(GOOD) // 2], "damaged"),
    "empty": ("x.pt", b"", "no bytes"),
    "another ending": ("x.safetensors", GOOD, "in truth a .pt file"),
    "a picture's ending": ("x.png", GOOD, "not a card, or not a picture"),
    "TorchScript": ("x.pt", zipped({"a/code/x.py": b"", "a/data.pkl": b"N."}), "something other than plain tensors"),
    "keys that hash alike": ("x.pt", hand_made(ALIKE), "by something other than text or small numbers"),
    "a fraction as a key": ("x.pt", torch_file({0.5: torch.ones(1, 8)}), "by something other than text"),
    "paths in the zip": ("x.pt", zipped({"../../../evil": b"", "a/data.pkl": b"N."}), "something other"),
    "a zip": ("x.zip", zipped({"mycat.pt": GOOD}), "cannot be imported"),
    "a program": ("x.exe", b"MZ", "cannot be imported"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_it_is_refused_in_one_sentence(tmp_path, case):
    name, content, words = BAD[case]
    (tmp_path / name).write_bytes(content)
    offers, (refusal,) = look([tmp_path / name])
    assert (offers, words in refusal.sentence, "\n" in refusal.sentence) == ([], True, False)
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


NAMES = {
    "markup": "<img src=x onerror=alert(1)>",
    "control characters": "a\x07b\x1b[31mc",
    "a line break": "two\nlines",
    "a name that Windows reserves": "nul",
    "another": "COM1",
    "letters that look alike": "m\u0443\u0441\u0430t",
    "turned around": "\u202egnp.tac",
    "only marks": "\u0301\u0302",
    "very long": "x" * 240,
    "a command": "-rf $(reboot)",
    "a prompt's syntax": "(cat:1.5) [dog|cow]",
    "dots": "...",
    "spaces": "   ",
}


@pytest.mark.parametrize("case", sorted(NAMES))
def test_a_file_of_any_name_is_taken_under_a_harmless_one(tmp_path, case):
    (tmp_path / "sent").mkdir()
    path = tmp_path / "sent" / f"{NAMES[case]}.pt"
    path.write_bytes(GOOD)
    (offer,), refusals = look([path])
    assert (refusals, offer.name) == ([], check_name(offer.name))
    assert offer.sources[0].isprintable()
    (written,) = accept(offer, tmp_path / "embeddings")
    assert written == tmp_path / "embeddings" / f"{offer.name}.pt"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["embeddings", "sent"]


@pytest.mark.parametrize("inside", ["../../evil", "/etc/evil", "evil\0", "CON", "<b>", "x" * 10_000])
def test_the_name_inside_a_file_reaches_no_path(tmp_path, inside):
    (tmp_path / "good.pt").write_bytes(torch_file({"string_to_param": {"*": torch.ones(1, 768)}, "name": inside}))
    (offer,), _ = look([tmp_path / "good.pt"])
    accept(offer, tmp_path / "embeddings")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["embeddings", "good.pt"]
    assert [entry.name for entry in (tmp_path / "embeddings").iterdir()] == ["good.pt"]


MUCH_ABOUT = {
    "one text ten thousand times": pickled_text("k")
    + pickled_text("\U0001f600" * 100_001)
    + b"q\0"
    + b"".join(pickled_text(f"k{i}") + b"h\0" for i in range(9999)),
    "very many texts": b"".join(pickled_text(f"k{i}") + pickled_text("x") for i in range(9999)),
    "long texts": b"".join(pickled_text(f"k{i}") + pickled_text("\x01" * 99_000) for i in range(20)),
}


@pytest.mark.parametrize("case", sorted(MUCH_ABOUT))
def test_no_more_is_kept_of_what_a_file_says_than_we_can_write_and_read_again(tmp_path, case):
    (tmp_path / "x.pt").write_bytes(hand_made(MUCH_ABOUT[case]))
    kept = load_embedding(tmp_path / "x.pt").provenance
    assert len(kept) <= 1000
    assert sum(map(len, kept.values())) <= 500_000
    ((offer,), _) = look([tmp_path / "x.pt"])
    (written,) = accept(offer, tmp_path / "out", suffix=".safetensors")
    assert {"pair", "half"} <= set(load_embedding(written).provenance)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_text_that_is_no_unicode_can_be_written_again(tmp_path, suffix):
    about = [("model", "x\ud800y"), ("\udfff", "z"), ("name", "another"), ("step", "-5")]
    (tmp_path / "x.pt").write_bytes(hand_made(b"".join(pickled_text(text) for entry in about for text in entry)))
    ((offer,), _) = look([tmp_path / "x.pt"])
    (written,) = accept(offer, tmp_path / "out", suffix=suffix)
    again = load_embedding(written)
    assert (again.name, again.step, again.provenance["model"], again.provenance["?"]) == ("x", 0, "x?y", "z")
    assert not {"name", "step"} & set(again.provenance)


def test_a_card_whose_name_is_no_unicode_is_taken(tmp_path):
    about = {"format": "dreamartist-card-1", "name": "c\ud800t", "about": {"model": "\udfff"}}
    numbers = {"string_to_param": {"*": {"TORCHTENSOR": [[0.5] * 8]}}}
    texts = [(b"sd-ti-embedding", base64.b64encode(json.dumps(numbers).encode()))]
    (tmp_path / "x.png").write_bytes(png_file(*texts, (b"dreamartist", json.dumps(about).encode())))
    ((offer,), _) = look([tmp_path / "x.png"])
    assert (offer.name, offer.positive.name, offer.positive.provenance["model"]) == ("imported-c-t", "c?t", "?")


def test_links_are_read_as_what_they_lead_to(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    (tmp_path / "x.pt").symlink_to(secret)
    (tmp_path / "loop.pt").symlink_to(tmp_path / "loop.pt")
    (tmp_path / "gone.pt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.pt").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.pt")
    offers, refusals = look([tmp_path / f"{name}.pt" for name in ("x", "loop", "gone", "folder", "pipe")])
    assert (offers, len(refusals)) == ([], 5)
    assert not [refusal for refusal in refusals if "secret" in refusal.sentence]


def test_what_was_linked_in_the_folder_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "good.pt").symlink_to(tmp_path / "precious")
    (tmp_path / "good.pt").write_bytes(GOOD)
    (offer,), _ = look([tmp_path / "good.pt"])
    accept(offer, tmp_path / "embeddings", overwrite=True)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "embeddings" / "good.pt").is_symlink()
