"""Does textual inversion work on the embedded model: pair, plain inversion and the best plain prompt, on the
held-out concepts, one reference drawing each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.names import negative_name
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.evaluation import measures
from dreamartist_ext.evaluation.backgrounds import nearest_background
from dreamartist_ext.evaluation.features import FeatureNet
from dreamartist_ext.evaluation.grids import grid
from dreamartist_ext.files.picture_files import to_pixels
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.files.storage import save_pair
from dreamartist_ext.hosts.diffusers.host import DiffusersHost, to_image
from dreamartist_ext.hosts.diffusers.model_files import load_host, training_defaults

from . import drawings

COLOURS = ("red", "blue", "green", "yellow", "purple", "black", "pink", "orange")  # all but the reference's white
SEEDS = 8
STEPS = 25
CANDIDATES = 5  # plain prompts that are drawn again with all seeds


NEARNESS = {"similarity": 1, "perceptual_distance": -1, "style_distance": -1}  # and the sign that makes more nearer


class Judge:
    """How near pictures are to the one reference."""

    def __init__(self, reference: Tensor) -> None:
        self.network = FeatureNet()
        self.reference = self.network(reference[None])

    def __call__(self, pictures: Sequence[Image.Image]) -> dict[str, float]:
        """Means over the pictures; distances are 0 for the reference itself, its similarity is 1."""
        features = self.network(torch.stack([to_pixels(picture) for picture in pictures]))
        reference = [layer.expand(len(pictures), -1, -1, -1) for layer in self.reference.maps]
        return {
            "similarity": float(measures.similarity(features.deep, self.reference.deep[0]).mean()),
            "perceptual_distance": float(measures.perceptual_distance(features.maps, reference).mean()),
            "style_distance": float(measures.style_distance(features.maps, self.reference.maps).mean()),
            "diversity": measures.diversity(features.deep),
        }


def draw(
    host: DiffusersHost, prompts: Sequence[str], negative: str, first_seed: int, guidance: float
) -> list[Image.Image]:
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), 8):
        part = prompts[start : start + 8]
        seeds = range(first_seed + start, first_seed + start + len(part))
        pictures += host.generate(part, [negative] * len(part), seeds, STEPS, guidance)
    return pictures


def judge_words(host: DiffusersHost, judge: Judge, word: str, negative: str, guidance: float) -> tuple[dict, list]:
    """Figures of "a WORD", and of the same on eight coloured backgrounds; the pictures of both."""
    plain = draw(host, [f"a {word}"] * SEEDS, negative, 1000, guidance)
    coloured = draw(host, [f"a {word} on a {colour} background" for colour in COLOURS], negative, 2000, guidance)
    control = np.mean([nearest_background(to_pixels(p)) == c for p, c in zip(coloured, COLOURS, strict=True)])
    figures = {**judge(plain), "similarity_on_colours": judge(coloured)["similarity"], "colour_control": float(control)}
    return figures, plain[:4] + coloured[:4]


class Vocabulary:
    """Everything that the model can be asked for in plain words, drawn in the reference's style on white."""

    def __init__(self, host: DiffusersHost, words: Sequence[str], guidance: float) -> None:
        self.host, self.guidance = host, guidance
        self.once = dict(zip(words, draw(host, [_prompt(word) for word in words], "", 3000, guidance), strict=True))
        self.often: dict[str, list[Image.Image]] = {}

    def drawn(self, word: str) -> list[Image.Image]:
        if word not in self.often:
            self.often[word] = draw(self.host, [_prompt(word)] * SEEDS, "", 1000, self.guidance)
        return self.often[word]

    def nearest(self, judge: Judge) -> dict[str, tuple[dict, list[Image.Image]]]:
        """By measure: figures and pictures of the plain prompt that comes nearest to the reference. Whoever tried
        every word, with the reference beside it, would find no nearer one."""
        once = {word: judge([picture]) for word, picture in self.once.items()}
        best = {}
        for name, sign in NEARNESS.items():
            ranked = sorted(once, key=lambda word: -sign * once[word][name])
            results = [({**judge(self.drawn(word)), "word": word}, self.drawn(word)) for word in ranked[:CANDIDATES]]
            best[name] = max(results, key=lambda result: sign * result[0][name])
        return best


def _prompt(word: str) -> str:
    return f"a noto emoji of a {word.replace('-', ' ')} on a white background"


def learn(host: DiffusersHost, picture: Path, config: TrainConfig) -> EmbeddingPair:
    training = Training(host, config, load_pictures([picture], host.picture_size, host.picture_size))
    for _ in training.run():
        pass
    return training.pair.detached()


def measure_inversion(
    model: Path, pictures: Path, out: Path, concepts: Sequence[str], guidances: Sequence[float], settings: dict
) -> None:
    """Write inversion.json (all figures) and inversion.png (a row per concept and way) to `out`."""
    host = load_host(model)
    base = TrainConfig.from_mapping({**training_defaults(model), **settings, "name": "mything"})
    vocabulary = Vocabulary(host, [*drawings.training_concepts(), *concepts], guidances[0])
    rows, sheet = [], []
    out.mkdir(parents=True, exist_ok=True)
    for concept in concepts:
        path = pictures / f"{concept}.png"
        reference = load_pictures([path], host.picture_size, host.picture_size)[0].pixels
        judge = Judge(reference)
        for name, (best, drawn) in vocabulary.nearest(judge).items():
            rows.append({"concept": concept, "way": f"best plain prompt by {name}", "guidance": guidances[0], **best})
            if name == "similarity":
                sheet.append([to_image(reference), *drawn])
        named = vocabulary.drawn(concept)
        rows.append({"concept": concept, "way": "its own name", "guidance": guidances[0], **judge(named)})
        for way in ("pair", "plain"):
            own = {} if way == "pair" else {"use_negative": False, "fix_norm": "off"}
            pair = learn(host, path, replace(base, **own))
            save_pair(pair, out / "pairs" / f"{concept}-{way}")
            negative = negative_name(pair.name) if way == "pair" else ""
            with host.bind(pair.named()):
                for guidance in guidances:
                    figures, drawn = judge_words(host, judge, pair.name, negative, guidance)
                    rows.append({"concept": concept, "way": way, "guidance": guidance, **figures})
                    sheet.append([to_image(reference), *drawn])
        (out / "inversion.json").write_text(json.dumps({"settings": base.to_json(), "rows": rows}, indent=1))
        save_sheet(sheet, out / "inversion.png")
        print(json.dumps(summary(rows)), flush=True)


def summary(rows: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Means over the concepts, by way and guidance."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(f"{row['way']} {row['guidance']:g}", []).append(row)
    names = (*NEARNESS, "similarity_on_colours", "diversity", "colour_control")
    return {
        group: {n: round(float(np.mean([m[n] for m in members])), 3) for n in names if n in members[0]}
        for group, members in groups.items()
    }


def save_sheet(rows: Sequence[Sequence[Image.Image]], path: Path) -> None:
    grid(rows).save(path, optimize=True)
