"""python -m tools.study.composition --words words.pt: what the negatives of several learned words do together.

On pairs and plain inversions that `python -m tools.study words` kept: neighbours among the things, two and three of
them in one picture, the same seeds with every way of using their negatives. The judge is the report's: as many
references as things were asked for, those most like any part of the picture.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image
from torch import Tensor

from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.names import negative_name
from dreamartist_ext.evaluation import measures
from dreamartist_ext.evaluation.eyes import Eyes
from dreamartist_ext.evaluation.grids import grid
from dreamartist_ext.evaluation.intervals import bootstrap
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import load_host, quiet_libraries

from .arms import CONCEPTS
from .run import Protocol, Study
from .table import Row, shown, write_csv

PROMPTS = {
    2: ("a {} and a {} on a white background", "a {} beside a {} on a white background"),
    3: ("a {}, a {} and a {} on a white background",),
}


@dataclass(frozen=True)
class Use:
    """`negatives`: of how many of the words, None for all. `mean`: not one prompt that names them one after the other,
    but the mean of what the text encoder makes of each. `share`: how far from the empty prompt towards them."""

    arm: str = "pair"
    negatives: int | None = None
    mean: bool = False
    share: float = 1.0


USES = {
    "all, as the hook does": Use(),
    "the first one's": Use(negatives=1),
    "all, half way": Use(share=0.5),
    "mean of each": Use(mean=True),
    "none": Use(negatives=0),
    "plain inversion": Use(arm="plain", negatives=0),
}


def unconditional(host: DiffusersHost, names: Sequence[str], use: Use) -> Tensor:
    """(1, L, D): what stands in the unconditional branch beside a prompt with these words."""
    chosen = [negative_name(name) for name in names[: use.negatives]]
    if not chosen:
        return host.encode_prompts([""])
    cond = host.encode_prompts(chosen).mean(0, keepdim=True) if use.mean else host.encode_prompts([", ".join(chosen)])
    return torch.lerp(host.encode_prompts([""]), cond, use.share)


def draw(
    host: DiffusersHost, pairs: Sequence[EmbeddingPair], use: Use, seeds: int, steps: int, guidance: float
) -> list[Image.Image]:
    """Every prompt for so many words, with every seed."""
    names = [pair.name for pair in pairs]
    prompts = [prompt.format(*names) for prompt in PROMPTS[len(names)] for _ in range(seeds)]
    numbers = list(range(seeds)) * len(PROMPTS[len(names)])

    def negatives(asked: Sequence[str]) -> Tensor:
        return unconditional(host, names, use).expand(len(asked), -1, -1)

    words = {word: half for pair in pairs for word, half in pair.named().items()}
    with host.bind(words), patch.object(host, "encode_negatives", negatives):
        return host.generate(prompts, [""] * len(prompts), numbers, steps, guidance)


def rows(study: Study, words: Mapping[tuple, tuple], trained: int, guidance: float) -> Iterator[Row]:
    """A row for each group of neighbouring things and way of using the negatives.

    words: positive and negative by (thing, "pair" or "plain", seed), both ways of each thing; trained: the seed to take
    """
    concepts = sorted({thing for thing, _, seed in words if seed == trained})
    eyes = Eyes(study.network)
    candidates = torch.stack([study.reference(concept) for concept in CONCEPTS])
    content = study.network(candidates).deep
    learned = {
        way: [_learned(study.host, concept, words[concept, way, trained]) for concept in concepts]
        for way in ("pair", "plain")
    }
    for count, first in itertools.product(PROMPTS, range(len(concepts))):
        group = [(first + offset) % len(concepts) for offset in range(count)]
        asked = [CONCEPTS.index(concepts[index]) for index in group]
        for label, use in USES.items():
            pairs = [learned[use.arm][index] for index in group]
            pictures = draw(study.host, pairs, use, study.protocol.seeds, study.protocol.steps, guidance)
            _keep(pictures, study.work / "compositions" / f"{'-'.join(p.name for p in pairs)} {label}.png")
            found = [measures.recognised(eyes.parts(picture), content, asked) for picture in pictures]
            alike = measures.similarity(eyes(pictures).content, content[asked[0]])
            yield {
                "things": count,
                "group": "-".join(pair.name for pair in pairs),
                "negatives": label,
                "found": round(sum(found) / len(found), 4),
                "all_found": round(measures.share([share == 1 for share in found]), 4),
                "first_thing": round(float(alike.mean()), 4),
            }


def _learned(host: DiffusersHost, concept: str, halves: tuple[Tensor, Tensor | None]) -> EmbeddingPair:
    """Under the name of the thing, with an underscore, so that it is no word that the model knows."""
    (key,) = host.mean_norms()
    positive, negative = halves
    return EmbeddingPair(f"{concept}_", {key: positive}, None if negative is None else {key: negative})


def _keep(pictures: Sequence[Image.Image], path: Path) -> None:
    """Side by side, to look at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid([pictures]).save(path)


def summary(table: Sequence[Row]) -> str:
    """Markdown: a line for each way, means over the groups with their bootstrap interval, and less the first way's."""
    lines = ["| things | negatives | recognised | less all negatives' | all of them | likeness to the first |"]
    lines.append("|" + "---|" * 6)
    for count, label in itertools.product(PROMPTS, USES):
        mine = [row for row in table if row["things"] == count and row["negatives"] == label]
        first = {row["group"]: row for row in table if row["things"] == count and row["negatives"] == next(iter(USES))}
        change = [[row["found"] - first[row["group"]]["found"]] for row in mine]
        cells = [bootstrap([[row["found"]] for row in mine]), bootstrap(change)]
        cells += [bootstrap([[row[name]] for row in mine]) for name in ("all_found", "first_thing")]
        lines.append(f"| {count} | {label} | " + " | ".join(map(shown, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Ways of using the negatives of several words in one prompt.")
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the trainings")
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--drawn", type=int, default=4, help="pictures of each prompt")
    parser.add_argument("--drawing-steps", type=int, default=20)
    parser.add_argument("--references", type=Path, default=Path("build/embedded-model/references"))
    parser.add_argument("--work", type=Path, default=Path("build/study"))
    parser.add_argument("--table", type=Path, help="the CSV; WORK/composition.csv if left out")
    arguments = parser.parse_args()
    quiet_libraries()
    protocol = Protocol(seeds=arguments.drawn, steps=arguments.drawing_steps)
    study = Study(load_host(None), arguments.references, arguments.work, protocol)
    table = []
    for row in rows(study, torch.load(arguments.words, weights_only=True), arguments.seed, arguments.guidance):
        table.append(row)
        print(*row.values(), flush=True)
    write_csv(table, arguments.table or arguments.work / "composition.csv", list(table[0]))
    print(summary(table))


if __name__ == "__main__":
    main()
