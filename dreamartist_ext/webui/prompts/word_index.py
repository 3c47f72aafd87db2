"""Which of thousands of words a prompt may hold, told in microseconds and without parsing it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

_START = 3  # letters by which words are looked up


class WordIndex:
    """Finds more than there is, never less than the WebUI finds."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._names[_squeezed(name)].append(name)
        self._names.pop("", None)  # what a prompt cannot spell
        self._starts: dict[str, list[str]] = defaultdict(list)
        for word in self._names:
            self._starts[word[:_START]].append(word)
        self._longest = max(map(len, self._names), default=0)

    @cached_property
    def _beginnings(self) -> set[str]:
        return {word[:end] for word in self._names for end in range(1, len(word))}

    @cached_property
    def _endings(self) -> set[str]:
        return {word[start:] for word in self._names for start in range(1, len(word))}

    def seen(self, prompt: str) -> list[str]:
        """The names, among them all that the WebUI finds in this prompt, each once."""
        words = dict.fromkeys(self._whole(_squeezed(prompt)))
        if "&" in prompt:  # `&copycat` is no sign of copyright to every tokenizer
            words |= dict.fromkeys(self._whole(_squeezed(prompt.replace("&", " "))))
        if "[" in prompt:
            words |= dict.fromkeys(self._put_together(prompt))
        return [name for word in words for name in self._names[word]]

    def _whole(self, text: str) -> Iterator[str]:
        starts = {text[place : place + size] for size in range(1, _START + 1) for place in range(len(text) - size + 1)}
        for start in starts & self._starts.keys():
            yield from (word for word in self._starts[start] if word in text)

    def _put_together(self, prompt: str) -> Iterator[str]:
        """As `[ca|do]t1` can be: one piece ends as a word begins, and one begins as a word ends."""
        pieces = [_squeezed(piece) for piece in re.split(r"[\[\]:|]", _WEIGHT.sub(")", prompt))]
        sizes = range(1, self._longest)
        begun = tuple({piece[-size:] for piece in pieces for size in sizes} & self._beginnings)
        ended = tuple({piece[:size] for piece in pieces for size in sizes} & self._endings) if begun else ()
        if ended:
            yield from (word for word in self._names if word.startswith(begun) and word.endswith(ended))


_WEIGHT = re.compile(r":\s*[-+]?[.\d]+\s*\\?\)")
_NOT_SPELLED = re.compile(r"[\s\x00-\x1f\x7f\\()\[\]:|]+")


def _squeezed(text: str) -> str:
    """What is left of a text when everything is gone that a tokenizer or a prompt's syntax may overlook."""
    text = unicodedata.normalize("NFKC", html.unescape(html.unescape(_WEIGHT.sub(")", text)))).casefold()
    if not text.isascii():
        text = "".join(char for char in text if unicodedata.category(char)[0] != "C" and char != "\ufffd")
    return _NOT_SPELLED.sub("", text)
