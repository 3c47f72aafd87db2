"""Train the pairs and measure them. Everything is kept on disk, and what is there is not made again."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreamartist_ext.engine.attention_mask import MID_GREY
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.names import negative_name
from dreamartist_ext.engine.pictures import Shown, TrainingPicture
from dreamartist_ext.evaluation import measures
from dreamartist_ext.evaluation.backgrounds import BACKGROUND_NAMES, nearest_background
from dreamartist_ext.evaluation.drawing_styles import (
    STYLES,
    THINGS,
    StyleJudge,
    grouped,
    left_out_accuracy,
    right_styles,
    style_prompt,
)
from dreamartist_ext.evaluation.features import FeatureNet, Features
from dreamartist_ext.evaluation.grids import grid
from dreamartist_ext.evaluation.pictures import Album, Batch
from dreamartist_ext.files.picture_files import to_pixels
from dreamartist_ext.files.pictures import load_pictures, open_pictures
from dreamartist_ext.files.run import RunFiles, run_to_files
from dreamartist_ext.files.storage import find_embedding, load_pair, write_atomically
from dreamartist_ext.hosts.diffusers.host import DiffusersHost

from .arms import CONCEPTS, Arm
from .ways import WAYS

WORD = "mything"
SHOWN = 4  # pictures of each kind in a strip to look at
WHITE = 0.95  # in [-1, 1]
STYLE_GUIDANCE = 4.0  # at which the embedded model was measured
MEASURES = 2  # another number makes every row anew, from the pictures that are kept


@dataclass(frozen=True)
class Protocol:
    """How a pair is drawn: `seeds` times `neutral`, once on each colour, `style_seeds` times in each style."""

    seeds: int = 8
    steps: int = 25
    colours: tuple[str, ...] = tuple(name for name in BACKGROUND_NAMES if name not in ("white", "grey"))
    style_seeds: int = 2
    neutral: str = "a {}"

    def prompts(self, word: str) -> list[str]:
        return (
            [self.neutral.format(word)] * self.seeds
            + [f"a {word} on a {colour} background" for colour in self.colours]
            + [style_prompt(style, word) for style in STYLES for _ in range(self.style_seeds)]
        )

    def picture_seeds(self) -> list[int]:
        """Never one twice for the same prompt; the same ones for every style, as its judge wants them."""
        return [
            *range(1000, 1000 + self.seeds),
            *range(2000, 2000 + len(self.colours)),
            *(list(range(3000, 3000 + self.style_seeds)) * len(STYLES)),
        ]


class Study:
    """One model, the folder of references and the work folder."""

    def __init__(self, host: DiffusersHost, references: Path, work: Path, protocol: Protocol) -> None:
        self.host, self.references, self.work, self.protocol = host, references, work, protocol
        self.album = Album(work / "pictures", host.identity(), self.draw)
        self.network = FeatureNet(host.device)
        self._judge: StyleJudge | None = None
        self._candidates: Tensor | None = None

    def draw(self, batch: Batch) -> list[Image.Image]:
        with self.host.bind(batch.embeddings):
            return self.host.generate(batch.prompts, batch.negative_prompts, batch.seeds, batch.steps, batch.guidance)

    def reference(self, concept: str) -> Tensor:
        """(3, H, W) in [-1, 1]"""
        size = self.host.picture_size
        return load_pictures([self.references / f"{concept}.png"], size, size)[0].pixels

    def features(self, pictures: Sequence[Image.Image]) -> Features:
        return self.network(torch.stack([to_pixels(picture) for picture in pictures]))

    def ranks(self, deep: Tensor, concept: str) -> list[int]:
        """Of each picture's deep features (N, D): how many of the things are more like it than `concept`, 0 to 19."""
        if self._candidates is None:
            self._candidates = self.network(torch.stack([self.reference(each) for each in CONCEPTS])).deep
        return measures.ranks(deep, self._candidates, CONCEPTS.index(concept))

    def style_judge(self) -> StyleJudge:
        """Made from the model's own pictures of things it knows; kept in the work folder."""
        if self._judge is None:
            about = f"{self.host.identity()} {self.protocol.steps}"
            self.work.mkdir(parents=True, exist_ok=True)
            path = self.work / f"styles-{hashlib.sha256(about.encode()).hexdigest()[:8]}.safetensors"
            if not path.exists():
                save_file({"examples": self._style_examples()}, path)
            examples = load_file(path)["examples"]
            print(f"drawing style of known things, each left out once: {left_out_accuracy(examples):.0%} right")
            self._judge = StyleJudge(examples)
        return self._judge

    def _style_examples(self) -> Tensor:
        """(styles, things, D)"""
        prompts = tuple(style_prompt(style, thing) for style in STYLES for thing in THINGS)
        seeds = tuple(range(len(THINGS))) * len(STYLES)
        batch = Batch(prompts, ("",) * len(prompts), seeds, STYLE_GUIDANCE, self.protocol.steps)
        return grouped(self.features(self.album(batch)).statistics())


