"""Which columns say one thing together: a code and its name, a town and its district."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from harmonic.codec import RowCodec

SURE = 0.99
"""From this much of Goodman and Kruskal's lambda on, a column determines another."""
ROWS = 50_000
"""Rows that are looked at, evenly over the table."""
FEW = 1000
"""Of these, what a pair is first tried on: most pairs of most tables are loose."""
WITNESSES = 5
"""Rows of train that must say so before a value is taken to imply another: what fewer say would give them away."""
Implied = Mapping[tuple[int, str], Mapping[int, str]]
"""Number of a column and text of a value, to number of another column and the text that always goes with it."""


@dataclass(frozen=True)
class Links:
    """Pairs of columns of which the first determines the second, int64, shape (pairs, 2), of a table of so many columns."""

    columns: int
    pairs: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Links":
        """Those of a table."""
        seen = table.iloc[:: max(1, len(table) // ROWS)]
        codes = [pd.factorize(seen[name], use_na_sentinel=False)[0].astype(np.int64) for name in seen]
        drawn = np.random.default_rng(0).permutation(len(seen))[:FEW]
        few = [column[drawn] for column in codes]
        both = itertools.permutations(range(len(codes)), 2)
        near = [(known, wanted) for known, wanted in both if _wrong(few[known], few[wanted]) <= 0.1 * _least(few[wanted])]
        pairs = [(known, wanted) for known, wanted in near if _lambda(codes[known], codes[wanted]) >= SURE]
        return cls(len(codes), np.array(pairs, dtype=np.int64).reshape(-1, 2))

    def named(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """The pairs by the columns' names."""
        return [(names[known], names[wanted]) for known, wanted in self.pairs.tolist()]

    @cached_property
    def groups(self) -> np.ndarray:
        """The number of each column's group, int64, shape (columns,), counted from 0 by first column.

        Two columns are in one group where a chain of pairs leads from one to the other.
        """
        graph = coo_array((np.ones(len(self.pairs)), self.pairs.T), shape=(self.columns, self.columns))
        return pd.factorize(connected_components(graph, directed=False)[1])[0].astype(np.int64)

    @cached_property
    def one_way(self) -> list[tuple[int, int]]:
        """The pairs whose second column does not determine the first."""
        pairs = [(known, wanted) for known, wanted in self.pairs.tolist()]
        return [(known, wanted) for known, wanted in pairs if (wanted, known) not in set(pairs)]

    def in_order(self, order: list[int]) -> list[int]:
        """An order of the columns in which what determines comes before what it determines; the last one stays the last.

        A town that is written behind its state would have to be one of that state's; a state behind its town has no choice.
        """
        order, places = list(order), {column: place for place, column in enumerate(order)}
        for _ in self.one_way:  # a pass for each link that a chain can have
            behind = [pair for pair in self.one_way if places[pair[1]] < places[pair[0]] and pair[0] != order[-1]]
            if not behind:
                break
            for known, wanted in behind:
                first, second = sorted((places[known], places[wanted]))
                order[first], order[second] = known, wanted
                places[known], places[wanted] = first, second
        return order

    def implied(self, table: pd.DataFrame, codec: RowCodec, *, empty: bool = True) -> Implied:
        """What values say of others: of each pair, those that enough rows have, and always with the same other value.

        Args:
            table: n rows, the links' own.
            codec: value to text.
            empty: whether they may say that a cell is empty.
        """
        found: dict[tuple[int, str], dict[int, str]] = {}
        for known, wanted in self.pairs.tolist():
            columns = [codec.schema.columns[place] for place in (known, wanted)]
            both = table[[column.name for column in columns]].set_axis([0, 1], axis=1)
            counts = both.groupby([0, 1], dropna=False, observed=True).size().reset_index(name="rows")
            sure = counts[~counts.duplicated(0, keep=False) & (counts["rows"] >= WITNESSES)]
            sure = sure if empty else sure[sure[1].notna()]
            texts = [codec.texts(column, sure[side]) for side, column in enumerate(columns)]
            for text, other in zip(*texts, strict=True):
                found.setdefault((known, text), {})[wanted] = other
        return found


def _lambda(known: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the errors in guessing `wanted` that knowing `known` takes away (Goodman and Kruskal 1954).

    A value of `known` that occurs once tells nothing: its row is guessed wrong.
    """
    least = _least(wanted)
    return float(1 - _wrong(known, wanted, alone=1) / least) if least else 0.0


def _least(wanted: np.ndarray) -> int:
    """Rows that the most frequent value is wrong for."""
    return len(wanted) - int(np.bincount(wanted).max())


def _wrong(known: np.ndarray, wanted: np.ndarray, alone: int = 0) -> int:
    """Rows that the most frequent value beside theirs of `known` is wrong for; so are those of values of `alone` rows."""
    pairs, counts = np.unique(known * (wanted.max() + 1) + wanted, return_counts=True)
    most = np.zeros(known.max() + 1, dtype=np.int64)
    np.maximum.at(most, pairs // (wanted.max() + 1), counts)
    return len(wanted) - int(most[most > alone].sum())
