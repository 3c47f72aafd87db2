"""What is to be drawn of which pairs, and what with: the whole of it known before the first picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

from ..engine.embedding import EmbeddingPair
from ..engine.errors import SettingError
from ..engine.host import Vectors
from ..engine.names import negative_name
from ..engine.stopping import Check
from .figures import Way
from .pictures import Batch
from .prompt_lists import Edit, PromptLists, filled

MOST_GROUPS = 4  # of two, and of three, concepts in one picture
MOST_SEEDS, MOST_STEPS, MOST_GUIDANCE = 64, 500, 100.0


@dataclass(frozen=True, eq=False)
class Concept:
    """A pair, the picture that it was trained on, in the size of the drawings, and an ordinary word to compare with.

    `checks`: the check losses of its training, where that is still on disk.
    """

    pair: EmbeddingPair
    reference: Image.Image
    plain_word: str
    checks: tuple[Check, ...] = ()

    @property
    def name(self) -> str:
        return self.pair.name

    @property
    def ways(self) -> tuple[Way, ...]:
        return tuple(Way) if self.pair.negative is not None else (Way.POSITIVE_ONLY, Way.PLAIN)


@dataclass(frozen=True)
class Plan:
    """Every prompt with every seed; the subjects at every guidance scale, the others at the middle one."""

    lists: PromptLists
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    guidances: tuple[float, ...] = (3.0, 5.0, 7.0)
    steps: int = 20
    strengths: tuple[float, ...] = (0.5, 0.7, 0.9)
    judges_styles: bool = False  # of the embedded model only

    def __post_init__(self) -> None:
        if not 1 <= len(self.seeds) <= MOST_SEEDS:
            raise SettingError(f"seeds must be 1 to {MOST_SEEDS}, got {len(self.seeds)}.")
        if not self.guidances or not all(0 <= g <= MOST_GUIDANCE for g in self.guidances):
            raise SettingError(f"the guidance must be one or more numbers from 0 to {MOST_GUIDANCE:g}.")
        if not 1 <= self.steps <= MOST_STEPS:
            raise SettingError(f"steps must be 1 to {MOST_STEPS}, got {self.steps}.")
        if not all(0 < strength <= 1 for strength in self.strengths):
            raise SettingError("strengths must be above 0 and at most 1.")

    @property
    def guidance(self) -> float:
        """The one at which everything is drawn, and shown first."""
        return sorted(self.guidances)[len(self.guidances) // 2]

    def described(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Drawing:
    """Pictures to be drawn together: `lines` of a prompt list, each with every seed.

    `words` are the concepts in each prompt. `edit`, if any, is what the pictures start from.
    """

    section: str
    concept: str
    way: Way
    guidance: float
    lines: tuple[str, ...]
    words: tuple[Concept, ...]
    edit: Edit | None = None
    strength: float | None = None

    def prompts(self) -> tuple[str, ...]:
        names = [word.plain_word if self.way is Way.PLAIN else word.name for word in self.words]
        return tuple(filled(line, *names) for line in self.lines)

    def batch(self, plan: Plan, start: Image.Image | None = None) -> Batch:
        prompts = tuple(prompt for prompt in self.prompts() for _ in plan.seeds)
        pairs = [word.pair for word in self.words] if self.way is not Way.PLAIN else []
        negatives = [negative_name(p.name) for p in pairs if self.way is Way.PAIR and p.negative is not None]
        embeddings: dict[str, Vectors] = {}
        for pair in pairs:
            embeddings |= pair.named() if self.way is Way.PAIR else {pair.name: pair.positive}
        return Batch(
            prompts,
            (", ".join(negatives),) * len(prompts),
            plan.seeds * len(self.lines),
            self.guidance,
            plan.steps,
            embeddings,
            start,
            1.0 if self.strength is None else self.strength,
        )

    def steps(self, plan: Plan) -> int:
        """Of all its pictures together."""
        each = plan.steps if self.strength is None else round(plan.steps * self.strength)
        return each * len(self.lines) * len(plan.seeds)


def drawings(concepts: Sequence[Concept], plan: Plan) -> Iterator[Drawing]:
    """All of them; the middle guidance scale first."""
    lists = plan.lists
    guidances = sorted(plan.guidances, key=lambda g: (g != plan.guidance, g))
    for concept in concepts:
        for guidance in guidances:
            for way in concept.ways if lists.subjects else ():
                yield Drawing("subjects", concept.name, way, guidance, lists.subjects, (concept,))
        for way in concept.ways if lists.styles else ():
            yield Drawing("styles", concept.name, way, plan.guidance, lists.styles, (concept,))
        for edit in lists.editing:
            for strength in plan.strengths:
                for way in concept.ways:
                    if way is Way.PLAIN:
                        continue
                    section = "surroundings" if edit.start is None else "editing"
                    about = (section, concept.name, way, plan.guidance, (edit.prompt,), (concept,))
                    yield Drawing(*about, edit, strength)
    yield from _compositions(concepts, plan)


def _compositions(concepts: Sequence[Concept], plan: Plan) -> Iterator[Drawing]:
    for line in plan.lists.composition:
        for group in groups_of(concepts, line.count("[name]")):
            label = " + ".join(concept.name for concept in group)
            for way in (Way.PAIR, Way.POSITIVE_ONLY):
                yield Drawing("composition", label, way, plan.guidance, (line,), group)


def start_batch(edit: Edit, plan: Plan) -> Batch:
    """The picture that an edit starts from: the model's own, without any learned word."""
    assert edit.start is not None
    return Batch((edit.start,), ("",), plan.seeds[:1], plan.guidance, plan.steps)


def groups_of(concepts: Sequence[Concept], count: int) -> list[tuple[Concept, ...]]:
    """Neighbours in a ring, each group once, at most MOST_GROUPS; none where there are too few concepts."""
    if len(concepts) < count:
        return []
    ring = [*concepts, *concepts]
    firsts = range(1 if len(concepts) == count else len(concepts))
    return [tuple(ring[first : first + count]) for first in firsts][:MOST_GROUPS]


@dataclass
class Progress:
    """Steps of all pictures together; `total` shrinks by what is found on disk. `seconds` were spent on drawing."""

    total: int
    done: int = 0
    seconds: float = 0.0
    doing: str = field(default="drawing")

    @property
    def seconds_left(self) -> float:
        return self.seconds / self.done * (self.total - self.done) if self.done else 0.0
