"""What was measured: of each picture, and as means with their intervals; as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from .intervals import bootstrap

EVERYTHING = "all"  # in place of a concept's name: the mean of the concepts
DIGITS = 4


class Way(str, Enum):
    """Ways of drawing the same prompt with the same seed."""

    PAIR = "pair"
    POSITIVE_ONLY = "positive only"
    PLAIN = "plain word"


DIFFERENCE = "pair minus positive only"  # matched by prompt and seed


@dataclass(frozen=True)
class Meaning:
    """A figure in plain words. `more_is_better`: None where it depends."""

    label: str
    question: str
    more_is_better: bool | None = True


FIGURES = {
    "similarity": Meaning("Likeness", "Is it the thing in the picture? 1 is the picture itself."),
    "colour_control": Meaning(
        "Colour obeyed", "Does the background have the colour that the prompt asks for? Guessing gives 0.1."
    ),
    "text_alignment": Meaning("Prompt obeyed", "Does the picture show what the prompt says? Higher is closer."),
    "style_control": Meaning(
        "Drawing style obeyed", "Is it drawn in the style that the prompt names? Guessing gives 0.2."
    ),
    "diversity": Meaning("Variety", "Do pictures of other seeds differ? 0 is always the same picture."),
    "style_distance": Meaning(
        "Style distance", "Is it drawn like the picture that was learned from? 0 is drawn alike.", False
    ),
    "kept": Meaning("Kept", "Did what was not to change stay as it was? 1 is untouched."),
    "became": Meaning("Became the thing", "How much more like the learned picture is it than before the change?"),
    "found": Meaning("Recognised", "Of the things asked for, how many can be made out, each by its own picture?"),
    "all_found": Meaning("All recognised", "How often are all of them in the one picture?"),
}


@dataclass(frozen=True)
class Observation:
    """One picture and what was measured of it. `strength` is that of img2img."""

    section: str  # "subjects", "styles", "editing", "surroundings" or "composition"
    concept: str
    way: str
    guidance: float
    strength: float | None
    prompt: str
    seed: int
    values: dict[str, float]


@dataclass(frozen=True)
class Figure:
    """A mean of `count` pictures with its 95 % bootstrap interval over concepts and pictures."""

    section: str
    concept: str
    way: str
    guidance: float
    strength: float | None
    figure: str
    mean: float
    low: float
    high: float
    count: int

    @property
    def key(self) -> tuple[str, str, str, float, float | None, str]:
        return self.section, self.concept, self.way, self.guidance, self.strength, self.figure

    @property
    def is_certain(self) -> bool:
        """Whether the interval of a difference leaves no room for "none"."""
        return self.low > 0 or self.high < 0


Place = tuple[str, str, float, float | None]  # section, way, guidance, strength


def figures_of(observations: Sequence[Observation]) -> list[Figure]:
    """Every mean there is: by concept, and over all of them where there are several."""
    groups: dict[tuple[Place, str], dict[str, list[float]]] = {}
    for seen in [*observations, *differences(observations)]:
        place = seen.section, seen.way, seen.guidance, seen.strength
        for name, value in seen.values.items():
            groups.setdefault((place, name), {}).setdefault(seen.concept, []).append(value)
    found = []
    for (place, name), by_concept in groups.items():
        found += [_figure(place, name, concept, [values]) for concept, values in by_concept.items()]
        if len(by_concept) > 1:
            found.append(_figure(place, name, EVERYTHING, list(by_concept.values())))
    return found


def _figure(place: Place, name: str, concept: str, groups: Sequence[Sequence[float]]) -> Figure:
    section, way, guidance, strength = place
    interval = bootstrap(groups)
    mean, low, high = (round(value, DIGITS) for value in (interval.mean, interval.low, interval.high))
    return Figure(section, concept, way, guidance, strength, name, mean, low, high, sum(map(len, groups)))


def differences(observations: Iterable[Observation]) -> list[Observation]:
    """What the negative changes: each picture of the pair against that of its positive alone, as observations."""
    kinds: dict[str, dict[tuple, Observation]] = {Way.PAIR: {}, Way.POSITIVE_ONLY: {}}
    for seen in observations:
        if seen.way in kinds:
            key = seen.section, seen.concept, seen.guidance, seen.strength, seen.prompt, seen.seed
            kinds[seen.way][key] = seen
    alone = kinds[Way.POSITIVE_ONLY]
    return [
        Observation(
            *(seen.section, seen.concept, DIFFERENCE, seen.guidance, seen.strength, seen.prompt, seen.seed),
            {name: value - alone[key].values[name] for name, value in seen.values.items()},
        )
        for key, seen in kinds[Way.PAIR].items()
        if key in alone
    ]


def csv_text(rows: Sequence[Figure]) -> str:
    """A line for each figure, under a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [item.name for item in fields(Figure)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if value is None else value for name, value in asdict(row).items()})
    return text.getvalue()


def as_json(rows: Iterable[Figure | Observation]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]