def pairs_of(
    study: Study, arm: Arm, base: dict[str, Any], concept: str, seed: int, say: Callable[[str], None]
) -> Iterator[tuple[EmbeddingPair, float]]:
    """The pairs of one training at the steps to be measured, with its seconds per step; trained if not on disk."""
    settings = {**base, **arm.settings, "save_every": saving_interval(arm)}
    config = TrainConfig.from_mapping({**settings, "name": WORD, "seed": seed})
    about = f"{config.to_json()} {study.host.identity()} {study.reference(concept).sum().item()!r}"
    if arm.way or arm.masked:
        about += f" {arm.way} {arm.masked}"
    folder = study.work / "pairs" / f"{concept}-{seed}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"
    files, timing = RunFiles(folder / "embeddings", WORD), folder / "seconds_per_step"
    if find_embedding(files.out, WORD) is None or not timing.exists():
        seconds = _train(study, arm, config, concept, files, say)
        write_atomically(timing, repr(seconds).encode())
    seconds = float(timing.read_text())
    for step in arm.at:
        if step < config.steps:
            pair = load_pair(files.folder, files.step_stem(step))
            pair.name = WORD
            yield pair, seconds
    yield load_pair(files.out, WORD), seconds


def _train(
    study: Study, arm: Arm, config: TrainConfig, concept: str, files: RunFiles, say: Callable[[str], None]
) -> float:
    """Seconds per step, without what came before a resume."""
    training = WAYS[arm.way](study.host, config, pictures_of(study, arm, config, concept))
    if files.snapshot.exists():
        training.restore(files.last_snapshot())
    times = [0.0]
    with closing(run_to_files(training, files)) as reports:
        for report in reports:
            times.append(report.seconds)
            if report.step % 50 == 0:
                say(f"step {report.step} of {report.steps}")
    return sum(times) / max(len(times) - 1, 1)


def saving_interval(arm: Arm) -> int:
    """`save_every` with which the steps of `at` are kept."""
    return math.gcd(*arm.at) if arm.at else 0


def pictures_of(study: Study, arm: Arm, config: TrainConfig, concept: str) -> Sequence[Shown]:
    """The reference as the training sees it."""
    host = study.host
    views = open_pictures([study.references / f"{concept}.png"], config, host.picture_size, host.size_unit)
    return [masked(view) for view in views] if arm.masked else views


def masked(picture: Shown) -> TrainingPicture:
    """The same with `thing_mask`."""
    pixels, _ = picture.read()
    return TrainingPicture(pixels, thing_mask(pixels), picture.caption, picture.source)


def thing_mask(pixels: Tensor) -> Tensor:
    """(3, H, W) in [-1, 1] -> (H, W) greys of weight 0 where the picture is white, of weight 1 elsewhere."""
    return torch.where(pixels.min(dim=0).values > WHITE, 0.0, MID_GREY - 1.0)


def row_of(study: Study, label: str, concept: str, pair: EmbeddingPair, seed: int, guidance: float) -> dict[str, Any]:
    """One line of the table: the figures of a pair at one guidance scale. Kept on disk by what it was made from."""
    batch = batch_of(study.protocol, pair, guidance)
    key = f"{MEASURES} {batch.key(study.album.model)}"
    path = study.work / "rows" / f"{_name(label, concept, pair, seed, guidance)}.json"
    if path.exists() and (kept := json.loads(path.read_text()))["key"] == key:
        return kept["row"]
    row = measured(study, label, concept, pair, seed, guidance, study.album(batch))
    write_atomically(path, json.dumps({"key": key, "row": row}).encode())
    return row


