"""The report: the same figures everywhere, nothing of a user's unescaped, nothing drawn twice."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
from dataclasses import replace

import pytest

from dreamartist_ext.engine.errors import StoppedError
from dreamartist_ext.evaluation.eyes import Eyes
from dreamartist_ext.evaluation.features import FeatureNet
from dreamartist_ext.evaluation.figures import DIFFERENCE, EVERYTHING, Observation, Way, figures_of
from dreamartist_ext.evaluation.plan import Plan
from dreamartist_ext.evaluation.prompt_lists import Edit, PromptLists
from dreamartist_ext.evaluation.report import as_data, report_html, write_report

from .studio import a_concept, an_evaluation

HOSTILE = "<script>'&\"<x>"
WAYS = ("way0", "way1", "way2")
SECTION_TITLES = (
    "What was asked for",
    "In other styles",
    "Changing a picture: another thing put in",
    "Changing a picture: the thing put elsewhere",
)
NASTY = '<img src=x onerror="alert(1)">&amp;\'"'


@pytest.fixture(scope="module")
def eyes() -> Eyes:
    return Eyes(FeatureNet())


@pytest.fixture(scope="module")
def results(tmp_path_factory, eyes):
    concepts = [a_concept("a-red-one", "red", model=NASTY), a_concept("blue", "blue", settings='{"steps": 40}')]
    return an_evaluation(tmp_path_factory.mktemp("evaluation"), concepts, eyes).run()


class Cells(html.parser.HTMLParser):
    """The figures in a page, and every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.figures, self.tags, self.texts = {}, [], []
        self.inside = []  # (tag, text)
        self.feed(page)

    def said(self, *tags):
        """The texts of these elements, in the order of the page."""
        return [text for tag, text in self.inside if tag in tags]

    def handle_data(self, text):
        self.texts.append(text)
        if text.strip():
            self.inside.append((self.tags[-1][0], text))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        if "data-figure" in values:
            key = tuple(json.loads(values["data-figure"]))
            self.figures[key] = tuple(float(values[name]) for name in ("value", "data-low", "data-high"))


def test_page_json_and_csv_hold_the_same_figures(results, tmp_path):
    paths = write_report(results, tmp_path)
    assert [path.name for path in paths] == ["report.html", "figures.json", "figures.csv"]
    names = ("section", "concept", "way", "guidance", "strength", "figure")
    in_json = {
        tuple(row[name] for name in names): (row["mean"], row["low"], row["high"])
        for row in json.loads(paths[1].read_text())["figures"]
    }
    in_csv = {}
    for row in csv.DictReader(io.StringIO(paths[2].read_text())):
        row["guidance"], row["strength"] = float(row["guidance"]), float(row["strength"]) if row["strength"] else None
        in_csv[tuple(row[name] for name in names)] = tuple(float(row[name]) for name in ("mean", "low", "high"))
    assert len(in_json) > 100
    assert in_json == in_csv == Cells(paths[0].read_text()).figures


def test_every_way_of_every_section_is_measured_with_an_interval(results):
    seen = {(f.section, f.way) for f in results.figures}
    ways = {way.value for way in Way}
    for section, expected in (
        ("subjects", ways | {DIFFERENCE}),
        ("styles", ways | {DIFFERENCE}),
        ("editing", ways - {"plain word"} | {DIFFERENCE}),
        ("surroundings", ways - {"plain word"} | {DIFFERENCE}),
    ):
        assert {way for s, way in seen if s == section} == expected
    assert all(figure.low <= figure.mean <= figure.high for figure in results.figures)
    assert {f.concept for f in results.figures if f.section == "subjects"} == {"a-red-one", "blue", EVERYTHING}


def test_two_things_cannot_be_recognised_among_two(results, eyes, tmp_path):
    assert not [f for f in results.figures if f.section == "composition"]
    others = {"green": a_concept("x", "green").reference, "black": a_concept("x", "black").reference}
    more = an_evaluation(tmp_path, list(results.concepts), eyes, others=others).run()
    found = [f for f in more.figures if f.section == "composition" and f.figure == "found"]
    assert {f.way for f in found} == {"pair", "positive only", DIFFERENCE}
    assert set(more.candidates) == {"a-red-one", "blue", "green", "black"}


def test_what_comes_from_files_is_text_in_the_page(results):
    page = report_html(results)
    assert NASTY not in page
    tags = Cells(page).tags
    assert all(not name.startswith("on") for _, values in tags for name in values)
    assert {values["src"][:22] for tag, values in tags if tag == "img"} == {"data:image/jpeg;base64"}


def test_a_hostile_name_is_text_wherever_a_page_shows_one(eyes, tmp_path):
    """In names, words, prompts, settings, and what the model and the eyes are called."""
    lists = PromptLists(
        subjects=(f"a [name] {HOSTILE}1",),
        styles=(f"[name] {HOSTILE}2",),
        editing=(Edit(f"a cat {HOSTILE}3", f"a [name] {HOSTILE}4"), Edit(None, "[name]")),
        composition=(f"[name] and [name] {HOSTILE}5",),
    )
    plan = Plan(lists, seeds=(1,), guidances=(2.0, 4.0), steps=1, strengths=(0.5,))
    concepts = [a_concept(f"x{HOSTILE}6", "red", **{f"{HOSTILE}7": f"{HOSTILE}8"}), a_concept("blue", "blue")]
    concepts[1] = replace(concepts[1], plain_word=f"{HOSTILE}9")
    others = {f"{HOSTILE}10": a_concept("x", "green").reference}
    results = an_evaluation(tmp_path, concepts, eyes, plan=plan, others=others).run()
    page = report_html(replace(results, model=f"{HOSTILE}11", eyes=f"{HOSTILE}12"))
    assert "<script" not in page
    found = Cells(page)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "x"})
    shown = "".join([*found.texts, *(value or "" for _, values in found.tags for value in values.values())])
    missing = [number for number in range(1, 13) if not re.search(rf"{re.escape(HOSTILE)}{number}(?!\d)", shown)]
    assert missing == []


