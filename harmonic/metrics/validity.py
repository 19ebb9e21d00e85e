"""Validity: whether synthetic rows are rows of the data set at all, cell by cell, rule by rule."""

import itertools
import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from harmonic.metrics.rows import read_numbers, readable, take_rows
from harmonic.table import Split
from harmonic.table.constraints import Constraint
from harmonic.table.schema import DISCRETE_KINDS, MAX_PLACES, Column, Schema, discrete_texts, written_in_full

log = logging.getLogger(__name__)

CHANCE = 1e-6
"""A dependency that train's rows would show by chance more often than this is none."""


@dataclass(frozen=True)
class Validity:
    """Validity: the share of synthetic cells and rows that obey the schema, the data set's rules, and train's dependencies.

    Definition. Each is a share, 0 to 1, greater is better, and stands beside the same of `split.test` (`…_holdout`).

    * `validity_cells`: cells that hold a value of their column: a finite number, whole in an integer column and of no more
      decimal places than train's in a decimal one (to the last bits of a float); a date of the column's format, with
      leading zeros if all of train's have them; a category that train holds; any text; nothing at all, where train has
      empty cells in that column. Text that reads as a number counts as the number. `validity_rows`: rows of such cells
      alone. Ideal 1.
    * `validity_range`: rows without a number or date beyond the schema's `low` and `high`. Ideal the hold-out's share. Where
      the split is published these are train's, and that share is below 1: real rows reach beyond train, and who never does
      has learnt train's edges. Where one table was split they are the whole table's, and it is 1.
    * `validity_constraints`: rows that keep all of the data set's `constraints`; a constraint on a cell that is no value is
      broken, one on an empty cell is kept. Ideal 1. Left out where the data set states none.
    * `validity_dependencies`: of the functional dependencies that hold in train, the share kept, over synthetic rows and
      dependencies together. A determines B where every value of A that occurs twice or more in train occurs with one value
      of B, and where that would hold with a probability below 1e-6 were B's values dealt to the rows at random: the product
      over A's values of the sum over B's values of p ** n, with p the frequency of B's value and n that of A's. The product
      is near 1 for an A that hardly repeats and for a B that hardly varies, so neither needs a rule of its own. A and B are
      two different columns among the categories, booleans and integers; an empty cell is a value. A synthetic row counts
      for a dependency if its value of A occurs twice or more in train, and keeps it with the value of B seen there; 0 where
      no row counts. Ideal 1, or the hold-out's share. `validity_dependencies_found`: how many were found; where none was,
      the shares are left out. Which they are goes to the log.

    What it cannot see: anything but form. A table of one valid row, repeated, is perfect, as is a copy of train. Rules that
    nobody stated and that no two columns show (a sum of three columns, an order of dates), decimals' dependencies, and
    whether free text is sense. An enforced schema, as in constrained decoding, scores 1 in cells by construction.

    Source: the definition of functional dependencies is Codd's (1970, *A relational model of data for large shared data
    banks*); finding them in train, and the guard against chance, are ours.
    """

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """The shares by key; see the class."""
        tables = {"": take_rows(split, synthetic, "validity"), "_holdout": take_rows(split, split.test, "validity")}
        dependencies = find_dependencies(split.train, split.schema)
        for dependency in dependencies:
            log.info("validity: %r determines %r in train.", dependency.determinant, dependency.dependent)
        scores = {}
        for side, rows in tables.items():
            valid = valid_cells(rows, split.schema)
            scores[f"validity_cells{side}"] = float(valid.mean())
            scores[f"validity_rows{side}"] = float(valid.all(axis=1).mean())
            scores[f"validity_range{side}"] = float(in_range(rows, split.schema).mean())
            if split.schema.constraints:
                scores[f"validity_constraints{side}"] = float(keeps_constraints(rows, valid, split.schema).mean())
            if dependencies:
                scores[f"validity_dependencies{side}"] = share_kept(dependencies, rows, split.schema)
        return scores | {"validity_dependencies_found": float(len(dependencies))}


def valid_cells(rows: pd.DataFrame, schema: Schema) -> np.ndarray:
    """Which cells hold a value of their column, or nothing where that is allowed; bool, shape (n, c)."""
    return np.column_stack([_valid(rows[column.name], column) for column in schema.columns])


def _valid(values: pd.Series, column: Column) -> np.ndarray:
    empty = is_empty(values)
    in_form = _is_written_so(values, column) if column.kind == "datetime" else _has_places(values, column)
    return np.where(empty, column.nullable, readable(values, column) & in_form)


def is_empty(values: pd.Series) -> np.ndarray:
    """Which cells hold nothing, bool, shape (n,): the empty text, as a file has it, is nothing."""
    if pd.api.types.is_numeric_dtype(values):
        return values.isna().to_numpy()
    return np.array([cell == "" if isinstance(cell, str) else bool(pd.isna(cell)) for cell in values], dtype=bool)


def _has_places(values: pd.Series, column: Column) -> np.ndarray:
    """Which numbers have no more decimal places than the column, in the precision they are stored in; any number where
    train's own had to be cut."""
    if column.kind not in ("integer", "decimal") or column.places == MAX_PLACES:
        return np.ones(len(values), dtype=bool)
    numbers = read_numbers(values, column)
    precision = np.finfo(np.float32 if values.dtype == np.float32 else np.float64).eps
    return np.isclose(numbers, np.round(numbers, column.places), rtol=4 * precision, atol=0.0)


