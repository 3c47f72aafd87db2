"""Where a training happens inside SD.Next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..webuis.workplace import Lookup, WebUIWorkplace
from .embeddings import database, reload_embeddings
from .host import SDNextHost
from .model import loaded_pipeline, name_of

END_OF_WORD = "</w>"  # of the entries of CLIP's vocabulary that end a word


class SDNextWorkplace(WebUIWorkplace):
    """SD.Next loads its checkpoint when it starts, unless a setting leaves that to the first picture."""

    def begin(self, task: str) -> None:
        from modules import shared

        shared.state.begin("DreamArtist", task_id=task)

    def is_in_memory(self) -> bool:
        return loaded_pipeline() is not None

    def host(self) -> SDNextHost:
        return SDNextHost()

    def model_name(self) -> str:
        pipeline = loaded_pipeline()
        return "" if pipeline is None else name_of(pipeline)

    def chosen_model(self) -> str:
        """SD.Next loads what is chosen at once, in its queue."""
        from modules import sd_checkpoint, shared

        loaded = getattr(loaded_pipeline(), "sd_checkpoint_info", None)
        chosen = sd_checkpoint.checkpoint_aliases.get(shared.opts.sd_model_checkpoint)
        is_other = loaded is not None and chosen is not None and chosen.filename != loaded.filename
        return str(chosen.model_name) if is_other else ""

    def learned(self) -> None:
        reload_embeddings()

    def lookups(self) -> Sequence[Lookup]:
        """Words are tokens of their own here, see `clash`."""
        return ()

    def clash(self, name: str) -> str:
        """Each vector of a word is a token, `name`, `name_1` and so on, and upper and lower case are apart.

        A word goes on for as long as there is a token with the next number; and one that is a token of the model
        itself, which is not the same as a word of it, gets no vector.
        """
        if any(_place(name, each) is not None for each in _tokenizers()):
            return f'SD.Next loads no embedding "{name}", as its model has a token "{name}"; choose another name.'
        found = database()
        for word, embedding in ({} if found is None else found.word_embeddings).items():
            tokens = embedding.tokens or [word]
            if name in (*tokens[1:], f"{word}_{len(tokens)}"):
                return f'prompts would take "{name}" for a part of the embedding "{word}"; choose another name.'
            if re.fullmatch(rf"{re.escape(name)}_[1-9]\d?", word):
                return f'prompts would take the embedding "{word}" for a part of "{name}"; choose another name.'
            if name == word and not self._is_ours(Path(str(embedding.filename))):
                return f'there is an embedding "{word}" already: {embedding.filename}.'
        return ""

    def is_one_token(self, name: str) -> bool:
        return any(_place(name.lower() + END_OF_WORD, each) is not None for each in _tokenizers())


def _tokenizers() -> list[Any]:
    pipeline = loaded_pipeline()
    found = [getattr(pipeline, each, None) for each in ("tokenizer", "tokenizer_2")]
    return [each for each in found if each is not None]


def _place(token: str, tokenizer: Any) -> int | None:
    """In the vocabulary, apart from what was learned since."""
    place = tokenizer.get_vocab().get(token)
    return place if place is not None and place < tokenizer.vocab_size else None
