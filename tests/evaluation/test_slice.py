"""A small, seeded slice of the study: what a pair was worth when these intervals were measured, it must be worth still.

Frozen settings, so that other defaults are no news to it: it watches the training, the drawing and the measures.
docs/evidence/quality.md says how the intervals were found, and what falls outside of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import pytest

from dreamartist_ext.engine.check_loss import CheckLoss
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.engine.preview import to_image
from dreamartist_ext.engine.trainer import Training
from dreamartist_ext.evaluation.evaluate import Evaluation
from dreamartist_ext.evaluation.eyes import Eyes
from dreamartist_ext.evaluation.features import FeatureNet
from dreamartist_ext.evaluation.figures import Way
from dreamartist_ext.evaluation.gather import References, concept_of, files_of, other_pictures
from dreamartist_ext.evaluation.plan import Concept, Plan
from dreamartist_ext.evaluation.prompt_lists import PromptLists
from dreamartist_ext.evaluation.studio import studio_of
from dreamartist_ext.files.picture_files import load_picture
from dreamartist_ext.files.pictures import load_pictures
from dreamartist_ext.files.storage import load_pair
from dreamartist_ext.hosts.diffusers.host import DiffusersHost
from dreamartist_ext.hosts.diffusers.model_files import EMBEDDED_MODEL, load_host

SAMPLES = EMBEDDED_MODEL.parent / "samples"
REFERENCE = SAMPLES / "pineapple.png"
SETTINGS = {
    "name": "mything",
    "initialization_text": "1 2 3 4 5 6",
    "template": "an emoji of a [name] on a white background|a [name] on a white background",
    "vectors": 6,
    "negative_vectors": 6,
    "steps": 150,
    "batch_size": 4,
    "learning_rate": "0.05",
    "negative_lr_ratio": 0.3,
    "cosine": True,
    "guidance": "1.3",
    "noisy_weight": 0.5,
    "timestep_exponent": 0.65,
    "seed": 0,
}
PLAN = Plan(
    PromptLists(
        subjects=("a [name] on a white background", "a [name] on a red background", "a [name] on a blue background")
    ),
    seeds=(0, 1),
    guidances=(2.5,),
    steps=12,
)
# What three runs gave (seeds 0 to 2, bf16), each end moved out twice as far as they differed; of the check loss once,
# of the gain over the positive alone by 0.05; similarity as with the recipe before, which is narrower.
EXPECTED = {
    "check loss, of the empty prompt's": (0.34, 0.46),
    "pair, similarity": (0.29, 0.42),
    "pair, style_distance": (0.41, 0.47),
    "pair minus positive only, similarity": (-0.03, 0.08),
    "pair, diversity": (0.06, 0.19),
    "pair, colour_control": (0.75, 1.0),
}
# Of the shipped pairs, which do not change: the mean check loss as a share of the empty prompt's.
SHIPPED = ("hedgehog", "pineapple", "teapot")
SHIPPED_LOSS = 0.256
NOTICED = 0.04  # of that
WORSE = 0.16  # of the way back to where the vectors began: about a tenth more of the loss


def mean_check(checks: Sequence[CheckLoss]) -> float:
    losses = []
    for check in checks:
        with check.training.host.bind(check.training.pair.named()):
            found = check()
        losses.append(found.loss / found.baseline)
    return sum(losses) / len(losses)


def going_on(name: str, host: DiffusersHost) -> tuple[Training, EmbeddingPair]:
    """A short, gentle training from a shipped pair, and the pair that one of its kind starts from."""
    settings = {**SETTINGS, "name": name, "steps": 20, "learning_rate": "0.005"}
    pictures = load_pictures([SAMPLES / f"{name}.png"], host.picture_size, host.picture_size)
    training = Training(host, TrainConfig.from_mapping(settings), pictures)
    start = training.pair.detached()
    training.start_from(load_pair(SAMPLES.parent / "pairs", name))
    return training, start


@pytest.mark.slow
def test_shipped_pairs_are_as_near_as_they_were_and_a_tenth_worse_is_noticed():
    """A training from the start ends up to a tenth apart with another seed; one that goes on from a pair does not."""
    host = load_host()
    trainings, starts = zip(*(going_on(name, host) for name in SHIPPED), strict=True)
    checks = [CheckLoss(training) for training in trainings]
    with host.session():
        before = mean_check(checks)
    for training in trainings:
        for _ in training.run():
            pass
    with host.session():
        after = mean_check(checks)
        for training, start in zip(trainings, starts, strict=True):
            for word, half in training.pair.named().items():
                for key, vectors in half.items():
                    vectors.data.lerp_(start.named()[word][key], WORSE)
        worse = mean_check(checks)
    print(f"check loss {before:.4f}, after 20 steps {after:.4f}, made worse {worse:.4f}")
    assert before == pytest.approx(SHIPPED_LOSS, rel=NOTICED)
    assert after < SHIPPED_LOSS * (1 + NOTICED)
    assert SHIPPED_LOSS * (1 + NOTICED) < worse < SHIPPED_LOSS * 1.12


@pytest.mark.slow
def test_a_pair_is_worth_what_it_was(tmp_path):
    host = load_host()
    pictures = load_pictures([REFERENCE], host.picture_size, host.picture_size)
    training = Training(host, TrainConfig.from_mapping(SETTINGS), pictures)
    check = CheckLoss(training)
    with closing(training.run()) as reports:
        for report in reports:
            if report.step == report.steps:
                last = check()
    concept = Concept(training.kept().detached(), to_image(pictures[0].pixels), "emoji")
    results = Evaluation([concept], PLAN, Eyes(FeatureNet()), studio_of(host), tmp_path).run()
    found = {f"{figure.way}, {figure.figure}": figure.mean for figure in results.figures}
    found["check loss, of the empty prompt's"] = last.loss / last.baseline
    print({name: round(found[name], 4) for name in EXPECTED})
    outside = {name: found[name] for name, (low, high) in EXPECTED.items() if not low <= found[name] <= high}
    assert not outside


def test_the_shipped_pairs_can_be_evaluated():
    assets = EMBEDDED_MODEL.parent
    references = References.parse([str(assets / "samples")])
    files = files_of([str(assets / "pairs")], assets)
    concepts = [concept_of(each, load_picture(references.find(each, False)), 128) for each in files]
    assert [concept.name for concept in concepts] == ["hedgehog", "pineapple", "teapot"]
    for concept in concepts:
        assert concept.ways == tuple(Way)
        assert concept.plain_word == "thing"
        assert concept.checks[-1].loss < concept.checks[-1].baseline
        assert concept.pair.step == concept.checks[-1].step
        about = " ".join(concept.pair.provenance.values())
        assert "/" not in about.replace("[name]", "")
    assert len(other_pictures(references, concepts, 128)) >= 5
