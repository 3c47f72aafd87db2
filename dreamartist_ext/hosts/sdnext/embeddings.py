"""The learned words that SD.Next has loaded: tokens behind the vocabulary, a token for each vector.

SD.Next's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from tokenizers import AddedToken, Tokenizer

from .model import loaded_pipeline

CONTENTS = ("ids_lookup", "word_embeddings", "skipped_embeddings")
ENCODERS = (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2"))


def database() -> Any:
    """Of the loaded model, or None."""
    return getattr(loaded_pipeline(), "embedding_db", None)


def reload_embeddings() -> None:
    """Let prompts find the files that are in the folder now, and no others.

    SD.Next itself only adds: a deleted word would go on working, and one that got fewer vectors would keep the rest of
    the old ones. It also empties its database before it reads the files, and a prompt in between would find no word: so
    another one is filled, and takes its place at once.
    """
    found = database()
    if found is None:
        return
    of_files = [each for each in found.word_embeddings.values() if each.filename]
    of_loras = {name: each for name, each in found.word_embeddings.items() if not each.filename}
    try:
        fresh = _read(found)
    except FileNotFoundError:  # SD.Next lists the folder and then looks at each file, of which one went meanwhile
        fresh = _read(found)
    fresh.word_embeddings = {**of_loras, **fresh.word_embeddings}
    for name in CONTENTS:
        setattr(found, name, getattr(fresh, name))
    _take_out(_tokens(of_files) - _tokens(fresh.word_embeddings.values()))
    _forget_encoded_prompts()


def _read(found: Any) -> Any:
    """Another database like this one, of the files as they are now."""
    fresh = copy.copy(found)
    for name in CONTENTS:
        setattr(fresh, name, {})
    fresh.load_textual_inversion_embeddings(force_reload=True)
    return fresh


def _tokens(embeddings: Iterable[Any]) -> set[str]:
    return {token for each in embeddings for token in each.tokens or ()}


def _take_out(gone: set[str]) -> None:
    """Take these tokens out of the tokenizers; the rows of those behind them move up.

    One that is a piece of the vocabulary has no row of its own, but words are cut at it as long as it is here.
    """
    pipeline = loaded_pipeline()
    for encoder_name, tokenizer_name in ENCODERS:
        encoder: Any = getattr(pipeline, encoder_name, None)
        tokenizer: Any = getattr(pipeline, tokenizer_name, None)
        if encoder is None or not hasattr(tokenizer, "backend_tokenizer"):
            continue
        table = encoder.get_input_embeddings().weight.data
        first = tokenizer.vocab_size
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        before = sorted(state["added_tokens"], key=itemgetter("id"))
        kept = [each for each in before if each["content"] not in gone and each["id"] < len(table)]
        if len(kept) == len(before):
            continue
        state["added_tokens"] = [each for each in kept if each["id"] < first]
        learned = [each for each in kept if each["id"] >= first]
        without = Tokenizer.from_str(json.dumps(state))
        without.add_tokens([AddedToken(each["content"], normalized=False) for each in learned])
        rows = table[[each["id"] for each in learned]].clone()
        tokenizer._tokenizer = without
        table[[without.token_to_id(each["content"]) for each in learned]] = rows


def _forget_encoded_prompts() -> None:
    """SD.Next knows prompts by their text, not by what their words hold."""
    from modules import prompt_parser_diffusers

    prompt_parser_diffusers.cache.clear()
    prompt_parser_diffusers.token_dict = None
