"""The paper's two tables from our records: for every score the paper's figure, ours as published, and ours corrected."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harmonic.record import Record
from harmonic.report.entries import HOLE, Entry, summarise
from harmonic.report.groups import REFERENCES, Group, by_dataset, group, metrics_of, usual_rows
from harmonic.report.layouts import Column, Layout
from harmonic.report.published import Figure, published
from harmonic.report.significance import Mark, marks
from harmonic.report.tables import COSTS, HOLDOUT, holdout_values

BESIDE = {"harmonic": "harmonic_published"}
"""What has no row in the paper and stands beside what has."""


@dataclass(frozen=True)
class Line:
    """A row of the tables."""

    method: str
    paper: str
    """What the paper calls it."""
    model: str
    rows: str
    seeds: str
    budget: str
    entries: tuple[Entry, ...]
    """In order of the layout's columns."""
    costs: tuple[Entry, ...]
    """Seconds of fit and of sample."""
    group: Group | None = None
    """The records; None for a method that has none, and for the hold-out."""


@dataclass(frozen=True)
class Block:
    """A data set's part of a table."""

    dataset: str
    lines: tuple[Line, ...]


def compare(records: Sequence[Record], layout: Layout) -> list[Block]:
    """One of the paper's tables, a block per data set: the paper's in its order, then what else there are records of.

    The paper's methods have a row on its data sets, records or not. References come first, then the paper's methods in its
    order, then others by name.
    """
    found = by_dataset(records)
    names = [*published().datasets, *(name for name in found if name not in published().datasets)]
    blocks = [Block(name, tuple(_lines(found.get(name, []), name, layout))) for name in names]
    return [block for block in blocks if block.lines]


def _lines(records: Sequence[Record], dataset: str, layout: Layout) -> list[Line]:
    groups = group(records)
    keys = [_key(column, records) for column in layout.columns]
    rivals = _rivals(groups)
    given = [
        _marks({place: groups[place] for place in rivals}, column, key)
        for column, key in zip(layout.columns, keys, strict=True)
    ]
    metrics = metrics_of(records)
    lines = []
    for place, row in enumerate(groups):
        entries = [
            replace(_entry(row, column, key, dataset, metrics.get(key)), mark=marked.get(place, ""))
            for column, key, marked in zip(layout.columns, keys, given, strict=True)
        ]
        lines.append(_line(row, dataset, tuple(entries)))
    lines += [*_missing(dataset, groups, layout), *_holdout(records, layout)]
    return sorted(lines, key=_order)


def _key(column: Column, records: Sequence[Record]) -> str:
    """Which of a column's scores a data set has: F1 of classes, R² of numbers."""
    return next((key for key in column.keys if any(key in record.values for record in records)), column.keys[0])


def _rivals(groups: Sequence[Group]) -> list[int]:
    """Which rows compete: methods of as many rows as most have."""
    usual = usual_rows(groups)
    return [place for place, row in enumerate(groups) if not row.is_reference and row.rows == usual]


def _marks(rivals: Mapping[int, Group], column: Column, key: str) -> dict[int, Mark]:
    """Best and second best, by place; none where they would stand on a mean that is not shown."""
    if not column.is_compared or not _is_one_measure(list(rivals.values()), key):
        return {}
    found = marks({place: _losses(row, column, key) for place, row in rivals.items()})
    shown = all(summarise(rivals[place].values(key), 0).state == "value" for place, mark in found.items() if mark)
    return found if shown else {}


def _is_one_measure(groups: Sequence[Group], key: str) -> bool:
    """Whether all records that have a score measured it in one way: LLE by one model, say."""
    ways = [
        score.get("config")
        for row in groups
        for record in row.records
        for score in record.scores.values()
        if key in score["values"]
    ]
    return all(way == ways[0] for way in ways)


def _losses(row: Group, column: Column, key: str) -> dict[int, float]:
    """A score by seed as what is lost: less is better; seeds with a hole or a failure are left out.

    With an ideal, how far off it a seed is, on the side of it that the mean is on: their mean is the distance of the mean
    that the table shows, where absolute values would punish a method whose seeds lie around the ideal.
    """
    by_seed = row.by_seed(key)
    if column.ideal is None:
        return {seed: -value for seed, value in by_seed.items()}
    ideals = row.by_seed(column.ideal) if isinstance(column.ideal, str) else dict.fromkeys(by_seed, column.ideal)
    off = {seed: value - ideals[seed] for seed, value in by_seed.items() if seed in ideals}
    side = -1.0 if sum(off.values()) < 0 else 1.0
    return {seed: side * value for seed, value in off.items()}


def _entry(row: Group, column: Column, key: str, dataset: str, metric: str | None) -> Entry:
    """A cell; a seed fails in a score of a metric that was asked of the data set at all."""
    if column.form == "paper":
        return _printed(published().figure(key, dataset, row.records[0].cell.method), column)
    return Entry("failed") if metric and row.failed_in(key, metric) else summarise(row.values(key), column.places)


def _printed(figure: Figure | None, column: Column) -> Entry:
    return Entry("hole") if figure is None else Entry("value", figure.mean, figure.sd, column.places)


def _line(row: Group, dataset: str, entries: tuple[Entry, ...]) -> Line:
    costs = [summarise(row.costs(cost.key), cost.places) if row.has_rows else Entry("hole") for cost in COSTS]
    paper = published().name_of(row.records[0].cell.method) if dataset in published().datasets else ""
    return Line(row.method, paper, row.model, row.rows, row.seeds, row.budget() or HOLE, entries, tuple(costs), row)


def _missing(dataset: str, groups: Sequence[Group], layout: Layout) -> list[Line]:
    """A row for each of the paper's methods that has no records on one of its data sets."""
    if dataset not in published().datasets:
        return []
    there = {row.records[0].cell.method for row in groups}
    lines = []
    for name, ours in published().methods.items():
        if not there & set(ours):
            entries = [
                _printed(published().figure(column.keys[0], dataset, ours[0]), column)
                if column.form == "paper"
                else Entry("hole")
                for column in layout.columns
            ]
            if any(entry.state == "value" for entry in entries):
                hole = Entry("hole")
                lines.append(Line(ours[0], name, "", HOLE, "0", HOLE, tuple(entries), (hole, hole)))
    return lines


def _holdout(records: Sequence[Record], layout: Layout) -> list[Line]:
    """The real hold-out's own scores, whatever method's record they stand in."""
    by_seed = holdout_values(records)
    entries = [
        summarise([values.get(column.holdout) for values in by_seed.values()], column.places)
        if column.holdout
        else Entry("none")
        for column in layout.columns
    ]
    if all(entry.state != "value" for entry in entries):
        return []
    nothing = Entry("none")
    return [Line(HOLDOUT, "", "", "", str(len(by_seed)), "", tuple(entries), (nothing, nothing))]


def _order(line: Line) -> tuple[Any, ...]:
    method = line.group.records[0].cell.method if line.group else line.method
    known = [*REFERENCES, HOLDOUT, *itertools.chain(*published().methods.values())]
    named = BESIDE.get(method, method)
    place = known.index(named) if named in known else len(known)
    is_control = bool(line.group and line.group.is_reference) and method not in REFERENCES
    return (is_control, place, line.method, line.model, int(line.rows) if line.rows.isdecimal() else 0)
