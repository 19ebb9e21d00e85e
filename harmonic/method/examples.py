"""What an instruction shows: neighbours as they are, or rows put together from the cells of many.

A generator that is shown real rows can hand them through, and neither DCR nor DLT says whose row came out. A crossover is
nobody's row but by chance, where columns are few and coarse: each of its cells is that of one of several neighbours, drawn
by itself (uniform crossover, Syswerda 1989). It keeps what the neighbours have in common, which is what an answer is to be
like, and loses who had what. Columns that determine each other are drawn together: a town in another's district is an
example of nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from harmonic.codec import RowCodec
from harmonic.neighbours import Groups, mixed_neighbours
from harmonic.table.encoding import Encoder

Examples = Literal["neighbours", "crossovers"]
Cells = Sequence[Sequence[str]]

SMALLEST_POOL, LARGEST_POOL = 10, 500
"""Neighbours in a pool, at least and at most, where the pool is not given."""
POOL_CELLS = 16_000_000
"""Numbers of neighbours that a run holds at most, over all of its answers' pools, where the pool is not given: 128 MB."""


@dataclass(frozen=True)
class Source:
    """Rows that examples are made of: those of train, or those a generator wrote itself."""

    rows: pd.DataFrame
    """s rows that obey train's schema."""
    cells: Cells
    """Their texts."""
    groups: Groups
    """Each anchor, a row of these, with the others that its examples are made of."""

    @classmethod
    def of_generated(
        cls, rows: pd.DataFrame, encoder: Encoder, codec: RowCodec, size: int, *, within_class: bool
    ) -> "Source":
        """Rows a generator wrote, each grouped with its nearest others.

        Args:
            rows: s rows of train's schema, at least 2.
            encoder: fitted on train.
            codec: row to text.
            size: rows of a group; one less than there are rows at most.
            within_class: look among the rows of its class, see `mixed_neighbours`.
        """
        anchors = np.arange(len(rows))
        size = min(size, len(rows) - 1)
        neighbours = mixed_neighbours(encoder, rows, rows, size, within_class=within_class, own=anchors)
        return cls(rows, codec.cells(rows), Groups(anchors, neighbours))


def default_pool(rows: int, answers: int) -> int:
    """Neighbours that crossovers are made of on a large table: a fiftieth of its rows, 10 to 500, but of many answers no
    more than makes `POOL_CELLS` in all; ten at least."""
    return max(SMALLEST_POOL, min(rows // 50, LARGEST_POOL, POOL_CELLS // answers))


def draw_parents(kind: Examples, group: np.ndarray, k: int, rng: np.random.Generator, linked: np.ndarray) -> np.ndarray:
    """The row that each cell of the k example rows of an instruction is from, int64, shape (k, c), columns as in the schema.

    Args:
        kind: neighbours: the first k rows of the group, in its order. crossovers: k rows, each of whose cells is that of a
            random row of the group, drawn anew for each group of linked columns.
        group: int64, shape (g,): row numbers; g ≥ k for neighbours.
        k: how many examples.
        rng: of the crossovers.
        linked: int64, shape (c,): the number of each column's group, see `harmonic.dependencies.Links`; columns that are
            drawn by themselves have a number of their own.
    """
    if kind == "neighbours":
        return np.repeat(group[:k, None], len(linked), axis=1)
    return group[rng.integers(len(group), size=(k, linked.max() + 1))][:, linked]


def crossed(cells: Cells, parents: np.ndarray) -> list[list[str]]:
    """The texts of the example rows whose cells are those of these rows, see `draw_parents`."""
    return [[cells[row][place] for place, row in enumerate(own)] for own in parents.tolist()]
