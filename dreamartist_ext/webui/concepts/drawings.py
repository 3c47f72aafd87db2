"""A concept without a drawing gets one, when somebody asks for it: in a thread of its own, in the model's turn."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ...engine.embedding import EmbeddingPair
from ...engine.errors import SettingError
from ...engine.names import negative_name
from ...evaluation.pictures import Batch
from ...evaluation.studio import studio_of
from ...files.concepts import thumbnails
from ...files.concepts.host_cards import keep_card_picture
from ...files.concepts.index import Concept, is_name, vectors_key
from ...files.storage import load_pair
from ..one_at_a_time import OneAtATime, Work, finish, in_background
from ..training.previews import PREVIEW_GUIDANCE, PREVIEW_STEPS, png_bytes

SEED = 1


@dataclass
class Drawing(Work):
    concept: Concept
    pair: EmbeddingPair
    number: int  # counts from 1


class Drawer(OneAtATime[Drawing]):
    """One drawing at a time."""

    doing = "being drawn"

    @property
    def key(self) -> str:
        """Of the concept that is drawn now."""
        return "" if self.current is None or self.current.is_over else self.current.concept.key

    @property
    def finished(self) -> int:
        """How many are over, well or not."""
        return 0 if self.current is None else self.current.number - (not self.current.is_over)

    @property
    def problem(self) -> tuple[str, str]:
        """The concept's key, and what went wrong with the last one."""
        last = self.current
        return ("", "") if last is None or not last.is_over or not last.message else (last.concept.key, last.message)

    def begin(self, concept: Concept) -> threading.Thread:
        """Raises SettingError where it cannot be drawn, or another one is; FileError for files that cannot be read."""
        if not is_name(concept.name):
            raise SettingError(f"{concept.name} cannot be typed as one word; rename it first.")
        pair = load_pair(self.desk.workplace.embeddings, concept.name)
        drawing = Drawing(concept, pair, self.finished + 1)
        self._take(drawing, lambda _: SettingError("another concept is being drawn; wait until that is done."))
        return in_background(self._run, drawing, "draws")

    def _run(self, drawing: Drawing) -> None:
        def draw() -> str:
            with self.desk.workplace.gpu(drawing.task):
                self._draw(drawing)
            return ""

        finish(drawing, draw, "Drawing", "Stopped.")

    def _draw(self, drawing: Drawing) -> None:
        workplace, pair = self.desk.workplace, drawing.pair
        studio = studio_of(workplace.host())
        (picture,) = studio.draw(batch_of(pair), lambda: self._check_wanted(drawing))
        content = png_bytes(picture)
        thumbnails.keep(workplace.embeddings, vectors_key(pair.positive), content)
        if workplace.has_cards and drawing.concept.positive is not None:
            keep_card_picture(drawing.concept.positive.path, content)


def batch_of(pair: EmbeddingPair) -> Batch:
    """The word alone, with its negative where it has one: as a training draws it."""
    negative = "" if pair.negative is None else negative_name(pair.name)
    return Batch((pair.name,), (negative,), (SEED,), PREVIEW_GUIDANCE, PREVIEW_STEPS, pair.named())
