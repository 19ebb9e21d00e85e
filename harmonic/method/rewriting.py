"""How a table's numbers are put for a model of text: what digits alone do not show it is taken out of them.

Two habits of tables cost a small model all it has. Numbers that are multiples of something (days in seconds, prices in
hundreds) have it learn a times table; and a column that does not fall below another (an end and its beginning) has it do
sums, behind examples whose cells come from different rows. So the first are written in their own unit, and of the second the
more spread one as how far it lies from the other.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import Any, Self

import numpy as np
import pandas as pd

from harmonic.codec import Unreadable
from harmonic.table import Split, coerce, schema_of, with_columns
from harmonic.table.constraints import Constraint
from harmonic.table.schema import Column, Schema

LEAST_UNIT = 10
"""Of the last decimal place; below it, writing a number in its unit saves no digit."""
LEAST_ROWS = 1000
"""Rows that must agree before a column is taken not to fall below another."""
ODD = 0.001
"""Share of the rows, at most, that may fall below all the same: tables hold slips."""
CROSSED = 0.05
"""Share of pairs of cells from different rows that must be in the wrong order: otherwise the ranges say it all."""

EXACT = 2**53
"""Whole numbers up to here are their own in float64; what may lie beyond stays as it is."""


@dataclass(frozen=True)
class Rewriting:
    """The same rows in another form and back; numbers here are whole, in units of a column's last decimal place."""

    schema: Schema
    """Of the rows as they are."""
    units: Mapping[str, int]
    """What each column that is written otherwise is a multiple of, be it 1."""
    since: Mapping[str, str]
    """Columns to those that they follow and are counted from, which are counted from none."""
    before: Mapping[str, str]
    """Columns to those that they precede and are counted back from, which are counted from none."""
    ranges: Mapping[str, tuple[int, int]]
    """Smallest and largest written number of each of these columns."""

    @classmethod
    def of(cls, table: pd.DataFrame) -> Self:
        """What becomes of a table: of its features that are numbers, in every row, and stand in no rule."""
        schema = schema_of(table)
        ruled = {column.name for text in schema.constraints for column in Constraint.of(text, schema).columns.values()}
        columns = [column for column in schema.features if column.is_numeric and column.name not in ruled]
        full = [column for column in columns if not table[column.name].isna().any() and _is_exact(column)]
        numbers = {column.name: _whole(column, table[column.name]) for column in full}
        since, before = _orders(numbers, {column.name: (column.places, column.kind == "datetime") for column in columns})
        units = {name: max(int(np.gcd.reduce(values)), 1) for name, values in numbers.items()}
        worth = {name for name, unit in units.items() if unit >= LEAST_UNIT and schema[name].kind != "datetime"}
        units = {name: units[name] for name in numbers if name in worth | since.keys() | before.keys()}
        unranged = cls(schema, units, since, before, {})
        written = {name: unranged._counted(name, values, numbers) for name, values in numbers.items() if name in units}
        return replace(unranged, ranges={name: unranged._range(name, of) for name, of in written.items()})

    @classmethod
    def none(cls, table: pd.DataFrame) -> Self:
        """Nothing is written otherwise."""
        return cls(schema_of(table), {}, {}, {}, {})

    @cached_property
    def bases(self) -> dict[str, str]:
        """Columns to those that they are counted from, one way or the other."""
        return {**self.since, **self.before}

    def _range(self, name: str, written: np.ndarray) -> tuple[int, int]:
        """Least and greatest written number: of a column that is counted from none those of its own range in its units."""
        column, unit = self.schema[name], self.units[name]
        if name in self.bases or column.low is None or column.high is None:
            return int(written.min()), int(written.max())
        low, high = (round(bound * _last_place(column), 3) for bound in (column.low, column.high))
        return math.ceil(low / unit), math.floor(high / unit)

    def _counted(self, name: str, numbers: np.ndarray, bases: Mapping[str, np.ndarray]) -> np.ndarray:
        """Numbers of a column as they are written, given those of the columns that others are counted from."""
        unit = self.units[name]
        own = np.round(numbers / unit)
        if name not in self.bases:
            return own
        apart = own - bases[self.bases[name]] // unit
        return apart if name in self.since else -apart

    def _uncounted(self, name: str, written: np.ndarray, bases: Mapping[str, np.ndarray]) -> np.ndarray:
        """The inverse of `_counted`."""
        unit = self.units[name]
        if name not in self.bases:
            return written * unit
        return (bases[self.bases[name]] // unit + (written if name in self.since else -written)) * unit

    @cached_property
    def written(self) -> Schema:
        """Of the rows as a model sees them."""
        return replace(self.schema, columns=tuple(self._column(column) for column in self.schema.columns))

    def _column(self, column: Column) -> Column:
        if column.name not in self.units:
            return column
        low, high = self.ranges[column.name]
        return Column(column.name, "integer", "int64", column.nullable, low=low, high=high)

    def named(self) -> dict[str, str]:
        """What is written how, in words."""
        return {name: " ".join(self._how(name)) for name in self.units}

    def _how(self, name: str) -> Iterator[str]:
        yield "in units of"
        yield f"{self.units[name] / _last_place(self.schema[name]):g}"
        if name in self.bases:
            yield f"{'since' if name in self.since else 'before'} {self.bases[name]}"

    def write(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows as the model sees them; a number that is no multiple of its unit becomes the nearest one.

        Args:
            table: rows of `schema`; a cell that is empty, or counted from an empty one, is empty.
        """
        if not self.units:
            return table
        bases = {name: _places(self.schema[name], table[name]) for name in self.bases.values()}
        columns = {name: self._counted(name, _places(self.schema[name], table[name]), bases) for name in self.units}
        return self.written.restore_dtypes(with_columns(table, columns))

    def write_split(self, split: Split) -> Split:
        """All tables of a data set as the model sees them."""
        return Split(split.name, self.written, *map(self.write, (split.train, split.val, split.test)))

    def complete(self, rows: pd.DataFrame, spans: pd.DataFrame) -> pd.DataFrame:
        """Rows with empty cells, in which what a known cell is counted from is known too.

        Args:
            rows: n rows of `schema`, any cells of which are empty.
            spans: n rows as they are written, whose differences the missing starts are taken to be off by.
        """
        columns: dict[str, pd.Series] = {}
        for name, base in self.bases.items():
            start, wanted = self.schema[base], rows[name].notna() & rows[base].isna()
            apart = spans[name].to_numpy(dtype=np.float64) * self.units[name] * (1 if name in self.since else -1)
            written, unit = self.written[base], self.units.get(base, 1)
            scale = unit / _last_place(start) if base in self.units else 1.0
            low = -np.inf if written.low is None else written.low * scale
            high = np.inf if written.high is None else written.high * scale
            numbers = np.round((_places(self.schema[name], rows[name]) - apart) / unit) * unit
            starts = start.from_numbers(np.clip(numbers / _last_place(start), low, high))
            columns[base] = columns.get(base, rows[base]).astype(object).where(~wanted, starts)
        with_holes = replace(self.schema, columns=tuple(replace(column, nullable=True) for column in self.schema.columns))
        return with_holes.restore_dtypes(with_columns(rows, columns))

    def read(self, table: pd.DataFrame) -> pd.DataFrame:
        """The inverse of `write`."""
        if not self.units:
            return table
        numbers: dict[str, np.ndarray] = {
            base: _places(self.schema[base], table[base]) for base in self.bases.values() if base not in self.units
        }
        for name in sorted(self.units, key=lambda name: name in self.bases):  # what is counted from, first
            numbers[name] = self._uncounted(name, table[name].to_numpy(dtype=np.float64), numbers)
        own = {name: self.schema[name] for name in self.units}
        columns = {name: column.from_numbers(numbers[name] / _last_place(column)) for name, column in own.items()}
        return coerce(with_columns(table, columns), self.schema, "the rows")

    def check(self, row: Mapping[str, Any]) -> None:
        """Raise Unreadable where a row, as the model wrote it, has a column beyond its range once it is read."""
        for name, base in self.bases.items():
            column, unit = self.schema[name], self.units.get(base)
            first = row[base] * unit if unit else _places(self.schema[base], pd.Series([row[base]]))[0]
            number = self._uncounted(name, row[name], {base: first}) / _last_place(column)
            if (column.low is not None and number < column.low) or (column.high is not None and number > column.high):
                raise Unreadable("out of range", name)


def _last_place(column: Column) -> int:
    return 10**column.places


def _places(column: Column, values: pd.Series) -> np.ndarray:
    """Numbers in units of the last decimal place, float64, empty cells as NaN."""
    return np.round(column.numbers(values) * _last_place(column))


def _is_exact(column: Column) -> bool:
    """Whether float64 tells the column's numbers apart to their last decimal place."""
    low, high = column.low or 0.0, column.high or 0.0
    return max(abs(low), abs(high)) * _last_place(column) < EXACT


def _whole(column: Column, values: pd.Series) -> np.ndarray:
    return _places(column, values).astype(np.int64)


def _orders(numbers: Mapping[str, np.ndarray], scales: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """`since` and `before`: of two columns of one scale, one of which hardly ever falls below the other although their
    ranges overlap, the one with the larger spread is counted from the other; the most telling pairs come first."""
    found = []
    for low, high in permutations(numbers, 2):
        starts, ends = numbers[low], numbers[high]
        if scales[low] == scales[high] and len(starts) >= LEAST_ROWS and (ends < starts).mean() <= ODD:
            crossed = (len(starts) - np.searchsorted(np.sort(starts), ends, side="right")).mean() / len(starts)
            if crossed >= CROSSED:
                found.append((-crossed, low, high))
    since: dict[str, str] = {}
    before: dict[str, str] = {}
    for _, low, high in sorted(found):
        taken = {*since, *before}
        counted, base, into = (high, low, since) if numbers[high].std() >= numbers[low].std() else (low, high, before)
        if base not in taken and counted not in taken | {*since.values(), *before.values()}:
            into[counted] = base
    return since, before
