"""What is learned from: pictures, their masks and captions, and the prompts they are shown with."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from .errors import PictureError, SettingError

logger = logging.getLogger(__name__)

MIN_SIDE = 32
MAX_MEGAPIXELS = 100
MAX_CAPTION_BYTES = 10_000
WHITE = (255, 255, 255)
NEUTRAL = (128, 128, 128)  # weight 1 in a mask
MASK_SUFFIX = "_att"

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
_PLACEHOLDERS = re.compile(r"\[(name|filewords)\]")
_GLUED_NAME = re.compile(r"[\w-]\[name\]|\[name\][\w-]")  # the tokenizer would not find the word in it
_pillow_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class TrainingPicture:
    """`pixels` (3, H, W) in [-1, 1]; `mask` (H, W) greys in 0..255 or None; `source` is the file's name."""

    pixels: Tensor
    mask: Tensor | None
    caption: str
    source: str


def load_picture(path: Path, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Return the picture upright, in 8-bit RGB, with whatever is transparent laid on `background`.

    Colour profiles are ignored. Raises PictureError for anything that is not one still picture of usable size.
    """
    _check_file(path)
    with _strict_pillow():
        with _explained(path):
            picture = Image.open(path, formats=_formats())
        with picture:
            _check_header(picture, path)
            with _explained(path):
                flat = _eight_bit(_upright(picture))
    return _opaque(flat, background, path)


def fit(
    picture: Image.Image, width: int, height: int, resample: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """Return the picture scaled and cropped about its centre to exactly width x height, without stretching."""
    return ImageOps.fit(picture, (width, height), resample)


def to_pixels(picture: Image.Image) -> Tensor:
    """Return the picture as float32 (3, H, W) in [-1, 1]."""
    values = torch.from_numpy(np.array(picture.convert("RGB")))  # (H, W, 3)
    return values.permute(2, 0, 1).to(torch.float32).div(127.5).sub(1).contiguous()


def find_mask(path: Path) -> Path | None:
    """Return the mask that lies beside a picture, `cat_att.png` for `cat.jpg`, or None."""
    endings = dict.fromkeys((".png", path.suffix, *_MASK_ENDINGS))
    names = [path.stem + MASK_SUFFIX + form for ending in endings for form in (ending, ending.upper())]
    return next((mask for mask in map(path.with_name, names) if _is_file(mask)), None)


def load_mask(path: Path, width: int, height: int, picture_size: tuple[int, int] | None = None) -> Tensor:
    """Return a mask as greys (height, width) in 0..255, cropped as `fit` crops; transparent parts count as mid-grey.

    Raises PictureError as `load_picture` does, and when the mask's proportions are not those of `picture_size`
    (width, height), since it would then lie beside what it was painted for.
    """
    mask = load_picture(path, background=NEUTRAL)
    if picture_size and abs(mask.width * picture_size[1] / (mask.height * picture_size[0]) - 1) > 0.02:
        raise PictureError(
            f"The mask {_shown(path)} is {mask.width}x{mask.height} and its picture {picture_size[0]}x"
            f"{picture_size[1]}; give both the same proportions."
        )
    # Lanczos would overshoot at painted edges.
    grey = fit(mask.convert("L"), width, height, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(grey, dtype=np.float32))


def caption_for(path: Path) -> str:
    """Return the text of `cat.txt` beside `cat.png` on one line, or "" where there is none.

    Raises PictureError for a caption above 10 kB, or one that is not UTF-8.
    """
    caption = path.with_suffix(".txt")
    if caption == path or not _is_file(caption):
        return ""
    try:
        with caption.open("rb") as stream:
            text = stream.read(MAX_CAPTION_BYTES + 1)
    except OSError as error:
        raise PictureError(f"The caption {_shown(caption)} cannot be read; check its permissions.") from error
    if len(text) > MAX_CAPTION_BYTES:
        raise PictureError(f"The caption {_shown(caption)} is longer than {MAX_CAPTION_BYTES // 1000} kB; shorten it.")
    try:
        return " ".join(text.decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise PictureError(f"The caption {_shown(caption)} is not plain text; save it as UTF-8.") from error


def load_pictures(
    paths: Sequence[Path], width: int, height: int, with_masks: bool = True, with_captions: bool = True
) -> list[TrainingPicture]:
    """Load pictures with their masks and captions, in the order given.

    A file given twice is kept once, and a file that is another's mask is not taken for a picture.
    Raises PictureError when one cannot be used, or when there is none.
    """
    distinct: dict[str, Path] = {}
    for path in paths:
        _check_file(path)
        distinct.setdefault(os.path.realpath(path), path)
    masks = {path: find_mask(path) for path in distinct.values()}
    taken = {os.path.realpath(mask) for mask in masks.values() if mask}
    pictures = [
        _training_picture(path, masks[path] if with_masks else None, width, height, with_captions)
        for key, path in distinct.items()
        if key not in taken
    ]
    if not pictures:
        raise PictureError("There is no picture to learn from; choose at least one.")
    return pictures


def fingerprint(pictures: Sequence[TrainingPicture]) -> str:
    """Return a SHA-256 in hex over pixels, masks and captions, in order: it changes when any of them does."""
    digest = hashlib.sha256()
    for picture in pictures:
        for values in (picture.pixels, picture.mask):
            digest.update(f"{None if values is None else tuple(values.shape)};".encode())
            if values is not None:
                digest.update(values.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())
        caption = picture.caption.encode("utf-8")
        digest.update(f"{len(caption)};".encode() + caption)
    return digest.hexdigest()


def check_template(template: str, what: str = "template") -> str:
    """Return the template, or raise SettingError when it has no place for the concept's name."""
    if "[name]" not in template:
        raise SettingError(f'{what} must contain [name], got "{template[:80]}".')
    if _GLUED_NAME.search(template):
        raise SettingError(f'{what} must have [name] as a word of its own, got "{template[:80]}".')
    return template


def check_templates(templates: Sequence[str], what: str = "template") -> tuple[str, ...]:
    """Return the templates without blank lines; raise SettingError when none is left or one has no [name]."""
    checked = tuple(check_template(line.strip(), what) for line in templates if line.strip())
    if not checked:
        raise SettingError(f"{what} must hold at least one prompt that contains [name], got none.")
    return checked


def fill(template: str, name: str, filewords: str = "") -> str:
    """Return the prompt: [name] and [filewords] replaced once each place; raises SettingError as `check_template`."""
    words = {"name": name, "filewords": filewords}
    prompt = _PLACEHOLDERS.sub(lambda found: words[found[1]], check_template(template))
    return prompt if filewords else prompt.strip(" ,")


def _training_picture(path: Path, mask: Path | None, width: int, height: int, captioned: bool) -> TrainingPicture:
    picture = load_picture(path)
    pixels = to_pixels(fit(picture, width, height))
    greys = load_mask(mask, width, height, picture.size) if mask else None
    return TrainingPicture(pixels, greys, caption_for(path) if captioned else "", path.name)


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: no file can have such a name
        raise PictureError(f"There is no picture {_shown(path)}; check its name and folder.") from error
    except OSError as error:
        raise PictureError(f"{_shown(path)} cannot be reached; check its name and permissions.") from error
    if stat.S_ISDIR(status.st_mode):
        raise PictureError(f"{_shown(path)} is a folder; choose the picture files in it.")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError(f"{_shown(path)} is not an ordinary file; choose a picture file.")
    if status.st_size == 0:
        raise PictureError(f"{_shown(path)} is empty; copy it again or choose another picture.")


def _check_header(picture: Image.Image, path: Path) -> None:
    width, height = picture.size
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise PictureError(
            f"{_shown(path)} is too large at {width}x{height}; scale it down to {MAX_MEGAPIXELS} megapixels or fewer."
        )
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            f"{_shown(path)} is too small at {width}x{height}; choose one with at least {MIN_SIDE} pixels on each side."
        )
    with _explained(path):
        several = getattr(picture, "is_animated", False)
    if several and picture.format != "MPO":  # phones append previews and depth maps to a JPEG: MPO
        raise PictureError(f"{_shown(path)} holds several pictures or an animation; save one of them as PNG.")


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


