"""Words that a model knows before any training: a concept of such a name changes every prompt that has it.

The model's tokenizer says which they are, where there is one at hand. Where there is none, a list does: the words among
the first 14,000 merges of CLIP's byte-pair encoding, which are its most frequent ones.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..engine.names import is_long_enough

LIST = Path(__file__).parents[1] / "assets" / "ordinary_words.txt"


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    return frozenset(LIST.read_text(encoding="utf-8").split())


def is_ordinary(name: str) -> bool:
    """Whether people write this word in prompts without meaning a concept: a frequent word, or a number."""
    return name.isdecimal() or name.lower() in _words()


def warning_about(name: str, is_one_token: bool = False) -> str:
    """In a sentence, or nothing. `is_one_token`: whether the model's tokenizer has the name as a whole."""
    if not is_long_enough(name):
        return (
            f'"{name}" is found in other words too, as "t" is in "t-shirt": every prompt with one of them will change.'
        )
    if is_ordinary(name):
        return f'"{name}" is an ordinary word: every prompt with it will change.'
    return f'"{name}" is a word that the model knows: every prompt with it will change.' if is_one_token else ""
