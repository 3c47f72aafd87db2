"""Files that users bring: pictures, masks and captions, read with care and refused in one sentence."""

from __future__ import annotations

import logging
import re
import stat
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from ..engine.colours import WHITE, Colour
from ..engine.errors import PictureError
from ..engine.prompts import is_one_line
from .below import is_file
from .bounded import read_at_most

logger = logging.getLogger(__name__)

MIN_SIDE = 32
MAX_MEGAPIXELS = 100
MAX_CAPTION_BYTES = 10_000
MAX_METADATA_BYTES = 64 * 2**20  # of profiles and texts in a PNG file, unpacked; Pillow alone takes 1 MiB

NEUTRAL = (128, 128, 128)  # weight 1 in a mask
MASK_SUFFIX = "_att"
_MOST_STEM = 100  # bytes, so that a number, _att and an ending fit into what any file system takes
_IN_NO_NAME = frozenset('<>:"/\\|?*\t')
_COUNTED = re.compile(r"[^\W\d]+[- ]?\d+")  # "picture1", "IMG 1234"
_LEADING_NUMBERS = re.compile(r"(\d+[-_. ]+)*")  # of "00012-1-a cat.png"

# Opened by name, so that nothing else is tried: some of Pillow's readers start other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM")
_MASK_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff")
_ALPHA_MODES = frozenset(["RGBA", "LA", "PA", "RGBa", "La"])
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_pillow_lock = threading.RLock()
_METADATA_LIMIT = re.compile("MAX_TEXT_(CHUNK|MEMORY)")  # in what Pillow says


def load_picture(path: Path, background: Colour = WHITE) -> Image.Image:
    """Return the picture upright, in 8-bit RGB, with whatever is transparent laid on `background`.

    Colour profiles are ignored. Raises PictureError for anything that is not one still picture of usable size.
    """
    return load_with_alpha(path, background)[0]


def load_with_alpha(path: Path, background: Colour = WHITE) -> tuple[Image.Image, Image.Image | None]:
    """As `load_picture`, with the opacity (mode L) that the picture had, or None where it had none."""
    check_file(path)
    with _strict_pillow():
        with _explained(path):
            picture = Image.open(path, formats=formats())
        with picture:
            _check_header(picture, path)
            with _explained(path):
                flat = _eight_bit(_upright(picture))
    return _opaque(flat, background, path)


def to_pixels(picture: Image.Image) -> Tensor:
    """Return the picture as float32 (3, H, W) in [-1, 1]."""
    values = torch.from_numpy(np.array(picture.convert("RGB")))  # (H, W, 3)
    return values.permute(2, 0, 1).to(torch.float32).div(127.5).sub(1).contiguous()


def find_mask(path: Path) -> Path | None:
    """Return the mask that lies beside a picture, `cat_att.png` for `cat.jpg`, or None."""
    endings = dict.fromkeys((".png", path.suffix, *_MASK_ENDINGS))
    names = [path.stem + MASK_SUFFIX + form for ending in endings for form in (ending, ending.upper())]
    return next((mask for mask in map(path.with_name, names) if is_file(mask)), None)


def caption_for(path: Path) -> str:
    """Return the text of `cat.txt` beside `cat.png` on one line, or ""; raises as `read_caption`."""
    caption = find_caption(path)
    return read_caption(caption) if caption else ""


def find_caption(path: Path) -> Path | None:
    """Return the caption that lies beside a picture, `cat.txt` for `cat.jpg`, or None."""
    caption = path.with_suffix(".txt")
    return caption if caption != path and is_file(caption) else None


