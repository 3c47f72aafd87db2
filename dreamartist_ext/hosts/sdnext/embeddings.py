"""The learned words that SD.Next has loaded: tokens behind the vocabulary, a token for each vector.

SD.Next's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from torch import Tensor

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
    others = _take_out(found)
    fresh = copy.copy(found)
    for name in CONTENTS:
        setattr(fresh, name, {})
    fresh.load_textual_inversion_embeddings(force_reload=True)
    for name in CONTENTS:
        setattr(found, name, getattr(fresh, name))
    for encoder, tokenizer, rows in others:
        table = encoder.get_input_embeddings()
        for token, row in rows.items():
            table.weight.data[tokenizer.convert_tokens_to_ids(token)] = row
    _forget_encoded_prompts()


def _take_out(found: Any) -> list[tuple[Any, Any, dict[str, Tensor]]]:
    """Take the tokens of words that came from files out of the tokenizers.

    Those of words that a LoRA brought along stay: they come back with the rows of the table to put in their new places.
    """
    pipeline = loaded_pipeline()
    gone = {token for each in found.word_embeddings.values() if each.filename for token in each.tokens or ()}
    others = []
    for encoder_name, tokenizer_name in ENCODERS:
        encoder, tokenizer = getattr(pipeline, encoder_name, None), getattr(pipeline, tokenizer_name, None)
        if encoder is None or not hasattr(tokenizer, "backend_tokenizer"):
            continue
        table = encoder.get_input_embeddings()
        kept = _without_tokens(tokenizer, gone)
        rows = {token: table.weight.data[place].clone() for token, place in kept.items() if place < len(table.weight)}
        others.append((encoder, tokenizer, rows))
    return others


def _without_tokens(tokenizer: Any, gone: set[str]) -> dict[str, int]:
    """Those that stay of what was added to the tokenizer's vocabulary, with the places that they had."""
    from tokenizers import AddedToken, Tokenizer

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    first = tokenizer.vocab_size
    added = sorted((each["id"], each["content"]) for each in state["added_tokens"] if each["id"] >= first)
    if gone.isdisjoint(content for _, content in added):
        return {}
    state["added_tokens"] = [each for each in state["added_tokens"] if each["id"] < first]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
    kept = {content: place for place, content in added if content not in gone}
    tokenizer.add_tokens([AddedToken(content, normalized=False) for content in kept])
    return kept


def _forget_encoded_prompts() -> None:
    """SD.Next knows prompts by their text, not by what their words hold."""
    from modules import prompt_parser_diffusers

    prompt_parser_diffusers.cache.clear()
    prompt_parser_diffusers.token_dict = None
