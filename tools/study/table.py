"""The raw table and what it says."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamartist_ext.evaluation.intervals import Interval, at_least, bootstrap, is_pareto_better

RECOGNISED = ("first", "among_three", "first_on_colours", "among_three_on_colours")  # not on the first model
FIGURES = (
    *("similarity", "similarity_on_colours", "diversity", "colour_control", "style_control", "style_distance"),
    *RECOGNISED,
)
COLUMNS = ("arm", "concept", "seed", "step", "guidance", *FIGURES, "norm_positive", "norm_negative", "seconds_per_step")
PLANES = (("similarity", "diversity"), ("similarity", "colour_control"))
Row = dict[str, Any]


def write_csv(rows: Sequence[Row], path: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Rows in the order of their first five columns, so that the same study writes the same bytes (but for the
    seconds)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: [row[name] for name in columns[:5]]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue())


def read_csv(path: Path) -> list[Row]:
    def value(name: str, text: str) -> Any:
        if name in ("arm", "concept"):
            return text
        if name in ("seed", "step"):
            return int(text)
        return float(text) if text else ""

    with path.open(newline="") as file:
        return [{name: value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


def merged(rows: Sequence[Row], newer: Sequence[Row]) -> list[Row]:
    """All of them; of two about the same drawing (the first five columns) the newer one."""
    return list({tuple(row[name] for name in COLUMNS[:5]): row for row in (*rows, *newer)}.values())


def figures_in(rows: Sequence[Row]) -> list[str]:
    """Those of FIGURES that every row has."""
    return [name for name in FIGURES if all(row.get(name, "") != "" for row in rows)]


def planes_in(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """PLANES; where every picture has the colour that was asked for, how often a thing on it is recognised instead.
    One wrong background anywhere, and it is the colours that count."""
    all_obey = all(row["colour_control"] == 1 for row in rows)
    return (
        (PLANES[0], ("similarity", "first_on_colours"))
        if all_obey and "first_on_colours" in figures_in(rows)
        else PLANES
    )


def by_concept(rows: Sequence[Row], name: str) -> list[list[float]]:
    """A figure's values by concept."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row["concept"], []).append(row[name])
    return list(groups.values())


