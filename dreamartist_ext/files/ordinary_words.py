"""Words that a model knows before any training: a concept of such a name changes every prompt that has it.

The list holds the words among the first 14,000 merges of CLIP's byte-pair encoding, which are its most frequent ones.
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


def warning_about(name: str) -> str:
    """In a sentence, or nothing."""
    if not is_long_enough(name):
        return (
            f'"{name}" is found in other words too, as "t" is in "t-shirt": every prompt with one of them will change.'
        )
    return f'"{name}" is an ordinary word: every prompt with it will change.' if is_ordinary(name) else ""
