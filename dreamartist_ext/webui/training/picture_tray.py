"""The pictures that the page holds, as its script sends them: JSON with a data URL for each, its mask and caption."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from ...engine.errors import PictureError
from ...files.picture_files import MASK_SUFFIX, kept_stem, load_picture
from ..sent import items_sent

MOST_PICTURES = 100
UNPAINTED = 64  # the grey of what was not painted over: half of the weight that it has without a mask
_SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "avif": ".avif", "bmp": ".bmp", "gif": ".gif"}
_DATA_URL = re.compile(r"data:image/([a-z]+);base64,", re.ASCII)


def saved_pictures(tray: Any, folder: Path) -> list[Path]:
    """Write every picture of the tray into a folder, with its mask and caption beside it; raises PictureError."""
    return [_saved(item, number, folder) for number, item in enumerate(items_of(tray))]


def items_of(tray: Any) -> list[dict[str, Any]]:
    """What the page's script sent; raises PictureError for anything else."""
    try:
        items = items_sent(tray)
    except ValueError as error:
        raise PictureError("The pictures did not arrive whole; drop them again.") from error
    if len(items) > MOST_PICTURES:
        raise PictureError(f"{len(items)} pictures are too many at once; {MOST_PICTURES} are the most.")
    return items


def _saved(item: dict[str, Any], number: int, folder: Path) -> Path:
    name = str(item.get("name") or "picture")
    stem = f"{number:04d}-{kept_stem(name) or 'picture'}".removesuffix(MASK_SUFFIX)
    content, suffix = _content(item.get("data"), name)
    path = folder / f"{stem}{suffix}"
    path.write_bytes(content)
    if item.get("mask"):
        _save_mask(item["mask"], path)
    elif item.get("mask_file"):
        content, suffix = _content(item["mask_file"], f"the mask of {name}")
        path.with_name(f"{stem}{MASK_SUFFIX}{suffix}").write_bytes(content)
    if caption := " ".join(str(item.get("caption") or "").split()):
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def _save_mask(data: Any, picture: Path) -> None:
    """What was painted: opaque where the brush was."""
    painted = picture.with_name(f"{picture.stem}.painted")
    painted.write_bytes(_content(data, f"the mask of {picture.name}")[0])
    try:
        with Image.open(painted, formats=["PNG"]) as image:
            alpha = image.convert("RGBA").getchannel("A")
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise PictureError("The painted mask did not arrive whole; paint it again.") from error
    finally:
        painted.unlink()
    mask = alpha.resize(load_picture(picture).size).point(lambda opaque: 255 if opaque > 127 else UNPAINTED)
    mask.save(picture.with_name(f"{picture.stem}{MASK_SUFFIX}.png"))


def _content(data: Any, name: str) -> tuple[bytes, str]:
    head = _DATA_URL.match(data) if isinstance(data, str) else None
    if head is None or head[1] not in _SUFFIXES:
        raise PictureError(f'"{name[:80]}" did not arrive as a picture; drop it again, saved as PNG or JPEG.')
    try:
        return base64.b64decode(data[head.end() :], validate=True), _SUFFIXES[head[1]]
    except (binascii.Error, ValueError) as error:
        raise PictureError(f'"{name[:80]}" did not arrive whole; drop it again.') from error


def picture_item(path: Path, mask: Path | None, caption: str) -> dict[str, Any]:
    """A picture on disk, as the page's script takes it into the form again."""
    found = {"name": re.sub(r"^\d{3}-(?:\d{4}-)?", "", path.name), "data": _data_url(path), "caption": caption}
    return found | ({"mask_file": _data_url(mask)} if mask else {})


def _data_url(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".").replace("jpg", "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