def summary(rows: Sequence[Row]) -> str:
    """A Markdown table: a line per arm, step and guidance; each figure with its bootstrap interval."""
    names = figures_in(rows)
    lines = ["| arm | step | guidance | concepts | " + " | ".join(n.replace("_", " ") for n in names) + " |"]
    lines.append("|" + "---|" * (4 + len(names)))
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["arm"], row["step"], row["guidance"]), []).append(row)
    for (arm, step, guidance), members in groups.items():
        count = len({row["concept"] for row in members})
        cells = [shown(bootstrap(by_concept(members, name))) for name in names]
        lines.append(f"| {arm} | {step} | {guidance:g} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def last_steps(rows: Sequence[Row], arm: str) -> list[Row]:
    mine = [row for row in rows if row["arm"] == arm]
    last = max((row["step"] for row in mine), default=0)
    return [row for row in mine if row["step"] == last]


def compare(rows: Sequence[Row], ours: str = "pair", theirs: str = "plain") -> str:
    """Two arms at their last step: differences at each guidance, and who is Pareto-better over the guidance scales."""
    ours_rows, theirs_rows = _matched(last_steps(rows, ours), last_steps(rows, theirs))
    names = figures_in([*ours_rows, *theirs_rows])
    lines = [f"{ours} minus {theirs}, matched by concept and seed:"]
    for guidance in sorted({row["guidance"] for row in ours_rows} & {row["guidance"] for row in theirs_rows}):
        cells = [f"{n.replace('_', ' ')} {shown(_difference(ours_rows, theirs_rows, guidance, n))}" for n in names]
        lines.append(f"- guidance {guidance:g}: " + "; ".join(cells))
    concepts = sorted({row["concept"] for row in ours_rows} & {row["concept"] for row in theirs_rows})
    for first, second in reversed(planes_in([*ours_rows, *theirs_rows])):
        lines.append(_pareto_line(ours_rows, theirs_rows, concepts, first, second, (ours, theirs)))
    return "\n".join(lines)


def changes(rows: Sequence[Row], base: str = "pair", rival: str = "plain") -> str:
    """A Markdown table: of each arm at its last step the change of every figure against `base`, matched by concept,
    seed and guidance, with its bootstrap interval over concepts and seeds; and for how many concepts the arm is
    Pareto-better than `rival` on each of PLANES, and `rival` than the arm."""
    planes = planes_in(rows)
    counted = [f"Pareto-better by {second.replace('_', ' ')}, {rival}" for _, second in planes]
    figures = figures_in(rows)
    names = ["arm", "concepts", "trainings", *(name.replace("_", " ") for name in figures), *counted]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    base_rows, rival_rows = last_steps(rows, base), last_steps(rows, rival)
    in_base = _trainings(base_rows)
    for arm in dict.fromkeys(row["arm"] for row in rows):
        mine = [row for row in last_steps(rows, arm) if (row["concept"], row["seed"]) in in_base]
        concepts = sorted({row["concept"] for row in mine})
        trained = _trainings(mine)
        cells = [shown(bootstrap(by_concept(_changed(mine, base_rows, name), name))) for name in figures]
        against = [row for row in rival_rows if (row["concept"], row["seed"]) in trained]
        cells += [_counts(mine, against, concepts, *axes) for axes in planes]
        lines.append(f"| {arm} | {len(concepts)} | {len(trained)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _matched(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of the trainings and guidance scales that both have."""
    keys = [{(row["concept"], row["seed"], row["guidance"]) for row in rows} for rows in (ours, theirs)]
    both = keys[0] & keys[1]
    first, second = ([r for r in rows if (r["concept"], r["seed"], r["guidance"]) in both] for rows in (ours, theirs))
    return first, second


def _trainings(rows: Sequence[Row]) -> set[tuple[str, int]]:
    return {(row["concept"], row["seed"]) for row in rows}


def _changed(ours: Sequence[Row], theirs: Sequence[Row], name: str) -> list[Row]:
    """Differences of a figure, one for each concept and seed: the mean over the guidance scales."""
    other = {(row["concept"], row["seed"], row["guidance"]): row[name] for row in theirs}
    found: dict[tuple, list[float]] = {}
    for row in ours:
        key = row["concept"], row["seed"], row["guidance"]
        if key in other:
            found.setdefault(key[:2], []).append(row[name] - other[key])
    return [{"concept": concept, name: sum(v) / len(v)} for (concept, _), v in found.items()]


def _counts(ours: Sequence[Row], theirs: Sequence[Row], concepts: Sequence[str], first: str, second: str) -> str:
    planes = [[plane(rows, concept, first, second) for rows in (ours, theirs)] for concept in concepts]
    there = [(a, b) for a, b in planes if a and b]
    return f"{sum(is_pareto_better(a, b) for a, b in there)}, {sum(is_pareto_better(b, a) for a, b in there)}"


def _difference(ours: Sequence[Row], theirs: Sequence[Row], guidance: float, name: str) -> Interval:
    other = {(row["concept"], row["seed"]): row[name] for row in theirs if row["guidance"] == guidance}
    matched = [
        {"concept": row["concept"], "value": row[name] - other[row["concept"], row["seed"]]}
        for row in ours
        if row["guidance"] == guidance and (row["concept"], row["seed"]) in other
    ]
    return bootstrap(by_concept(matched, "value"))


def _pareto_line(
    ours: Sequence[Row],
    theirs: Sequence[Row],
    concepts: Sequence[str],
    first: str,
    second: str,
    names: tuple[str, str],
) -> str:
    """Per concept: the plane of two figures over the guidance scales, mean of the seeds."""
    better, worse, gains = 0, 0, []
    for concept in concepts:
        a, b = (plane(rows, concept, first, second) for rows in (ours, theirs))
        better += is_pareto_better(a, b)
        worse += is_pareto_better(b, a)
        gain = [(at_least(a, x), y) for x, y in b if at_least(a, x) is not None]
        gains += [[mine - y for mine, y in gain if mine is not None]]
    what, mean = second.replace("_", " "), shown(bootstrap(gains))
    return (
        f"- {first} against {what}: {names[0]} Pareto-better for {better} of {len(concepts)} concepts, {names[1]} for "
        f"{worse}; {mean} more {what} at no less {first}, where it reaches that {first}"
    )


def plane(rows: Sequence[Row], concept: str, first: str, second: str) -> list[tuple[float, float]]:
    """A point for each guidance scale, mean over the seeds."""
    groups: dict[float, list[Row]] = {}
    for row in rows:
        if row["concept"] == concept:
            groups.setdefault(row["guidance"], []).append(row)
    return [
        (sum(r[first] for r in group) / len(group), sum(r[second] for r in group) / len(group))
        for group in groups.values()
    ]