def _is_written_so(values: pd.Series, column: Column) -> np.ndarray:
    """Which dates have the leading zeros that all of train's texts have."""
    if not column.padded or column.dtype == "datetime64":
        return np.ones(len(values), dtype=bool)
    is_text = values.map(lambda cell: isinstance(cell, str)).to_numpy(dtype=bool)
    return ~is_text | written_in_full(values, column.datetime_format)


def in_range(rows: pd.DataFrame, schema: Schema) -> np.ndarray:
    """Which rows hold no number beyond the schema's, bool, shape (n,); what is no number is not beyond them."""
    inside = np.ones(len(rows), dtype=bool)
    for column in schema.columns:
        if column.is_numeric:
            numbers = read_numbers(rows[column.name], column)
            inside &= ~(numbers < (-np.inf if column.low is None else column.low))
            inside &= ~(numbers > (np.inf if column.high is None else column.high))
    return inside


def keeps_constraints(rows: pd.DataFrame, valid: np.ndarray, schema: Schema) -> np.ndarray:
    """Which rows keep every constraint, bool, shape (n,); `valid` says which of their cells are values."""
    kept = np.ones(len(rows), dtype=bool)
    stored = pd.DataFrame({column.name: _stored(rows[column.name], column) for column in schema.columns})
    for text in schema.constraints:
        constraint = Constraint.of(text, schema)
        taking_part = [schema.names.index(column.name) for column in constraint.columns.values()]
        kept &= valid[:, taking_part].all(axis=1)
        holds = [constraint.holds(row) for row in stored[kept].to_dict("records")]
        kept[kept] = holds
    return kept


def _stored(values: pd.Series, column: Column) -> pd.Series:
    """Categories as the column stores them (1 for "1"), and nothing for the empty text."""
    filled = values.mask(is_empty(values))
    if column.kind not in DISCRETE_KINDS:
        return filled
    texts = discrete_texts(filled, column)
    return texts.where(texts.isin(column.categories), None).map(column.stored, na_action="ignore")


@dataclass(frozen=True)
class Dependency:
    """A column of train that determines another one."""

    determinant: str
    dependent: str
    mapping: pd.Series
    """Text of each value of the determinant that occurs twice or more → text of the dependent's value there."""


def find_dependencies(train: pd.DataFrame, schema: Schema) -> list[Dependency]:
    """All dependencies between two columns of train, in the order of the columns; the rule is that of `Validity`."""
    keys = {c.name: pd.factorize(_texts(train[c.name], c)) for c in schema.columns if c.kind in (*DISCRETE_KINDS, "integer")}
    found = []
    for determinant, dependent in itertools.permutations(keys, 2):
        places = determined(keys[determinant][0], keys[dependent][0])
        if places is not None:
            texts = [keys[name][1][keys[name][0][places]] for name in (determinant, dependent)]
            found.append(Dependency(determinant, dependent, pd.Series(texts[1], index=texts[0])))
    return found


def determined(determinant: np.ndarray, dependent: np.ndarray) -> np.ndarray | None:
    """A row for each value of the determinant that occurs twice or more, int64; None where it determines nothing.

    Args:
        determinant: codes from 0, int64, shape (n,).
        dependent: the same.
    """
    counts = np.bincount(determinant)
    pairs, rows = np.unique(determinant * (dependent.max() + 1) + dependent, return_index=True)
    partners = np.bincount(pairs // (dependent.max() + 1))
    if (partners > 1).any():
        return None
    shares = np.log(np.bincount(dependent) / len(dependent))
    sizes, times = np.unique(counts[counts >= 2], return_counts=True)
    log_chance = sum(time * logsumexp(size * shares) for size, time in zip(sizes, times, strict=True))
    return rows[counts[determinant[rows]] >= 2] if log_chance < np.log(CHANCE) else None


def share_kept(dependencies: list[Dependency], rows: pd.DataFrame, schema: Schema) -> float:
    """The share of rows and dependencies, where the determinant's value is known, that hold the dependent's value."""
    names = {name for one in dependencies for name in (one.determinant, one.dependent)}
    texts = {name: _texts(rows[name], schema[name]) for name in names}
    known = kept = 0
    for one in dependencies:
        expected = one.mapping.reindex(texts[one.determinant]).to_numpy()
        known += int(pd.notna(expected).sum())
        kept += int((expected == texts[one.dependent]).sum())
    return kept / known if known else 0.0


def _texts(values: pd.Series, column: Column) -> np.ndarray:
    """Values of an integer, category or boolean column as texts, an empty cell as the empty one; object, shape (n,)."""
    empty = is_empty(values)
    if column.kind in DISCRETE_KINDS:
        texts = discrete_texts(values, column).map(str)
    else:
        numbers = read_numbers(values, column)
        texts = pd.Series(numbers).map(lambda number: str(int(number)) if number % 1 == 0 else str(number))
    return np.where(empty, "", texts.to_numpy(dtype=object)).astype(object)
