"""A concept without a drawing gets one, when somebody asks for it: in a thread of its own, in the model's turn."""

from __future__ import annotations

import logging
import threading

from ...engine.embedding import EmbeddingPair
from ...engine.errors import DreamArtistError, SettingError, StoppedError
from ...engine.names import negative_name
from ...evaluation.pictures import Batch
from ...evaluation.studio import studio_of
from ...files.concepts import thumbnails
from ...files.concepts.host_cards import keep_card_picture
from ...files.concepts.index import Concept, is_name, vectors_key
from ...files.storage import load_pair
from ..training.job import new_task
from ..training.jobs import Desk
from ..training.previews import PREVIEW_GUIDANCE, PREVIEW_STEPS, png_bytes
from ..training.sentences import sentence

logger = logging.getLogger(__name__)

SEED = 1


class Drawer:
    """One drawing at a time; `key` is that of the concept that is drawn now."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.key = ""
        self.finished = 0
        self.problem = ("", "")  # the concept's key, and what went wrong with the last one
        self._lock = threading.Lock()

    def begin(self, concept: Concept) -> threading.Thread:
        """Raises SettingError where it cannot be drawn, or another one is; FileError for files that cannot be read."""
        if not is_name(concept.name):
            raise SettingError(f"{concept.name} cannot be typed as one word; rename it first.")
        pair = load_pair(self.desk.workplace.embeddings, concept.name)
        with self._lock:
            if self.key:
                raise SettingError("another concept is being drawn; wait until that is done.")
            self.key, self.problem = concept.key, ("", "")
        thread = threading.Thread(target=self._run, args=(concept, pair), name="dreamartist draws", daemon=True)
        thread.start()
        return thread

    def _run(self, concept: Concept, pair: EmbeddingPair) -> None:
        try:
            self._draw(concept, pair)
        except DreamArtistError as error:
            self.problem = concept.key, sentence(error)
        except Exception as error:
            logger.exception("drawing %s failed", concept.name)
            self.problem = concept.key, f"Drawing failed: {type(error).__name__}: {error}."
        self.finished += 1
        self.key = ""

    def _draw(self, concept: Concept, pair: EmbeddingPair) -> None:
        workplace = self.desk.workplace

        def check() -> None:
            if workplace.interrupted():
                raise StoppedError("stopped.")

        with workplace.gpu(new_task()):
            studio = studio_of(workplace.host())
            (picture,) = studio.draw(batch_of(pair), check)
        content = png_bytes(picture)
        thumbnails.keep(workplace.embeddings, vectors_key(pair.positive), content)
        if workplace.has_cards and concept.positive is not None:
            keep_card_picture(concept.positive.path, content)


def batch_of(pair: EmbeddingPair) -> Batch:
    """The word alone, with its negative where it has one: as a training draws it."""
    negative = "" if pair.negative is None else negative_name(pair.name)
    return Batch((pair.name,), (negative,), (SEED,), PREVIEW_GUIDANCE, PREVIEW_STEPS, pair.named())