def _opaque(picture: Image.Image, background: tuple[int, int, int], path: Path) -> Image.Image:
    picture.info.clear()  # a rotation or profile left here would be applied again by whoever saves the picture
    if picture.mode == "RGB":
        return picture
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (0, 0):
        raise PictureError(f"{_shown(path)} is fully transparent; choose a picture that shows something.")
    canvas = Image.new("RGB", picture.size, background)
    canvas.paste(picture, mask=alpha)
    return canvas


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Pillow refuses files that are cut short, and warns of nothing; the host's own choice is put back."""
    with _pillow_lock, warnings.catch_warnings():
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
            f"{_shown(path)} is too large; scale it down to {MAX_MEGAPIXELS} megapixels or fewer."
        ) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{_shown(path)} cannot be opened as a picture; save it as PNG or JPEG.") from error
    except PermissionError as error:
        raise PictureError(f"{_shown(path)} may not be read; check its permissions.") from error
    except MemoryError as error:
        raise PictureError(f"{_shown(path)} does not fit into memory; scale it down.") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        raise PictureError(f"{_shown(path)} is damaged or cut short; copy it again or save it anew as PNG.") from error


def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]  # AVIF: by Pillow or by a plugin of the host's


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system
        return False


def _shown(path: Path) -> str:
    name = "".join(c if c.isprintable() else "?" for c in path.name or str(path))
    return f'"{name}"' if len(name) <= 80 else f'"{name[:50]}...{name[-20:]}"'