def measured(
    study: Study,
    label: str,
    concept: str,
    pair: EmbeddingPair,
    seed: int,
    guidance: float,
    pictures: Sequence[Image.Image],
) -> dict[str, Any]:
    """The line of the table for pictures that are drawn; a strip of them is kept to look at."""
    row = {"arm": label, "concept": concept, "seed": seed, "step": pair.step, "guidance": guidance}
    figures = figures_of(study, concept, pictures) | norms(pair)
    _save_strip(study, pictures, study.work / "strips" / f"{_name(label, concept, pair, seed, guidance)}.png")
    return row | {name: round(value, 4) for name, value in figures.items()}


def _name(label: str, concept: str, pair: EmbeddingPair, seed: int, guidance: float) -> str:
    return f"{label}--{concept}--{seed}--{pair.step}--{guidance:g}"


def batch_of(protocol: Protocol, pair: EmbeddingPair, guidance: float) -> Batch:
    """All pictures that a pair is judged by."""
    negative = negative_name(pair.name) if pair.negative is not None else ""
    prompts, seeds = protocol.prompts(pair.name), protocol.picture_seeds()
    return Batch(tuple(prompts), (negative,) * len(prompts), tuple(seeds), guidance, protocol.steps, pair.named())


def figures_of(study: Study, concept: str, pictures: Sequence[Image.Image]) -> dict[str, float]:
    protocol = study.protocol
    reference = study.network(study.reference(concept)[None])
    features = study.features(pictures)
    plain = slice(0, protocol.seeds)
    coloured = slice(protocol.seeds, protocol.seeds + len(protocol.colours))
    styled = slice(coloured.stop, None)
    similarity = measures.similarity(features.deep, reference.deep[0])
    backgrounds = [nearest_background(to_pixels(picture)) for picture in pictures[coloured]]
    styles = right_styles(study.style_judge(), grouped(features.statistics()[styled]))
    maps = [layer[plain] for layer in features.maps]
    ranks = study.ranks(features.deep, concept)
    return {
        "first": measures.share([rank < 1 for rank in ranks[plain]]),
        "among_three": measures.share([rank < 3 for rank in ranks[plain]]),
        "first_on_colours": measures.share([rank < 1 for rank in ranks[coloured]]),
        "among_three_on_colours": measures.share([rank < 3 for rank in ranks[coloured]]),
        "similarity": float(similarity[plain].mean()),
        "similarity_on_colours": float(similarity[coloured].mean()),
        "diversity": measures.diversity(features.deep[plain]),
        "colour_control": measures.share([a == b for a, b in zip(backgrounds, protocol.colours, strict=True)]),
        "style_control": measures.share(styles),
        "style_distance": float(measures.style_distance(maps, reference.maps).mean()),
    }


def norms(pair: EmbeddingPair) -> dict[str, float]:
    """Mean length of the vectors of each half; the vocabulary's are about 0.4."""
    halves = {"norm_positive": pair.positive, "norm_negative": pair.negative or {}}
    return {name: float(torch.cat(list(half.values())).norm(dim=1).mean()) for name, half in halves.items() if half}


def _save_strip(study: Study, pictures: Sequence[Image.Image], path: Path) -> None:
    """The first pictures of each kind side by side, to look at."""
    protocol = study.protocol
    firsts = (0, protocol.seeds, protocol.seeds + len(protocol.colours))
    chosen = [p for first in firsts for p in pictures[first : first + SHOWN]]
    path.parent.mkdir(parents=True, exist_ok=True)
    grid([chosen]).save(path)


def run(
    study: Study,
    arms: dict[str, Arm],
    base: dict[str, Any],
    concepts: Sequence[str],
    seeds: Sequence[int],
    guidances: Sequence[float],
) -> Iterator[dict[str, Any]]:
    """Every row of arms x concepts x seeds x steps x guidances; all concepts and arms before the next seed."""
    tasks = [(seed, concept, label) for seed in seeds for concept in concepts for label in arms]
    started = time.monotonic()
    for done, (seed, concept, label) in enumerate(tasks):
        left = (time.monotonic() - started) / max(done, 1) * (len(tasks) - done) / 60
        head = f"[{done + 1}/{len(tasks)}{f', {left:.0f} min left' if done else ''}] {label} {concept} {seed}"

        def say(what: str, head: str = head) -> None:
            print(f"\r{head}: {what}        ", end="", flush=True)

        for pair, seconds in pairs_of(study, arms[label], base, concept, seed, say):
            for guidance in guidances:
                say(f"measuring step {pair.step} at guidance {guidance:g}")
                row = row_of(study, label, concept, pair, seed, guidance)
                yield {**row, "seconds_per_step": round(seconds, 4)}
    print()
