"""Utility against privacy: where each method stands, and which no other beats at both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harmonic.record import Record
from harmonic.report.entries import summarise
from harmonic.report.groups import Group, group, titles

Kind = Literal["harmonic", "other", "reference"]
UTILITY = {"mle_f1_macro": "MLE, F1 macro (greater is better)", "mle_r2": "MLE, R² (greater is better)"}
PRIVACY = {
    "mia_auc": "AUC of the strongest membership attack (.5: nothing is known)",
    "dcr_share": "share of rows nearer to train than to the hold-out (.5: neither)",
}
NOTHING_LEAKS = 0.5
"""Of both privacy scores."""


@dataclass(frozen=True)
class Spread:
    """A mean and the bar around it."""

    mean: float
    low: float
    high: float
    """Of several seeds, the mean ± one standard deviation; of one seed, the score's own 95 % interval, where it has one."""


@dataclass(frozen=True)
class Point:
    """A method on one data set."""

    name: str
    kind: Kind
    x: Spread
    """Utility, greater is better."""
    y: Spread
    """Privacy, best at `NOTHING_LEAKS`."""


@dataclass(frozen=True)
class Tradeoff:
    """A data set's methods that have both scores."""

    x: str
    """Key of the utility score."""
    y: str
    """Key of the privacy score."""
    points: tuple[Point, ...]
    left_out: tuple[str, ...]
    """Methods that lack one of the two."""

    @property
    def front(self) -> list[Point]:
        """The methods that no other beats at both, by utility; references do not compete."""
        able = [point for point in self.points if point.kind != "reference"]
        return sorted((point for point in able if not any(_beats(other, point) for other in able)), key=lambda p: p.x.mean)


def _beats(one: Point, other: Point) -> bool:
    """Whether one is at least as good at both and better at one."""
    mine, theirs = ((p.x.mean, -abs(p.y.mean - NOTHING_LEAKS)) for p in (one, other))
    return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))


def tradeoff(records: Sequence[Record]) -> Tradeoff | None:
    """One data set's methods by utility and privacy; None where fewer than two have both.

    Privacy is the strongest attack's AUC where two methods or more have it, else the share of rows nearer to train.
    """
    groups = group(records)
    names = titles(groups)
    for y in PRIVACY:
        for x in UTILITY:
            points = [
                Point(name, _kind(row), across, up)
                for name, row in zip(names, groups, strict=True)
                if (across := _spread(row, x)) and (up := _spread(row, y))
            ]
            if sum(point.kind != "reference" for point in points) >= 2:
                there = {point.name for point in points}
                return Tradeoff(x, y, tuple(points), tuple(name for name in names if name not in there))
    return None


def _kind(row: Group) -> Kind:
    if row.is_reference:
        return "reference"
    target = str(row.records[0].config.get("method", {}).get("_target_", ""))
    return "harmonic" if target.startswith("harmonic.") else "other"


def _spread(row: Group, key: str) -> Spread | None:
    entry = summarise(row.values(key), 0)
    if entry.state != "value":
        return None
    if entry.sd is not None:
        return Spread(entry.mean, entry.mean - entry.sd, entry.mean + entry.sd)
    low, high = (row.records[0].values.get(f"{key}_{end}") for end in ("low", "high"))
    return Spread(entry.mean, entry.mean if low is None else low, entry.mean if high is None else high)
