"""As test_fuzz.py, with damage that hypothesis invents: it looks for the smallest file that breaks what must hold."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from testbed.hostile_files import ENDINGS, EXTREMES, _chunks_repaired, hostile_files, own_ending, whole_files

from .test_fuzz import MOST_SECONDS, check, marker, watch  # noqa: F401 (fixtures)

FAST, ALL = 60, 10_000
LONGEST = 2**18  # bytes that are kept of a file: bombs need no more to be recognised
EDGE = 400  # bytes at either end, where a format has its structure


@st.composite
def places(draw):
    """A place in a file of any size: counted from its beginning, from its end, or a share of it."""
    kind = draw(st.sampled_from(["beginning", "end", "share"]))
    return kind, draw(st.floats(0, 1) if kind == "share" else st.integers(0, EDGE))


def place_in(content, place):
    kind, number = place
    at = {"beginning": number, "end": len(content) - number, "share": number * len(content)}[kind]
    return min(max(int(at), 0), len(content))


def cut(content, place, _others, _amount, _inserted):
    return content[:place]


def flip(content, place, _others, amount, _inserted):
    return content[:place] + bytes(byte ^ 1 << amount % 8 for byte in content[place : place + 1]) + content[place + 1 :]


def number(content, place, _others, amount, _inserted):
    size = (1, 2, 4, 8)[amount % 4]
    extreme = EXTREMES[amount % len(EXTREMES)] % 2 ** (8 * size)
    order = "little" if amount % 2 else "big"
    return content[:place] + extreme.to_bytes(size, order) + content[place + size :]


def insert(content, place, _others, _amount, inserted):
    return content[:place] + inserted + content[place:]


def replace(content, place, _others, _amount, inserted):
    return content[:place] + inserted + content[place + len(inserted) :]


def delete(content, place, _others, amount, _inserted):
    return content[:place] + content[place + amount :]


def splice(content, place, others, amount, _inserted):
    other = others[amount % len(others)]
    return content[:place] + other[amount : amount + 2000] + content[place:]


def repeat(content, place, _others, amount, _inserted):
    return content[:place] + content[place : place + amount] * (1 + amount % 20) + content[place:]


def repair(content, _place, _others, _amount, _inserted):
    return _chunks_repaired(content)


ACCIDENTS = (cut, flip, number, insert, replace, delete, splice, repeat, repair)
accidents = st.tuples(st.sampled_from(ACCIDENTS), places(), st.integers(0, 300), st.binary(max_size=40))
others_ending = st.one_of(st.none(), st.none(), st.none(), st.sampled_from(ENDINGS))


@dataclass
class Figures:
    outcomes: Counter = field(default_factory=Counter)
    seen: set = field(default_factory=set)
    seconds: list = field(default_factory=list)

    def __str__(self):
        return (
            f"{sum(self.outcomes.values())} files, {len(self.seen)} different ones: {self.outcomes['sound']} sound, "
            f"{self.outcomes['refused']} refused, none executed, none crashed; CPU of a file "
            f"{1000 * sum(self.seconds) / len(self.seconds):.2f} ms, longest {1000 * max(self.seconds):.0f} ms"
        )


def sources(marker):  # noqa: F811
    """Whole files and hostile ones, the empty ones aside: there is nothing to damage in them."""
    return [*whole_files(), *(content for content in hostile_files(marker) if len(content) > 1)]


def fuzz(folder, watch, marker, count):  # noqa: F811
    every, whole, figures = sources(marker), len(whole_files()), Figures()
    picks = st.one_of(st.integers(0, whole - 1), st.integers(whole, len(every) - 1))

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(picks, st.lists(accidents, min_size=1, max_size=5), others_ending)
    def damaged_files_are_sound_or_one_sentence(source, happened, ending):
        content = every[source][:LONGEST]
        for accident, place, amount, inserted in happened:
            content = accident(content, place_in(content, place), every, amount, inserted)[:LONGEST]
        path = folder / f"x{own_ending(every[source]) if ending is None else ending}"
        path.write_bytes(content)
        watch.seen.clear()
        offers, _, seconds = check(path, watch)
        assert (watch.seen, marker.exists()) == ([], False)
        assert seconds < MOST_SECONDS
        figures.outcomes["sound" if offers else "refused"] += 1
        figures.seen.add(hashlib.sha256(path.suffix.encode() + content).digest())
        figures.seconds.append(seconds)
        path.unlink()

    damaged_files_are_sound_or_one_sentence()
    print(figures)
    return figures


def test_some_damage(watch, marker, tmp_path):  # noqa: F811
    figures = fuzz(tmp_path, watch, marker, FAST)
    assert len(figures.seen) > FAST / 2


@pytest.mark.slow
def test_ten_thousand_kinds_of_damage(watch, marker, tmp_path):  # noqa: F811
    figures = fuzz(tmp_path, watch, marker, ALL)
    assert min(figures.outcomes["sound"], figures.outcomes["refused"]) > ALL / 50
