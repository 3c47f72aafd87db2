"""From a positive prompt to the negative one that belongs to it: whoever types a learned word gets its other half.

Text in, text out. What a prompt means is judged by the WebUI alone, through `PromptLanguage`. The negative is first
written in the form in which the positive was typed; where the WebUI would not make of it exactly the weight of the
positive on exactly its steps, the steps are spelled out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from ...hosts.prompt_language import PromptLanguage, Steps
from .prompt_forms import Node, Scheduled, Text, Weighted, parse
from .word_index import WordIndex

logger = logging.getLogger(__name__)

LONGEST_PERIOD = 8  # options of an alternation that are looked for in weights by step
WEIGHT_TOLERANCE = 1.5e-3  # weights are written with three decimals


@dataclass(frozen=True)
class LearnedWord:
    """`strength` multiplies the weight of the negative; 0 switches it off."""

    name: str
    negative: str
    strength: float = 1.0


@dataclass(frozen=True)
class Effective:
    """A negative prompt, the words whose negatives were put into it, and those for which there was no way to do so."""

    negative: str
    added: tuple[LearnedWord, ...] = ()
    left_out: tuple[LearnedWord, ...] = ()


def effective_negative(
    language: PromptLanguage, positive: str, typed: str, steps: Steps, words: Mapping[str, LearnedWord]
) -> Effective:
    """The typed negative, completed for every one of `words` (by the embedding's name) that `positive` holds."""
    rows = _wanted(language, positive, typed, steps, words)
    if not rows:
        return Effective(typed)
    writer = _Writer(language, steps, words, rows)
    for way in (writer.pieces(positive), writer.spelled(rows)):
        pieces = dict(way)
        names = [name for group in pieces for name in group]
        for text in _joined(language, typed, ", ".join(pieces.values()), steps):
            if names and writer.is_exact(text, names):
                return Effective(text, tuple(words[name] for name in names))
    logger.warning("DreamArtist found no way to put %s beside the negative prompt %r", ", ".join(rows), typed)
    return Effective(typed, left_out=tuple(words[name] for name in rows))


def describe(added: Iterable[LearnedWord]) -> str:
    """For the infotext: `cat1 -> cat1-neg`."""
    return ", ".join(
        f"{word.name} -> {word.negative}" + ("" if word.strength == 1 else f" x {word.strength:g}") for word in added
    )


def describe_left_out(words: Iterable[LearnedWord], typed: str) -> str:
    """A sentence for the page, or nothing."""
    names = ", ".join(word.negative for word in words)
    if not names:
        return ""
    shown = typed if len(typed) <= 200 else f"{typed[:200]}..."
    return (
        f'{names} was not added: it cannot stand beside the negative prompt "{shown}" without changing its meaning; '
        "type it there yourself, or remove | and [a:b:0.5] from that prompt."
    )


def even_chunks(language: PromptLanguage, negatives: Sequence[str], steps: Steps) -> list[str]:
    """The negatives of one batch, the shorter ones lengthened by empty chunks: the WebUI stacks them."""
    if len(set(negatives)) < 2:
        return list(negatives)
    counts = {text: _chunks(language, text, steps) for text in negatives}
    longest = max(counts.values(), default=1)
    return [_lengthened(language, text, longest - counts[text], steps) for text in negatives]


def _lengthened(language: PromptLanguage, text: str, missing: int, steps: Steps) -> str:
    """BREAK fills a chunk up and begins the next one, with the very tokens that the WebUI pads with."""
    if not missing:
        return text
    longer = " ".join([text.rstrip(), *["BREAK"] * (missing + 1)]).strip()
    is_longer = _chunks(language, longer, steps) == _chunks(language, text, steps) + missing
    return longer if is_longer else text


def _chunks(language: PromptLanguage, prompt: str, steps: Steps) -> int:
    return max(language.chunks(text) for _, text in language.schedules(prompt, steps))


def _joined(language: PromptLanguage, typed: str, added: str, steps: Steps) -> Iterator[str]:
    """The user's words come first, unless a bracket that they leave open would swallow ours."""
    kept = typed.rstrip()
    if not kept:
        yield added
        return
    yield f"{kept} {added}" if kept.endswith(",") else f"{kept}, {added}"
    yield f"{added}, {kept}"
    masked = re.sub(r"(?<!\\)\|", r"\\|", kept)  # a bar outside of brackets makes the WebUI take all switches as text
    if list(map(tuple, language.schedules(masked, steps))) == [(steps.count, masked)]:
        yield f"{masked}, {added}"


def _found(language: PromptLanguage, prompt: str, steps: Steps) -> list[Sequence[tuple[str, float]]]:
    """The embeddings in a prompt, by step."""
    found: list[Sequence[tuple[str, float]]] = []
    for end, text in language.schedules(prompt, steps):
        found += [language.embeddings(text)] * (end - len(found))
    return found


def _wanted(
    language: PromptLanguage, positive: str, typed: str, steps: Steps, words: Mapping[str, LearnedWord]
) -> dict[str, tuple[float, ...]]:
    """Weights by step, 0 for absent, of the negatives to add, by the word's name."""
    rows = _activity(language, positive, steps, words)
    if not rows:
        return {}
    present = {name.lower() for here in _found(language, typed, steps) for name, _ in here}
    scaled = {
        name: tuple(round(weight * words[name].strength, 3) for weight in row)
        for name, row in rows.items()
        if words[name].negative.lower() not in present
    }
    return {name: row for name, row in scaled.items() if any(row)}


def _activity(
    language: PromptLanguage, positive: str, steps: Steps, words: Mapping[str, LearnedWord]
) -> dict[str, list[float]]:
    """The largest weight with which each word stands in a prompt, by step: in its part, times the part's own."""
    rows: dict[str, list[float]] = {}
    for part, share in _parts(language, positive):
        for step, here in enumerate(_found(language, part, steps)):
            for name, weight in here:
                if name in words:
                    row = rows.setdefault(name, [0.0] * steps.count)
                    row[step] = max(row[step], weight * share) if row[step] else weight * share
    return rows


def _parts(language: PromptLanguage, positive: str) -> list[tuple[str, float]]:
    """The parts of `AND` that add to the picture, each with its weight.

    Parts of weight zero do nothing, and parts of negative weight say what the picture must not show: both are left
    out. The weights of equal parts are added.
    """
    together: dict[str, float] = {}
    for text, weight in language.parts(positive):
        together[text.strip()] = together.get(text.strip(), 0.0) + weight
    return [(text, weight) for text, weight in together.items() if weight > 0]


class _Writer:
    """Writes the negatives of `rows` (weights by step) after the example of a positive prompt."""

    def __init__(
        self,
        language: PromptLanguage,
        steps: Steps,
        words: Mapping[str, LearnedWord],
        rows: Mapping[str, tuple[float, ...]],
    ) -> None:
        self._language, self._steps, self._words = language, steps, words
        self._index = WordIndex(rows)
        some = self._escaped(next(iter(rows)))
        self._has_weights = any(abs(weight - 2) < WEIGHT_TOLERANCE for _, weight in language.embeddings(f"({some}:2)"))
        self._rows = rows if self._has_weights else {name: tuple(float(w != 0) for w in rows[name]) for name in rows}

    def pieces(self, positive: str) -> Iterator[tuple[tuple[str, ...], str]]:
        """(names, text) in the order of the positive; together they name every word once."""
        left = dict.fromkeys(self._rows)
        for node in self._nodes(positive):
            inside = tuple(name for name in self._names(node) if name in left)
            for group in (inside, *((name,) for name in inside)):
                if group and left.keys() >= set(group) and self.is_exact(text := self._copy(node, group), group):
                    yield group, text
                    left = {name: None for name in left if name not in group}
        yield from self.spelled(left)

    def spelled(self, names: Iterable[str]) -> Iterator[tuple[tuple[str, ...], str]]:
        """As `pieces`, with the steps spelled out; nothing for a word that the WebUI cannot be told so."""
        for name in names:
            by_step = [self._weighted(name, weight) for weight in self._rows[name]]
            exact = (text for text in _spellings(by_step, self._steps) if self.is_exact(text, [name]))
            yield from (((name,), text) for text in islice(exact, 1))

    def is_exact(self, text: str, names: Collection[str]) -> bool:
        """Whether the WebUI finds the negatives of `names` once each, on their steps, with their weights."""
        found = _found(self._language, text, self._steps)
        due = {self._words[name].negative: self._rows[name] for name in names}
        return len(found) == self._steps.count and all(_matches(here, due, step) for step, here in enumerate(found))

    def _nodes(self, positive: str) -> Iterator[Node]:
        for part, weight in _parts(self._language, positive):
            yield from parse(part) if weight == 1 else (Weighted((node,), weight) for node in parse(part))

    def _names(self, node: Node) -> tuple[str, ...]:
        """The words inside that are to be written, in order."""
        if isinstance(node, Text):
            may_hold = self._index.seen(node.text)
            found = self._language.embeddings(node.text) if may_hold else ()
            return tuple(dict.fromkeys(name for name, _ in found if name in self._rows))
        return tuple(dict.fromkeys(name for child in node.children() for name in self._names(child)))

    def _copy(self, node: Node, names: Collection[str], weight: float = 1.0) -> str:
        """The node with nothing but the negatives of `names`, or nothing."""
        if isinstance(node, Text):
            return self._sequence(self._leaf(name, weight) for name in self._names(node) if name in names)
        if isinstance(node, Weighted):
            return self._copies(node.nodes, names, weight * node.weight)
        if isinstance(node, Scheduled):
            before, after = (self._copies(nodes, names, weight) for nodes in (node.before, node.after))
            return _switch(before, after, node.when)
        options = [self._copies(nodes, names, weight) for nodes in node.options]
        return f"[{'|'.join(options)}]" if len(set(options)) > 1 else options[0]

    def _copies(self, nodes: Iterable[Node], names: Collection[str], weight: float) -> str:
        return self._sequence(self._copy(node, names, weight) for node in nodes)

    @staticmethod
    def _sequence(texts: Iterable[str]) -> str:
        return ", ".join(text for text in texts if text)

    def _leaf(self, name: str, weight: float) -> str:
        """`weight` is the positive's."""
        return self._weighted(name, round(weight * self._words[name].strength, 3))

    def _weighted(self, name: str, weight: float) -> str:
        if not weight:
            return ""
        plain = self._escaped(name)
        return plain if weight == 1 or not self._has_weights else f"({plain}:{weight:g})"

    def _escaped(self, name: str) -> str:
        return re.sub(r"[\\()\[\]]", r"\\\g<0>", self._words[name].negative)


def _matches(here: Iterable[tuple[str, float]], due: Mapping[str, tuple[float, ...]], step: int) -> bool:
    seen = [(name, weight) for name, weight in here if name in due]
    expected = {name: row[step] for name, row in due.items() if row[step]}
    return (
        len(seen) == len(expected)
        and dict(seen).keys() == expected.keys()
        and all(abs(weight - expected[name]) < WEIGHT_TOLERANCE for name, weight in seen)
    )


def _spellings(by_step: Sequence[str], steps: Steps) -> Iterator[str]:
    """Prompts that give these texts step by step: one text, a short alternation, or switches within switches."""
    if len(set(by_step)) == 1:
        yield by_step[0]
    for period in range(2, min(LONGEST_PERIOD, len(by_step) - 1) + 1):
        if all(text == by_step[step % period] for step, text in enumerate(by_step)):
            yield f"[{'|'.join(by_step[:period])}]"
    text = by_step[-1]
    for end, earlier in reversed(_last_steps(by_step)[:-1]):
        text = _switch(earlier, text, str(end + steps.before))
    yield text


def _last_steps(by_step: Sequence[str]) -> list[tuple[int, str]]:
    runs, end = [], 0
    for text, run in groupby(by_step):
        end += len(list(run))
        runs.append((end, text))
    return runs


def _switch(before: str, after: str, when: str) -> str:
    if before == after:
        return before
    return f"[{before}:{after}:{when}]" if before else f"[{after}:{when}]"


def holds(prompt: str, name: str) -> bool:
    """Whether a prompt has a word, by the letters: a WebUI's look-up does not know those of other models."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", prompt, re.IGNORECASE) is not None
