"""What a pool of rows has in common, cell by cell: values that several of them share, and means of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from harmonic.codec import RowCodec
from harmonic.dependencies import Links
from harmonic.schema import Column


@dataclass(frozen=True)
class Prototypes:
    """Example rows of which no cell is one row's own.

    A prototype's cell is a value that `shared_by` rows of the pool or more have, as often as they have it. Numbers that
    fewer have are sorted, and in runs of `shared_by` or a few more each stands for the run's mean (univariate
    microaggregation, Domingo-Ferrer and Mateo-Sanz 2002); other values that fewer have are left out. Linked columns
    are one value together, and are shared together.
    """

    table: pd.DataFrame
    """n rows."""
    codec: RowCodec
    links: Links
    shared_by: int

    def make(self, pool: np.ndarray, parents: np.ndarray, rng: np.random.Generator) -> list[list[str]]:
        """The texts of k example rows, c each.

        Args:
            pool: int64, shape (g,): row numbers.
            parents: int64, shape (k, c): the row of the pool that each cell stands for, see `harmonic.examples.draw_parents`.
            rng: of what stands where a parent's value is left out.
        """
        rows: list[list[str]] = [[""] * parents.shape[1] for _ in parents]
        for places, values in self._columns:
            drawn = parents[:, places[0]]
            known, inverse, counts = np.unique(values[pool], return_inverse=True, return_counts=True)
            shared = counts >= self.shared_by
            rare = np.flatnonzero(~shared[inverse])
            common = pool[shared[inverse]]
            means: dict[int, str] = {}
            if self._is_number(places) and len(rare) >= self.shared_by:
                means = self._means(places[0], pool[rare], values[pool[rare]])
            for row, parent in zip(rows, drawn.tolist(), strict=True):
                if parent in means:
                    row[places[0]] = means[parent]
                    continue
                if not shared[np.searchsorted(known, values[parent])]:
                    if not len(common):
                        continue
                    parent = int(rng.choice(common))
                for place in places:
                    row[place] = self._texts[place][parent]
        return rows

    def _means(self, place: int, rows: np.ndarray, codes: np.ndarray) -> dict[int, str]:
        column = self.codec.schema.columns[place]
        numbers = self._numbers[place][rows]
        order = np.argsort(numbers, kind="stable")
        runs = np.minimum(np.arange(len(rows)) // self.shared_by, len(rows) // self.shared_by - 1)
        means = np.bincount(runs, numbers[order]) / np.bincount(runs)
        texts = self.codec.texts(column, column.from_numbers(means))
        return {int(row): texts[run] for row, run in zip(rows[order], runs, strict=True)}

    def _is_number(self, places: Sequence[int]) -> bool:
        return len(places) == 1 and self._columns_of(places)[0].is_numeric

    def _columns_of(self, places: Sequence[int]) -> list[Column]:
        return [self.codec.schema.columns[place] for place in places]

    @cached_property
    def _columns(self) -> list[tuple[list[int], np.ndarray]]:
        """Columns that are drawn together, and the code of each row's value there, int64, (n,)."""
        found = []
        for group in range(int(self.links.groups.max()) + 1):
            places = np.flatnonzero(self.links.groups == group).tolist()
            names = [column.name for column in self._columns_of(places)]
            codes = self.table.groupby(names, dropna=False, observed=True, sort=True).ngroup().to_numpy()
            found.append((places, codes.astype(np.int64)))
        return found

    @cached_property
    def _numbers(self) -> list[np.ndarray]:
        return [
            column.numbers(self.table[column.name]) if column.is_numeric else np.empty(0)
            for column in self.codec.schema.columns
        ]

    @cached_property
    def _texts(self) -> list[list[str]]:
        return [self.codec.texts(column, self.table[column.name]) for column in self.codec.schema.columns]
