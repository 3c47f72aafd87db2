"""One PNG that holds a pair: a picture to post, the positive where the WebUI looks for it, the negative beside it."""

from __future__ import annotations

import base64
import binascii
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from torch import Tensor

from ..engine.embedding import EmbeddingPair, check_vectors, pair_id
from ..engine.errors import FileError
from ..engine.family import SDXL_KEYS, family_of, widths_of
from ..engine.host import Vectors
from ..engine.names import negative_name
from .card_drawing import CardText, draw_card, facts_in_words
from .card_marker import read_beads
from .card_pixels import json_in_pixels
from .formats import clean_text, decoded_json, embedding_in_json, kind_of, plain_text, read_limited, shown
from .picture_files import formats, room_for_metadata
from .png_text import png_text

CARD_SUFFIX = ".png"
CARD_SUFFIXES = (".png", ".webp", ".jxl", ".avif")  # the WebUI opens these by what is in them, and so do we
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".jxl", ".avif")  # what a card may have become on its way
CARD_FORMAT = "dreamartist-card-1"
POSITIVE_KEY = "sd-ti-embedding"  # the WebUI's, modules/textual_inversion/textual_inversion.py of v1.10.1
NEGATIVE_KEY = "sd-ti-embedding-negative"
ABOUT_KEY = "dreamartist"
_KEYS = (POSITIVE_KEY, NEGATIVE_KEY, ABOUT_KEY)
_MOST_PIXELS = 50_000_000


class DamagedCardError(FileError):
    """A picture that was a card, and lost on its way what it held."""


def card_bytes(pair: EmbeddingPair, picture: Image.Image) -> bytes:
    """A PNG file with the pair in it, drawn around `picture`; raises FileError for vectors that are not sound.

    A WebUI without this extension reads the positive from it, if it lies in the embeddings folder; SDXL's under the
    file's own name.
    """
    for word, vectors in pair.named().items():
        check_vectors(vectors, f"the embedding {word}")
    drawn = draw_card(picture, card_text(pair))
    info = PngImagePlugin.PngInfo()
    info.add_text(POSITIVE_KEY, _webui_text(pair.positive, pair.name, pair))
    if pair.negative is not None:
        info.add_text(NEGATIVE_KEY, _webui_text(pair.negative, negative_name(pair.name), pair))
    about = {**pair.provenance, "pair": pair_id(pair)}
    about.pop("half", None)
    content = {"format": CARD_FORMAT, "name": pair.name, "step": pair.step, "about": about}
    info.add_text(ABOUT_KEY, json.dumps(content, sort_keys=True))
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def card_text(pair: EmbeddingPair) -> CardText:
    """The words that stand on a pair's card."""
    counts = [len(next(iter(half.values()))) for half in (pair.positive, pair.negative) if half is not None]
    return CardText(
        name=pair.name,
        negative="" if pair.negative is None else negative_name(pair.name),
        facts=facts_in_words(
            family_of(widths_of(pair.positive)), pair.step, counts, pair.provenance.get("made", "")[:10]
        ),
        model=shown(pair.provenance.get("model", "")),
        pair=pair_id(pair),
    )


def _webui_text(vectors: Vectors, word: str, pair: EmbeddingPair) -> str:
    """Base64 of the WebUI's JSON. SDXL's holds nothing but tensors, since the WebUI takes every value for one."""
    if len(vectors) > 1:
        content: dict[str, Any] = {key: _numbers(vectors[key]) for key in SDXL_KEYS}
    else:
        content = {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": _numbers(next(iter(vectors.values())))},
            "name": word,
            "step": pair.step,
            "sd_checkpoint": pair.provenance.get("model_hash"),
            "sd_checkpoint_name": pair.provenance.get("model"),
        }
    return base64.b64encode(json.dumps(content).encode()).decode()


def _numbers(vectors: Tensor) -> dict[str, Any]:
    """Every number with the fewest digits that give the same fp32 number again."""
    rows = vectors.detach().float().cpu().numpy()
    return {"TORCHTENSOR": [[_short(number) for number in row] for row in rows]}