def test_a_page_says_what_its_parts_say_in_their_order(results):
    """Headings, and the links to them; the pictures' prompts and heads; what charts are to who cannot see them."""
    found = Cells(report_html(results))
    concept = ["In other styles", "Changing a picture"]
    assert found.said("h2", "h3") == [
        *("a-red-one", *concept, "blue", *concept),
        *("Several in one picture", "a-red-one + blue", "In plain words", "Likeness against colour obeyed"),
        *("Every figure", *SECTION_TITLES, "How they were learned"),
        *("How it was made", "a-red-one", "blue", "The drawings"),
    ]
    assert found.said("h4") == ["a-red-one", "blue"] * len(SECTION_TITLES)
    assert found.said("summary")[:2] == ["The same at guidance (CFG) 2"] * 2
    assert found.said("figcaption") == [
        *("all of them", "a-red-one", "blue"),
        *("a-red-one, used as it was at step 40", "blue, used as it was at step 40"),
    ]
    links = [values["href"] for tag, values in found.tags if tag == "a"]
    assert links == [f"#{values['id']}" for tag, values in found.tags if tag == "section" and "id" in values]
    labels = [values["aria-label"] for tag, values in found.tags if tag == "svg"]
    assert labels == ["Likeness against Colour obeyed"] * 3 + ["check loss over steps"] * 2
    heads = [values["data-way"] for _, values in found.tags if values.get("class") == "cell"]
    of_a_row = ["The pair", "The positive only", "A plain word"]
    assert heads[:19] == [*of_a_row * 5, *["Before", "Strength 0.5"] * 2]


def test_charts_are_themed_by_the_page_and_share_no_id(results):
    page = report_html(results)
    assert page == report_html(results)
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    ids = [id for chart in charts for id in re.findall(r' id="([^"]+)"', chart)]
    assert len(ids) == len(set(ids)) > 0
    assert {id for chart in charts for id in re.findall(r"#([\w-]+)\b(?=[)\"])", chart)} == set(ids)
    for chart in charts:
        colours = set(re.findall(r"(?:fill|stroke|color): ([^;\"]+)", chart))
        assert colours <= {"none", "currentColor", *(f"var(--{name})" for name in ("quiet", "line", *WAYS))}
        assert not re.search(r"font-family|<style|xmlns", chart)
    assert {"pair, 2", "positive only, 4", "plain word, 2"} <= set(Cells(page).said("title"))


def test_the_page_needs_no_other_file(results):
    page = report_html(results)
    assert not re.search(r"<(link|script|iframe)\b|url\((?!#)|https?://", page)
    assert page.count("<svg") >= 5
    for concept in results.concepts:
        assert f"<h2>{concept.name}</h2>" in page


def test_without_a_negative_there_are_two_ways(eyes, tmp_path):
    results = an_evaluation(tmp_path, [a_concept("lone", "red", with_negative=False)], eyes).run()
    assert {f.way for f in results.figures} == {"positive only", "plain word"}
    assert "<h1>How good is lone?</h1>" in report_html(results)
    assert as_data(results)["concepts"][0]["has_negative"] is False


def test_a_stopped_run_goes_on_and_ends_with_the_same(eyes, tmp_path):
    concepts = [a_concept("blue", "blue")]

    def stop_half_way(progress):
        if progress.done > progress.total / 2:
            raise StoppedError("enough.")

    with pytest.raises(StoppedError):
        an_evaluation(tmp_path / "a", concepts, eyes, on_progress=stop_half_way).run()
    resumed = an_evaluation(tmp_path / "a", concepts, eyes)
    found = resumed.run()
    whole = an_evaluation(tmp_path / "b", concepts, eyes)
    assert found.figures == whole.run().figures
    assert 0 < resumed.progress.done < whole.progress.done
    again = an_evaluation(tmp_path / "b", concepts, eyes)
    again.run()
    assert again.progress.done == again.progress.total == 0


def test_the_total_is_what_is_drawn(eyes, tmp_path):
    totals = []
    evaluation = an_evaluation(
        tmp_path, [a_concept("blue", "blue")], eyes, on_progress=lambda p: totals.append(p.total)
    )
    evaluation.run()
    assert set(totals) == {evaluation.progress.done}


def test_the_negative_s_part_is_matched_by_prompt_and_seed():
    def seen(way, seed, value):
        return Observation("subjects", "x", way, 5.0, None, "p", seed, {"similarity": value})

    rows = [seen("pair", s, 0.1 * s + 0.05) for s in range(9)] + [seen("positive only", s, 0.1 * s) for s in range(9)]
    (difference,) = [figure for figure in figures_of(rows) if figure.way == DIFFERENCE]
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.05, 0.05, 0.05))
    assert difference.is_certain
