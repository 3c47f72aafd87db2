"""Pictures drawn once and kept on disk, by everything that went into them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..engine.errors import FileError
from ..engine.host import Vectors
from ..files.storage import write_atomically
from .grids import grid

BATCH = 8
FORMAT = 1  # of the keys: another number forgets every picture that was kept


@dataclass(frozen=True)
class Batch:
    """Pictures to be drawn together: a prompt, a negative prompt and a seed each, the rest in common.

    `start` and `strength` are img2img's: the picture to start from, and how much of the noise it gets (0..1).
    """

    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    guidance: float
    steps: int
    embeddings: Mapping[str, Vectors] = field(default_factory=dict)
    start: Image.Image | None = None
    strength: float = 1.0

    def key(self, model: str) -> str:
        """The same for the same pictures: a digest of the model's identity and of all that is above."""
        about = {
            "format": FORMAT,
            "model": model,
            "prompts": self.prompts,
            "negative_prompts": self.negative_prompts,
            "seeds": self.seeds,
            "guidance": self.guidance,
            "steps": self.steps,
            "embeddings": {word: _digest_of(vectors) for word, vectors in self.embeddings.items()},
            "start": None if self.start is None else hashlib.sha256(self.start.tobytes()).hexdigest(),
            "strength": self.strength,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]

    def parts(self, most: int = BATCH) -> Iterator[Batch]:
        """The same pictures in batches of at most `most`."""
        for first in range(0, len(self.seeds), most):
            part = slice(first, first + most)
            yield replace(
                self,
                prompts=self.prompts[part],
                negative_prompts=self.negative_prompts[part],
                seeds=self.seeds[part],
            )


def _digest_of(vectors: Vectors) -> str:
    digest = hashlib.sha256()
    for encoder, tensor in sorted(vectors.items()):
        digest.update(f"{encoder} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


DrawBatch = Callable[[Batch], list[Image.Image]]


@dataclass(frozen=True)
class Studio:
    """What draws: `draw` calls its second argument after each step. `identity` is the same for the same pictures,
    `name` is the model's, `most` the number of pictures to draw at once."""

    draw: Callable[[Batch, Callable[[], object]], list[Image.Image]]
    identity: str
    name: str
    most: int = BATCH


class Album:
    """Draws a batch, or finds it on disk: a study that was killed goes on with the pictures it had.

    A batch is kept whole, as one strip: its pictures can depend in the last bit on what they were drawn beside.
    """

    def __init__(self, folder: Path, model: str, draw: DrawBatch, most: int = BATCH) -> None:
        """most: pictures to be drawn at once"""
        self.folder, self.model, self.draw, self.most = folder, model, draw, most

    def __call__(self, batch: Batch) -> list[Image.Image]:
        return [picture for part in batch.parts(self.most) for picture in self._part(part)]

    def missing(self, batch: Batch) -> int:
        """How many of the pictures are not on disk."""
        return sum(len(part.seeds) for part in batch.parts(self.most) if not self._path(part).exists())

    def forget_oldest(self, most: int) -> None:
        """Keep the `most` strips that were drawn last."""
        strips = sorted(self.folder.glob("??/*.png"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in strips[most:]:
            path.unlink(missing_ok=True)

    def _path(self, part: Batch) -> Path:
        key = part.key(self.model)
        return self.folder / key[:2] / f"{key}.png"

    def _part(self, part: Batch) -> list[Image.Image]:
        path = self._path(part)
        if path.exists():
            kept = _cut(path, len(part.seeds))
            if kept is not None:
                return kept
        pictures = self.draw(part)
        write_atomically(path, _png_bytes(grid([pictures])))
        return pictures


def _png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _cut(path: Path, count: int) -> list[Image.Image] | None:
    """The pictures of a strip; None if it is damaged, so that it is drawn again."""
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            strip = opened.convert("RGB")
    except (UnidentifiedImageError, ValueError, SyntaxError):
        return None
    except OSError as error:
        if error.errno is None:  # Pillow's word for a file cut short
            return None
        raise FileError(f"{path.name} could not be read: {error.strerror}.") from error
    width = strip.width // count
    return [strip.crop((index * width, 0, (index + 1) * width, strip.height)) for index in range(count)]