def read_caption(caption: Path) -> str:
    """Return the text of a caption's file on one line.

    Raises PictureError for a caption above 10 kB, or one that is no plain text in UTF-8.
    """
    try:
        text = read_at_most(caption, MAX_CAPTION_BYTES)
    except OSError as error:
        raise PictureError(f"The caption {shown_name(caption)} cannot be read; check its permissions.") from error
    if text is None:
        raise PictureError(
            f"The caption {shown_name(caption)} is longer than {MAX_CAPTION_BYTES // 1000} kB; shorten it."
        )
    try:
        line = " ".join(text.decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise PictureError(f"The caption {shown_name(caption)} is not plain text; save it as UTF-8.") from error
    if not is_one_line(line):  # UTF-16 without a mark is UTF-8 with a zero byte behind each letter
        raise PictureError(
            f"The caption {shown_name(caption)} holds control characters; save it as plain text in UTF-8."
        )
    return line


def kept_stem(name: str) -> str:
    """The name of a picture as that of its copy on any system, without an ending: what it says is a caption too.

    The same for composed and decomposed letters; a character that some system takes in no name is a _.
    """
    letters = unicodedata.normalize("NFC", Path(name).stem)
    kept = "".join(c if is_one_line(c) and c not in _IN_NO_NAME else "_" for c in letters)
    return kept.encode()[:_MOST_STEM].decode(errors="ignore").strip(". ")


def caption_of(path: Path, otherwise: str = "") -> str:
    """The caption for a template that asks for one: the text of `cat.txt`, `otherwise`, or what the file's name says.

    Raises PictureError as `read_caption`, and for a name without a word, such as 00012.png.
    """
    if written := find_caption(path):
        return read_caption(written)
    caption = otherwise.strip() or named_caption(path)
    if not caption:
        beside = shown_name(path.with_suffix(".txt"))
        raise PictureError(
            f"{shown_name(path)} has no caption for [filewords]; write one into {beside} beside it, or give one in the "
            "setting caption."
        )
    return caption


def named_caption(path: Path) -> str:
    """What the name of a picture says, without leading numbers; "" where it has no word."""
    words = _LEADING_NUMBERS.sub("", path.stem, count=1).replace("_", " ")
    printable = "".join(c if is_one_line(c) else " " for c in words)
    says_nothing = _COUNTED.fullmatch(printable) or not any(c.isalpha() for c in printable)
    return "" if says_nothing else " ".join(printable.split())


def check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: no file can have such a name
        raise PictureError(f"There is no picture {shown_name(path)}; check its name and folder.") from error
    except OSError as error:
        raise PictureError(f"{shown_name(path)} cannot be reached; check its name and permissions.") from error
    if stat.S_ISDIR(status.st_mode):
        raise PictureError(f"{shown_name(path)} is a folder; choose the picture files in it.")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError(f"{shown_name(path)} is not an ordinary file; choose a picture file.")
    if status.st_size == 0:
        raise PictureError(f"{shown_name(path)} is empty; copy it again or choose another picture.")


def _check_header(picture: Image.Image, path: Path) -> None:
    width, height = picture.size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise PictureError(
            f"{shown_name(path)} is too large at {width}x{height}; scale it down to {MAX_MEGAPIXELS} megapixels or "
            "fewer."
        )
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            f"{shown_name(path)} is too small at {width}x{height}; choose one with at least {MIN_SIDE} pixels on each "
            "side."
        )
    with _explained(path):
        several = getattr(picture, "is_animated", False)
    if several and picture.format != "MPO":  # phones append previews and depth maps to a JPEG: MPO
        raise PictureError(f"{shown_name(path)} holds several pictures or an animation; save one of them as PNG.")


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # first: some formats hold their metadata behind the pixels
    if picture.format == "TIFF":  # turned by Pillow, which before version 10 leaves the tag as it was
        return picture
    try:
        turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception as error:  # Pillow raises nearly anything here, and the picture is whole without its metadata
        logger.debug("Damaged metadata is ignored: %s", error)
        return picture
    return picture if turn is None else picture.transpose(turn)


def _eight_bit(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Image.fromarray(_deep_grey(picture)).convert("RGB")
    transparent = picture.mode in _ALPHA_MODES or "transparency" in picture.info
    return picture.convert("RGBA" if transparent else "RGB")


def _deep_grey(picture: Image.Image) -> np.ndarray:
    """Greys of 16 or 32 bits as uint8 (H, W): by bit depth where it is known, otherwise by the range they span."""
    sixteen_bit = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))
    tops = (65535,) if sixteen_bit else (255, 65535) if picture.mode == "I" else (1, 255, 65535)
    values = np.array(picture, dtype=np.float32)
    values[~np.isfinite(values)] = 0
    low, high = float(values.min()), float(values.max())
    top: float | None = next((top for top in tops if low >= 0 and high <= top), None)
    if top is None:
        values -= low
        top = (high - low) or 1.0
    return np.rint(values * (255 / top)).clip(0, 255).astype(np.uint8)


def _opaque(picture: Image.Image, background: Colour, path: Path) -> tuple[Image.Image, Image.Image | None]:
    picture.info.clear()  # a rotation or profile left here would be applied again by whoever saves the picture
    if picture.mode == "RGB":
        return picture, None
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (0, 0):
        raise PictureError(f"{shown_name(path)} is fully transparent; choose a picture that shows something.")
    canvas = Image.new("RGB", picture.size, background)
    canvas.paste(picture, mask=alpha)
    return canvas, alpha


@contextmanager
def room_for_metadata() -> Iterator[None]:
    """Pillow opens PNG files with a large colour profile or long texts too; the host's own limits are put back."""
    with _pillow_lock:
        limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
        PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_METADATA_BYTES
        try:
            yield
        finally:
            PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = limits


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Pillow refuses files that are cut short, and warns of nothing; the host's own choice is put back."""
    with room_for_metadata(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lenient = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = lenient


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever Pillow raises becomes a PictureError that names the file."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{shown_name(path)} is too large; scale it down to {MAX_MEGAPIXELS} megapixels or fewer."
        ) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{shown_name(path)} cannot be opened as a picture; save it as PNG or JPEG.") from error
    except PermissionError as error:
        raise PictureError(f"{shown_name(path)} may not be read; check its permissions.") from error
    except MemoryError as error:
        raise PictureError(f"{shown_name(path)} does not fit into memory; scale it down.") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        if _METADATA_LIMIT.search(str(error)):
            raise PictureError(
                f"{shown_name(path)} holds more than {MAX_METADATA_BYTES // 2**20} MiB of metadata; save it anew "
                "without its metadata."
            ) from error
        raise PictureError(
            f"{shown_name(path)} is damaged or cut short; copy it again or save it anew as PNG."
        ) from error


def formats() -> list[str]:
    """Of pictures that are opened, by Pillow's names."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]  # AVIF: by Pillow or by a plugin of the host's


def shown_name(path: Path) -> str:
    name = "".join(c if c.isprintable() else "?" for c in path.name or str(path))
    return f'"{name}"' if len(name) <= 80 else f'"{name[:50]}...{name[-20:]}"'