def _short(number: np.float32) -> float:
    short = float(str(number))
    return short if np.float32(short) == number else float(number)


def read_card(path: Path) -> EmbeddingPair:
    """The pair in a card, or the one embedding in a PNG of the WebUI's own.

    Raises DamagedCardError for the picture of a card that has lost what it held, FileError for any other picture.
    """
    where = shown(path.name)
    content = read_limited(path)
    text = png_text(content, where, _KEYS) if kind_of(content) == "png" else {}
    hidden = None if POSITIVE_KEY in text else json_in_pixels(content, where)
    if POSITIVE_KEY not in text and hidden is None:
        raise _why_not(content, where)
    positive = embedding_in_json(hidden or _decoded(text[POSITIVE_KEY], where), where, path.stem)
    about = _about(text.get(ABOUT_KEY, "{}"), where)
    pair = EmbeddingPair(positive.name, positive.vectors, None, positive.step or 0, dict(positive.provenance))
    if about.get("format") == CARD_FORMAT and isinstance(about.get("name"), str):
        pair.name = clean_text(about["name"])
        if isinstance(about.get("about"), dict):
            pair.provenance = plain_text({**pair.provenance, **about["about"]})
        pair.step = about["step"] if type(about.get("step")) is int and 0 <= about["step"] < 10**9 else pair.step
        if NEGATIVE_KEY in text:
            pair.negative = embedding_in_json(_decoded(text[NEGATIVE_KEY], where), where, path.stem).vectors
    _check_halves(pair, where)
    return pair


def name_in_card(path: Path) -> str:
    """The word that the WebUI reads in a card, also in one that is refused here; its own file's name where there is
    none, as in SDXL's. Raises FileError where nobody could read it."""
    where, content = shown(path.name), read_limited(path)
    text = png_text(content, where, _KEYS) if kind_of(content) == "png" else {}
    try:
        code = text.get(POSITIVE_KEY)
        hidden = json_in_pixels(content, where) if code is None else _decoded(code, where)
        found = json.loads(decoded_json(hidden or b""))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{where} is damaged: the embedding in it cannot be decoded.") from error
    name = found.get("name") if isinstance(found, dict) else None
    return clean_text(name) if isinstance(name, str) and name else path.stem


def _check_halves(pair: EmbeddingPair, where: str) -> None:
    if pair.negative is not None and widths_of(pair.positive) != widths_of(pair.negative):
        raise FileError(f"{where} is damaged: its two halves are not for the same kind of model.")
    if pair.provenance.get("pair", "") not in ("", pair_id(pair)):
        raise FileError(f"{where} is damaged: what it holds is not what was written into it.")


def holds_embedding(path: Path) -> bool:
    """Whether a picture without a text of the WebUI's has an embedding in its pixels."""
    try:
        return json_in_pixels(read_limited(path), shown(path.name)) is not None
    except FileError:
        return False


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text)  # other programs break it into lines
    except (binascii.Error, ValueError) as error:
        raise FileError(f"{where} is damaged: the embedding in it cannot be decoded.") from error


def _about(text: str, where: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{where} is damaged: what it says about itself is not JSON.") from error
    return content if isinstance(content, dict) else {}


def _why_not(content: bytes, where: str) -> FileError:
    """Tells a card that a website has re-written from a picture that never was one."""
    try:
        with (
            room_for_metadata(),
            warnings.catch_warnings(),
            Image.open(io.BytesIO(content), formats=formats()) as picture,
        ):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if picture.width * picture.height > _MOST_PIXELS:
                return FileError(f"{where} is too large a picture for a card.")
            pair = read_beads(picture)
    except Exception:  # Pillow's decoders raise nearly anything on damaged bytes
        return FileError(f"{where} is not a card, or not a picture.")
    if pair is None:
        return FileError(f"{where} holds no embedding; it is a picture only.")
    return DamagedCardError(
        f"{where} was a DreamArtist card (pair {pair}...), but what it held was removed when it was saved or sent as "
        "another picture; ask for the PNG file itself, for example in a .zip."
    )
