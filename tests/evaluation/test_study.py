"""The study: its arms are settings that a training takes, and what no setting says does what its name says."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dreamartist_ext.engine.attention_mask import grey_to_weight
from dreamartist_ext.engine.config import TrainConfig
from dreamartist_ext.engine.embedding import EmbeddingPair
from dreamartist_ext.files.charts import SERIES
from dreamartist_ext.files.run import RunFiles
from dreamartist_ext.hosts.diffusers.model_files import training_defaults
from dreamartist_ext.many.together import Member, train_together
from tests.engine.fake_host import FakeHost
from tests.engine.test_trainer import config, picture
from tests.models import tiny_host
from tools.study import third_model
from tools.study.arms import ARMS, BEGAN_FROM, CONCEPTS, REPORT, TUNE, concepts_named
from tools.study.composition import USES, unconditional
from tools.study.pictures import PLANE, planes_png
from tools.study.run import Protocol, thing_mask
from tools.study.table import COLUMNS, FIGURES, RECOGNISED, changes, compare, merged, read_csv, summary, write_csv
from tools.study.together import drawn_together, groups_of, sharing
from tools.study.ways import WAYS


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_is_settings_that_a_training_takes(name):
    arm = ARMS[name]
    config = TrainConfig.from_mapping({**training_defaults(), **BEGAN_FROM, **arm.settings})
    assert all(0 < step < config.steps for step in arm.at)
    assert arm.way in WAYS


@pytest.mark.parametrize("name", third_model.ARMS)
def test_every_arm_on_the_third_model_is_settings_that_a_training_takes(name):
    arm = third_model.ARMS[name]
    config = TrainConfig.from_mapping({**training_defaults(), **third_model.BEGAN_FROM, **arm.settings})
    assert all(0 < step < config.steps for step in arm.at)
    assert arm.way in WAYS


def test_published_figures_are_of_these_settings():
    """arms.json says what every arm was when it was measured; a new one is added there, none is changed."""
    measured = json.loads(Path(__file__).with_name("arms.json").read_text(encoding="utf-8"))
    arms = {name: json.loads(json.dumps(asdict(arm))) for name, arm in ARMS.items()}
    assert {name: {key: value for key, value in arm.items() if value} for name, arm in arms.items()} == measured


def test_published_figures_on_the_third_model_are_of_these_settings():
    measured = json.loads(Path(__file__).with_name("third_model_arms.json").read_text(encoding="utf-8"))
    assert measured["began from"] == third_model.BEGAN_FROM
    for name, settings in measured["arms"].items():
        arm = json.loads(json.dumps(asdict(third_model.ARMS[name])))
        assert {key: value for key, value in arm.items() if value} == settings


def test_planes_show_every_arm():
    rows = [
        row(arm, concept, seed, similarity=at + 0.1 * seed, diversity=at, colour_control=0.9)
        for arm, at in (("pair", 0.3), ("plain", 0.6))
        for concept in ("owl", "crown")
        for seed in (0, 1)
    ]
    with Image.open(io.BytesIO(planes_png(rows, ["pair", "plain"]))) as drawn:
        assert drawn.size == (2 * PLANE[0], PLANE[1])
        pixels = np.asarray(drawn.convert("RGB"))
    for colour in SERIES[:2]:
        shown = (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=2)
        assert shown[:, : PLANE[0]].sum() > 50 and shown[:, PLANE[0] :].sum() > 50


def test_the_tabs_arm_is_what_a_model_without_its_own_defaults_gets():
    config = TrainConfig.from_mapping({**training_defaults(), **BEGAN_FROM, **ARMS["tab"].settings})
    words = {name: getattr(config, name) for name in ("initialization_text", "template")}
    assert config == TrainConfig.from_mapping(words)


def test_no_thing_is_in_both_halves():
    assert len(TUNE) == len(REPORT) == 10
    assert set(TUNE).isdisjoint(REPORT)
    assert concepts_named(["tune", "report"]) == concepts_named([*TUNE, *REPORT])
    assert sorted(concepts_named(["all"])) == list(CONCEPTS)
    with pytest.raises(SystemExit, match="unicorn is not one of the held-out things"):
        concepts_named(["unicorn"])


def trained(way: str, **settings):
    training = WAYS[way](FakeHost(), config(**settings), [picture()])
    start = training.pair.detached()
    for _ in training.run():
        pass
    return start, training.pair.detached()


def test_negative_only_leaves_the_positive_as_it_was():
    start, end = trained("negative only")
    assert torch.equal(start.positive["clip"], end.positive["clip"])
    assert (start.negative["clip"] - end.negative["clip"]).abs().min() > 0


def test_empty_negatives_stand_in_half_of_the_samples():
    training = WAYS["empty negative in half"](FakeHost(), config(batch_size=4, steps=50), [picture()])
    seen = []
    encode = training.host.encode_prompts
    training.host.encode_prompts = lambda prompts: (seen.extend(prompts), encode(prompts))[1]
    for _ in training.run():
        pass
    negatives = [prompt for prompt in seen if prompt == "" or "-neg" in prompt]
    assert len(negatives) == 200
    assert 60 < negatives.count("") < 140  # p < 1e-8 outside, for a fair coin


def test_the_mask_of_a_thing_leaves_out_what_is_white():
    pixels = torch.ones(3, 2, 2)
    pixels[0, 0, 0] = -1.0
    assert grey_to_weight(thing_mask(pixels)).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def row(arm: str, concept: str, seed: int, **values: float) -> dict:
    figures = dict.fromkeys(FIGURES, 0.5) | values
    about = {"arm": arm, "concept": concept, "seed": seed, "step": 10, "guidance": 3.0}
    return {**dict.fromkeys(COLUMNS, ""), **about, **figures}


def test_the_table_says_who_is_ahead(tmp_path):
    rows = [
        row(arm, concept, seed, diversity=diversity)
        for arm, diversity in (("pair", 0.6), ("plain", 0.4))
        for concept in ("owl", "cactus")
        for seed in (0, 1)
    ]
    write_csv(rows[::-1], tmp_path / "table.csv")
    write_csv(rows, tmp_path / "again.csv")
    assert (tmp_path / "table.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    kept = read_csv(tmp_path / "table.csv")
    assert sorted(map(str, kept)) == sorted(map(str, rows))
    said = compare(kept, "pair", "plain")
    assert "diversity 0.200 (0.200 to 0.200)" in said
    assert "similarity against diversity: pair Pareto-better for 2 of 2 concepts, plain for 0" in said
    assert "similarity against colour control: pair Pareto-better for 0 of 2 concepts, plain for 0" in said
    assert "| pair | 10 | 3 | 2 |" in summary(kept)


def test_where_every_colour_comes_recognition_on_colours_is_counted():
    rows = [
        row(arm, "owl", 0, colour_control=1.0, first_on_colours=first) for arm, first in (("pair", 0.5), ("plain", 0.3))
    ]
    assert "similarity against first on colours: pair Pareto-better for 1 of 1 concepts, plain for 0" in compare(rows)
    assert "against colour control" not in compare(rows)


def test_a_seed_that_only_one_of_two_arms_has_does_not_count_for_who_is_ahead():
    rows = [row("pair", "owl", 0, diversity=0.6), row("plain", "owl", 0, diversity=0.4)]
    more = [row("pair", "owl", 1, diversity=0.0), row("plain", "owl", 0, diversity=0.9) | {"guidance": 9.0}]
    assert compare([*rows, *more], "pair", "plain") == compare(rows, "pair", "plain")
    assert "diversity: pair Pareto-better for 1 of 1 concepts" in compare(rows, "pair", "plain")


def test_figures_that_an_older_table_lacks_are_left_out(tmp_path):
    rows = [row(arm, "owl", 0) for arm in ("pair", "plain")]
    rows = [{name: value for name, value in old.items() if name not in RECOGNISED} for old in rows]
    write_csv(rows, tmp_path / "old.csv", [name for name in COLUMNS if name not in RECOGNISED])
    for kept in (rows, read_csv(tmp_path / "old.csv")):
        said = summary(kept) + compare(kept) + changes(kept)
        assert "similarity" in said
        assert "among three" not in said
    assert "among three" in summary([row("pair", "owl", 0)])


class Letters:
    """A host whose conditioning of a prompt is its letters."""

    def encode_prompts(self, prompts):
        return torch.tensor([[[float(ord(letter))] for letter in prompt.ljust(16)] for prompt in prompts])


def test_ways_of_using_several_negatives():
    host = Letters()
    empty, first, both, second = (host.encode_prompts([text]) for text in ("", "a-neg", "a-neg, b-neg", "b-neg"))
    made = {label: unconditional(host, ["a", "b"], use) for label, use in USES.items()}
    assert torch.equal(made["all, as the hook does"], both)
    assert torch.equal(made["the first one's"], first)
    assert torch.equal(made["none"], empty)
    assert torch.equal(made["all, half way"], (empty + both) / 2)
    assert torch.equal(made["mean of each"], (first + second) / 2)


def test_changes_are_matched_and_count_who_is_pareto_better():
    rows = [
        row("pair", "owl", 0, similarity=0.4, diversity=0.5),
        row("pair", "crown", 0, similarity=0.2, diversity=0.5),
        row("plain", "owl", 0, similarity=0.35, diversity=0.4),
        row("plain", "crown", 0, similarity=0.3, diversity=0.5),
        row("other", "owl", 0, similarity=0.5, diversity=0.3),
    ]
    lines = changes(rows).splitlines()
    pair, plain, other = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:])
    assert pair[:4] == ["pair", "2", "2", "0.000 (0.000 to 0.000)"]
    assert pair[-2:] == ["1, 1", "1, 1"]
    assert plain[3].startswith("0.025 ")  # -0.05 for the owl, 0.1 for the crown
    assert other[:3] == ["other", "1", "1"]
    assert other[3].startswith("0.100 ")
    assert other[-2:] == ["0, 0", "1, 0"]


def test_trainings_of_an_arm_are_cut_into_groups_and_arms_are_never_mixed():
    groups = groups_of({"a": ARMS["pair"], "b": ARMS["plain"]}, ["owl", "crown"], [0, 1], most=3)
    assert [(group.label, group.tasks) for group in groups] == [
        ("a", (("owl", 0), ("crown", 0), ("owl", 1))),
        ("a", (("crown", 1),)),
        ("b", (("owl", 0), ("crown", 0), ("owl", 1))),
        ("b", (("crown", 1),)),
    ]


def test_cross_initialization_starts_from_the_encoders_output(tmp_path):
    host = tiny_host(tmp_path)
    settings = {"initialization_text": "cat on a", "vectors": 6, "negative_vectors": 2, "steps": 1}
    pair = WAYS["cross initialization"](host, config(**settings), [picture()]).pair
    with torch.no_grad():
        output = host.encode_prompts(["cat on a"])[0]
    tokens = len(host.token_ids("cat on a"))
    assert tokens > 1
    assert torch.equal(pair.positive["clip"][0], output[1])
    assert torch.equal(pair.positive["clip"][5], output[1 + 5 * tokens // 6])
    assert torch.allclose(pair.negative["clip"][0], output[1], atol=0.01)
    assert not torch.equal(pair.negative["clip"][0], output[1])
    assert (pair.positive["clip"][0] - host.initial_vectors("cat", 1)["clip"][0]).abs().max() > 0.01


def test_ways_of_training_share_passes_too(tmp_path):
    host = FakeHost()
    members = [
        Member(
            sharing(WAYS["negative only"])(host, config(name=f"thing{i}x"), [picture()]),
            RunFiles(tmp_path, f"thing{i}x"),
        )
        for i in range(2)
    ]
    starts = [member.training.pair.detached() for member in members]
    for _ in train_together(host, members):
        pass
    for member, start in zip(members, starts, strict=True):
        end = member.training.pair.detached()
        assert torch.equal(start.positive["clip"], end.positive["clip"])
        assert (start.negative["clip"] - end.negative["clip"]).abs().min() > 0


def test_pairs_are_drawn_together_but_never_two_of_one_name():
    def pair(name, step):
        return EmbeddingPair(name=name, positive={"clip": torch.zeros(1, 4)}, negative=None, step=step)

    class Drawing:
        protocol = Protocol(seeds=1, steps=2)

        def __init__(self):
            self.batches = []

        def draw(self, batch):
            self.batches.append(sorted(batch.embeddings))
            return list(batch.prompts)

    study = Drawing()
    drawn = list(drawn_together(study, [pair("ax", 1), pair("bx", 1), pair("ax", 2), pair("bx", 2)], 3.0))
    assert study.batches == [["ax", "bx"], ["ax", "bx"]]
    assert [pictures[0] for pictures in drawn] == ["a ax", "a bx", "a ax", "a bx"]
    assert len({len(pictures) for pictures in drawn}) == 1


def test_rows_made_again_take_the_place_of_the_old_ones():
    old, other = row("pair", "owl", 0, similarity=0.1), row("pair", "owl", 1, similarity=0.2)
    new = row("pair", "owl", 0, similarity=0.3)
    assert merged([old, other], [new]) == [new, other]


def test_a_rival_is_counted_with_the_trainings_that_an_arm_has():
    rows = [
        row("pair", "owl", 0, similarity=0.4, diversity=0.5),
        row("pair", "owl", 1, similarity=0.4, diversity=0.5),
        row("plain", "owl", 0, similarity=0.3, diversity=0.4),
        row("plain", "owl", 1, similarity=0.9, diversity=0.9),
        row("other", "owl", 0, similarity=0.4, diversity=0.5),
    ]
    other = next(line for line in changes(rows).splitlines() if line.startswith("| other"))
    assert [cell.strip() for cell in other.split("|")][-3] == "1, 0"
